//! The client's half of the scan encryption, for tests only. The production code is in
//! `opaque-client`.

use opaque_pir::params::{DELTA, RING_DEGREE, STANDARD_DEVIATION};
use opaque_pir::ring::{Multiplier, public_element};
use opaque_pir::seed::IndexSeed;
use rand::{Rng, RngExt};

/// A secret and the query that it encrypts.
pub(crate) struct Encrypted {
    pub(crate) secret: Box<[i32; RING_DEGREE]>,
    pub(crate) query: Vec<u32>,
}

/// b_j = a_j·s + e_j, with Δ added at the bucket.
pub(crate) fn encrypt(
    seed: &IndexSeed,
    partitions: u32,
    bucket: u32,
    rng: &mut impl Rng,
) -> Encrypted {
    let mut secret = Box::new([0; RING_DEGREE]);
    secret.iter_mut().for_each(|s| *s = rounded_gaussian(rng));
    let multiplier = Multiplier::new(&secret);
    let mut query = Vec::new();
    for partition in 0..partitions {
        let mut block = [0; RING_DEGREE];
        multiplier.times(&public_element(seed, partition), &mut block);
        query.extend(block.map(|b| b.wrapping_add(rounded_gaussian(rng).cast_unsigned())));
    }
    let selected = &mut query[bucket as usize];
    *selected = selected.wrapping_add(DELTA);
    Encrypted { secret, query }
}

/// Box and Muller's transform of two uniform numbers.
fn rounded_gaussian(rng: &mut impl Rng) -> i32 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    (normal * STANDARD_DEVIATION).round() as i32
}
