//! Assumptions about SEAL's errors, tested so that a new version cannot change them unnoticed.

use opaque_pir::params::COEFFICIENT_MODULUS;
use opaque_seal::internal::Ciphertext;

use super::*;

/// SEAL, as built by `seal_fhe`, draws a Gaussian of deviation 3.2, clips it at 6 deviations and
/// truncates the fraction toward zero. So P(|e| ≥ m) = P(|X| ≥ m): the deviation is 2.83 and not
/// 3.2, and e = 0 with probability erf(1/(3.2·√2)) = 0.2453. docs/threat-model.md relies on this.
#[test]
fn fresh_errors_are_the_truncated_gaussian() {
    let errors: Vec<i64> = (0..8).flat_map(|_| fresh_errors()).collect();
    let count = errors.len() as f64;
    assert!(errors.iter().all(|error| error.abs() <= 19), "clipped at 19.2");
    let deviation = (errors.iter().map(|e| e * e).sum::<i64>() as f64 / count).sqrt();
    assert!((deviation / 2.828 - 1.0).abs() < 0.05, "deviation {deviation}");
    let mean = errors.iter().sum::<i64>() as f64 / count;
    assert!(mean.abs() < 0.1, "mean {mean}");
    let zeros = errors.iter().filter(|error| **error == 0).count() as f64 / count;
    assert!((zeros - 0.2453).abs() < 0.02, "zeros {zeros}");
}

/// The error polynomial of a fresh encryption of zero, exactly: c0 + c1·s modulo each data prime.
/// The product is computed in NTT form, in which SEAL stores s.
fn fresh_errors() -> Vec<i64> {
    let Fixture { bfv, key, .. } = &*FIXTURE;
    let fresh = key.encrypt(bfv, &[0; RING_DEGREE]).unwrap();
    let fresh = EncryptedSecret::from_bytes(bfv, &fresh).unwrap();
    let (ntt, coefficients) = (bfv.data_shape(true, false), bfv.data_shape(false, false));
    let mut residues = Vec::new();
    let transformed = bfv.evaluator().ciphertext_to_ntt(fresh.ciphertext()).unwrap();
    transformed.residues(&ntt, &mut residues).unwrap();
    let mut object = vec![0; bfv.full_shape().bytes()];
    key.handle().save(&bfv.full_shape(), &mut object).unwrap();
    let mut secret = Vec::new();
    bfv.full_shape().read(&mut object.as_slice(), &mut secret).unwrap();

    let (c0, c1) = residues.split_at_mut(ntt.primes * PLANE_ROWS);
    for (i, c0) in c0.iter_mut().enumerate() {
        let prime = u128::from(COEFFICIENT_MODULUS[i / PLANE_ROWS]);
        let sum = u128::from(*c0) + u128::from(c1[i]) * u128::from(secret[i]);
        *c0 = u64::try_from(sum % prime).unwrap();
    }
    // The second polynomial only prevents SEAL from treating the sum as a transparent ciphertext.
    let sum = Ciphertext::load(bfv.context(), &ntt, &residues, None).unwrap();
    let mut sums = Vec::new();
    bfv.evaluator().to_coefficients(&sum).unwrap().residues(&coefficients, &mut sums).unwrap();
    let lift = |prime: usize, residue: u64| {
        let (prime, residue) = (COEFFICIENT_MODULUS[prime].cast_signed(), residue.cast_signed());
        if residue > prime / 2 { residue - prime } else { residue }
    };
    let (first, rest) = sums.split_at(PLANE_ROWS);
    let errors: Vec<i64> = first.iter().map(|residue| lift(0, *residue)).collect();
    // Small numbers are equal modulo both primes; anything else would not be an error.
    assert!(errors.iter().copied().eq(rest[..PLANE_ROWS].iter().map(|r| lift(1, *r))));
    errors
}
