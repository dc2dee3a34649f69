//! Untrusted bytes cause an error or harmless noise. They never end the process.

use opaque_pir::params::{ENCRYPTED_SECRET_BYTES, PLANE_CIPHERTEXT_BYTES, SEED_BYTES};
use opaque_seal::{EVALUATION_KEYS_BYTES, SealError};
use proptest::prelude::*;

use super::*;

/// [`EncryptedSecret::from_bytes`], which must agree with [`EncryptedSecret::check`].
fn load_secret(bytes: &[u8]) -> Result<EncryptedSecret, SealError> {
    let loaded = EncryptedSecret::from_bytes(&FIXTURE.bfv, bytes);
    match (EncryptedSecret::check(bytes), &loaded) {
        (Ok(()), Ok(_)) => {}
        (Err(checked), Err(loaded)) => assert_eq!(checked.to_string(), loaded.to_string()),
        (checked, loaded) => panic!("check: {checked:?}, load: {loaded:?}"),
    }
    loaded
}

/// The server's operations on accepted bytes.
fn serve(keys: &EvaluationKeys, secret: &EncryptedSecret) {
    let Fixture { bfv, key, table, .. } = &*FIXTURE;
    if let Ok(answers) = hint_product(bfv, keys, secret, &[table]) {
        assert_eq!(answers[0].len(), PLANE_CIPHERTEXT_BYTES);
        assert_eq!(key.decrypt(bfv, &answers[0]).unwrap().len(), PLANE_ROWS);
    }
}

fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Clears the top bits of every packed 35-bit value, so that random bytes pass the range check.
fn tame(bytes: &mut [u8], width: usize) {
    for bit in (width - 1..bytes.len() * 8).step_by(width) {
        for bit in bit.saturating_sub(1)..=bit {
            bytes[bit / 8] &= !(1 << (bit % 8));
        }
    }
}

#[test]
fn wrong_sizes() {
    let Fixture { bfv, key, keys_bytes, .. } = &*FIXTURE;
    let secret = key.encrypt(bfv, &[1; RING_DEGREE]).unwrap();
    for length in [0, 1, 4, 63, 64, 65, 35_839, 35_903, 35_905, 217_347, 217_349, 1 << 20] {
        let bytes = vec![0; length];
        assert!(matches!(EvaluationKeys::from_bytes(bfv, &bytes), Err(SealError::Size { .. })));
        assert!(matches!(load_secret(&bytes), Err(SealError::Size { .. })));
        assert!(matches!(key.decrypt(bfv, &bytes), Err(SealError::Size { .. })));
    }
    for cut in [1, 2, 64, 30_000] {
        assert!(EvaluationKeys::from_bytes(bfv, &keys_bytes[cut..]).is_err());
        assert!(EvaluationKeys::from_bytes(bfv, &keys_bytes[..keys_bytes.len() - cut]).is_err());
        assert!(load_secret(&secret[cut..]).is_err());
        assert!(load_secret(&secret[..secret.len() - cut]).is_err());
    }
    let long = [keys_bytes.as_slice(), &[0]].concat();
    assert!(EvaluationKeys::from_bytes(bfv, &long).is_err());
    assert!(PlaneTable::build(bfv, &[0; 4096]).is_err());
}

#[test]
fn wrong_version() {
    let Fixture { bfv, keys_bytes, .. } = &*FIXTURE;
    for at in 0..4 {
        let mut bytes = keys_bytes.clone();
        bytes[at] ^= 2;
        assert!(matches!(EvaluationKeys::from_bytes(bfv, &bytes), Err(SealError::Version { .. })));
    }
}

/// One residue equals its prime, at either end of a polynomial of each prime.
#[test]
fn residue_out_of_range() {
    let Fixture { bfv, key, keys_bytes, .. } = &*FIXTURE;
    let secret = key.encrypt(bfv, &[1; RING_DEGREE]).unwrap();
    let half = 4096 * 35 / 8;
    for byte in [0, half - 5, half, 2 * half - 5] {
        // Eight values take 35 bytes: forty one-bits cover one value completely.
        let mut bytes = secret.clone();
        bytes[byte..byte + 5].fill(0xff);
        assert!(matches!(load_secret(&bytes), Err(SealError::Residue { .. })));
        let mut bytes = keys_bytes.clone();
        bytes[4 + byte..4 + byte + 5].fill(0xff);
        assert!(matches!(EvaluationKeys::from_bytes(bfv, &bytes), Err(SealError::Residue { .. })));
        let mut answer = vec![0; PLANE_CIPHERTEXT_BYTES];
        answer[byte..byte + 5].fill(0xff);
        assert!(matches!(key.decrypt(bfv, &answer), Err(SealError::Residue { .. })));
    }
    let last = EVALUATION_KEYS_BYTES - SEED_BYTES - 9;
    let mut bytes = keys_bytes.clone();
    bytes[last..last + 9].fill(0xff);
    assert!(matches!(EvaluationKeys::from_bytes(bfv, &bytes), Err(SealError::Residue { .. })));
}

#[test]
fn a_residue_equal_to_its_prime() {
    use opaque_pir::params::COEFFICIENT_MODULUS;
    let Fixture { bfv, key, .. } = &*FIXTURE;
    let mut answer = vec![0; PLANE_CIPHERTEXT_BYTES];
    answer[..8].copy_from_slice(&(COEFFICIENT_MODULUS[0] - 1).to_le_bytes());
    assert!(key.decrypt(bfv, &answer).is_ok());
    answer[..8].copy_from_slice(&COEFFICIENT_MODULUS[0].to_le_bytes());
    assert!(matches!(key.decrypt(bfv, &answer), Err(SealError::Residue { .. })));
}

#[test]
fn all_ones_and_all_zeros() {
    let Fixture { bfv, key, keys, .. } = &*FIXTURE;
    let mut ones = vec![0xff; EVALUATION_KEYS_BYTES];
    assert!(EvaluationKeys::from_bytes(bfv, &ones).is_err());
    ones[..4].copy_from_slice(b"OEK\x01");
    assert!(EvaluationKeys::from_bytes(bfv, &ones).is_err());
    assert!(load_secret(&ones[..ENCRYPTED_SECRET_BYTES]).is_err());
    assert!(key.decrypt(bfv, &ones[..PLANE_CIPHERTEXT_BYTES]).is_err());

    let mut zeros = vec![0; EVALUATION_KEYS_BYTES];
    assert!(EvaluationKeys::from_bytes(bfv, &zeros).is_err());
    let zero_secret = load_secret(&zeros[..ENCRYPTED_SECRET_BYTES]).unwrap();
    assert_eq!(*key.decrypt(bfv, &zeros[..PLANE_CIPHERTEXT_BYTES]).unwrap(), vec![0; PLANE_ROWS]);
    zeros[..4].copy_from_slice(b"OEK\x01");
    let zero_keys = EvaluationKeys::from_bytes(bfv, &zeros).unwrap();
    let secret = key.encrypt(bfv, &[1; RING_DEGREE]).unwrap();
    let secret = load_secret(&secret).unwrap();
    serve(&zero_keys, &zero_secret);
    serve(&zero_keys, &secret);
    serve(keys, &zero_secret);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Random bytes of the right size: nearly always a residue is out of range.
    #[test]
    fn random_bytes_are_no_crash(seed: u64) {
        let Fixture { bfv, key, .. } = &*FIXTURE;
        let mut bytes = random_bytes(seed, EVALUATION_KEYS_BYTES);
        prop_assert!(EvaluationKeys::from_bytes(bfv, &bytes).is_err());
        bytes[..4].copy_from_slice(b"OEK\x01");
        let _ = EvaluationKeys::from_bytes(bfv, &bytes);
        let _ = load_secret(&bytes[..ENCRYPTED_SECRET_BYTES]);
        let _ = key.decrypt(bfv, &bytes[..PLANE_CIPHERTEXT_BYTES]);
    }

    /// Random bytes that pass every check: harmless noise.
    #[test]
    fn random_residues_are_harmless(seed: u64) {
        let Fixture { bfv, key, keys, keys_bytes, .. } = &*FIXTURE;
        let mut secret = random_bytes(seed, ENCRYPTED_SECRET_BYTES);
        tame(&mut secret[..ENCRYPTED_SECRET_BYTES - SEED_BYTES], 35);
        let secret = load_secret(&secret).unwrap();
        serve(keys, &secret);

        let mut bytes = keys_bytes.clone();
        let polynomial = 4096 * (35 + 35 + 36) / 8;
        for digit in bytes[4..].chunks_exact_mut(polynomial + SEED_BYTES) {
            let noise = random_bytes(seed ^ 1, digit.len());
            digit.copy_from_slice(&noise);
            let (two, rest) = digit.split_at_mut(4096 * 70 / 8);
            tame(two, 35);
            tame(&mut rest[..4096 * 36 / 8], 36);
        }
        let noise = EvaluationKeys::from_bytes(bfv, &bytes).unwrap();
        serve(&noise, &secret);
        let mut answer = random_bytes(seed ^ 2, PLANE_CIPHERTEXT_BYTES);
        tame(&mut answer, 35);
        prop_assert_eq!(key.decrypt(bfv, &answer).unwrap().len(), PLANE_ROWS);
    }

    /// One flipped bit anywhere: an error, or an answer of the usual size.
    #[test]
    fn flipped_bits(bit in 0..8 * EVALUATION_KEYS_BYTES) {
        let Fixture { bfv, key, keys, keys_bytes, .. } = &*FIXTURE;
        let mut bytes = keys_bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut secret = key.encrypt(bfv, &[1; RING_DEGREE]).unwrap();
        let bit = bit % (8 * ENCRYPTED_SECRET_BYTES);
        secret[bit / 8] ^= 1 << (bit % 8);
        if let Ok(secret) = load_secret(&secret) {
            serve(keys, &secret);
            if let Ok(keys) = EvaluationKeys::from_bytes(bfv, &bytes) {
                serve(&keys, &secret);
            }
        }
    }
}
