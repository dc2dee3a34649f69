//! Assumptions about SEAL, tested so that a new version cannot change them unnoticed. Those that
//! need a secret key are tested in `opaque-seal-secrets`.

#![allow(clippy::unwrap_used, reason = "tests")]

use opaque_pir::params::{COEFFICIENT_BITS, COEFFICIENT_MODULUS, PLAINTEXT_MODULUS, PLANE_ROWS};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seal_fhe::{CoefficientModulus, Modulus, PlainModulus};

use crate::Bfv;
use crate::format::galois_slot;
use crate::handle::Ciphertext;

/// params.rs names the primes that SEAL would choose for these sizes, in SEAL's order.
#[test]
fn primes_are_the_ones_seal_chooses() {
    let bits = COEFFICIENT_BITS.map(|bits| i32::try_from(bits).unwrap());
    let chosen = CoefficientModulus::create(PLANE_ROWS as u64, &bits).unwrap();
    let chosen: Vec<_> = chosen.iter().map(Modulus::value).collect();
    assert_eq!(chosen, COEFFICIENT_MODULUS);
    let plain = PlainModulus::batching(PLANE_ROWS as u64, 20).unwrap();
    assert_eq!(plain.value(), u64::from(PLAINTEXT_MODULUS));
}

/// Sizes of SEAL's own objects. Every other test relies on their bytes being as in `format`.
#[test]
fn serialized_sizes() {
    let bfv = Bfv::new().unwrap();
    assert_eq!(bfv.data_shape(true, false).bytes(), 131_185);
    assert_eq!(bfv.data_shape(false, true).bytes(), 65_730);
    assert_eq!(bfv.answer_shape().bytes(), 65_649);
    assert_eq!(bfv.plaintext_shape().bytes(), 65_624);
    assert_eq!(bfv.full_shape().bytes(), 98_392);
    assert_eq!(bfv.galois_shape().bytes(), 426_816);
}

/// SEAL saves exactly the bytes that were written for it to load.
#[test]
fn loaded_objects_save_to_the_same_residues() {
    let bfv = Bfv::new().unwrap();
    let mut rng = StdRng::seed_from_u64(30);
    for shape in [bfv.data_shape(true, false), bfv.data_shape(false, false), bfv.answer_shape()] {
        let primes = COEFFICIENT_MODULUS.iter().take(shape.primes).cycle();
        let residues: Vec<u64> = primes
            .take(2 * shape.primes)
            .flat_map(|prime| {
                (0..PLANE_ROWS).map(|_| rng.random_range(0..*prime)).collect::<Vec<_>>()
            })
            .collect();
        let ciphertext = Ciphertext::load(&bfv.context, &shape, &residues, None).unwrap();
        let mut saved = Vec::new();
        assert_eq!(ciphertext.residues(&shape, &mut saved).unwrap(), None);
        assert_eq!(saved, residues);
        // An object of another level or form is refused, not misread.
        let mut other = shape;
        other.ntt = !shape.ntt;
        assert!(ciphertext.residues(&other, &mut Vec::new()).is_err());
    }
}

#[test]
fn keys_lie_where_seal_looks() {
    assert_eq!(galois_slot(1), 1);
    // 3^32 mod 8192 = 7809 (python: pow(3, 32, 8192)).
    assert_eq!(galois_slot(32), 7_809 / 2);
}
