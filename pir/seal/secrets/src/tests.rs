//! Tests that need both halves: a client with a secret and a server with a plane.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, LazyLock};

use opaque_pir::params::{PLAINTEXT_MODULUS, PLANE_ROWS, RING_DEGREE, STANDARD_DEVIATION};
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::SecretKey;

mod assumptions;
mod hostile;
mod product;
mod round_trip;

/// One client and one plane, created once for most tests.
struct Fixture {
    bfv: Arc<Bfv>,
    key: SecretKey,
    keys_bytes: Vec<u8>,
    keys: EvaluationKeys,
    plane: Vec<u32>,
    table: PlaneTable,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let bfv = Bfv::new().unwrap();
    let key = SecretKey::generate(&bfv).unwrap();
    let keys_bytes = key.evaluation_keys(&bfv).unwrap();
    let keys = EvaluationKeys::from_bytes(&bfv, &keys_bytes).unwrap();
    let plane = random_plane(&mut StdRng::seed_from_u64(1));
    let table = PlaneTable::build(&bfv, &plane).unwrap();
    Fixture { bfv, key, keys_bytes, keys, plane, table }
});

impl Fixture {
    fn answer(&self, s: &[i32; RING_DEGREE], tables: &[&PlaneTable]) -> Vec<Vec<u8>> {
        let secret = self.key.encrypt(&self.bfv, s).unwrap();
        let secret = EncryptedSecret::from_bytes(&self.bfv, &secret).unwrap();
        hint_product(&self.bfv, &self.keys, &secret, tables).unwrap()
    }
}

fn random_plane(rng: &mut impl Rng) -> Vec<u32> {
    (0..PLANE_ROWS * RING_DEGREE).map(|_| rng.random()).collect()
}

/// A rounded Gaussian: the sum of twelve uniforms has deviation 1.
fn random_secret(rng: &mut impl Rng) -> [i32; RING_DEGREE] {
    std::array::from_fn(|_| {
        let unit = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        #[expect(clippy::cast_possible_truncation, reason = "at most 66")]
        let coefficient = (unit * STANDARD_DEVIATION).round() as i32;
        coefficient
    })
}

/// `H'·s mod t`, computed slowly and exactly.
fn naive_product(plane: &[u32], s: &[i32; RING_DEGREE]) -> Vec<u32> {
    let t = i128::from(PLAINTEXT_MODULUS);
    plane
        .chunks_exact(RING_DEGREE)
        .map(|row| {
            let sum: i128 = row
                .iter()
                .zip(s)
                .map(|(h, s)| ((i128::from(*h) * t + (1 << 31)) >> 32) * i128::from(*s))
                .sum();
            u32::try_from(sum.rem_euclid(t)).unwrap()
        })
        .collect()
}
