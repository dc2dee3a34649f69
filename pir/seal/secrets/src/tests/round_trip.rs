//! Encoding and decoding.

use opaque_pir::params::ENCRYPTED_SECRET_BYTES;
use opaque_seal::{EVALUATION_KEYS_BYTES, SealError};

use super::*;
use crate::SECRET_KEY_BYTES;

#[test]
fn sizes_are_fixed() {
    let Fixture { bfv, key, keys_bytes, .. } = &*FIXTURE;
    assert_eq!(keys_bytes.len(), EVALUATION_KEYS_BYTES);
    const { assert!(EVALUATION_KEYS_BYTES < 500_000) };
    for s in [[0; RING_DEGREE], [11; RING_DEGREE], [-300_000; RING_DEGREE]] {
        assert_eq!(key.encrypt(bfv, &s).unwrap().len(), ENCRYPTED_SECRET_BYTES);
    }
    assert_eq!(key.to_bytes().unwrap().len(), SECRET_KEY_BYTES);
}

#[test]
fn a_stored_secret_key_is_the_same_key() {
    let Fixture { bfv, key, plane, table, keys, .. } = &*FIXTURE;
    let bytes = key.to_bytes().unwrap();
    let loaded = SecretKey::from_bytes(bfv, &bytes).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), bytes);
    // It encrypts under the old evaluation keys, and the old key decrypts the answer.
    let s = random_secret(&mut StdRng::seed_from_u64(20));
    let secret = EncryptedSecret::from_bytes(bfv, &loaded.encrypt(bfv, &s).unwrap()).unwrap();
    let answers = hint_product(bfv, keys, &secret, &[table]).unwrap();
    assert_eq!(*key.decrypt(bfv, &answers[0]).unwrap(), naive_product(plane, &s));
    // Its new evaluation keys work for the old key's ciphertexts.
    let new_keys = EvaluationKeys::from_bytes(bfv, &loaded.evaluation_keys(bfv).unwrap()).unwrap();
    let secret = EncryptedSecret::from_bytes(bfv, &key.encrypt(bfv, &s).unwrap()).unwrap();
    let answers = hint_product(bfv, &new_keys, &secret, &[table]).unwrap();
    assert_eq!(*loaded.decrypt(bfv, &answers[0]).unwrap(), naive_product(plane, &s));
}

#[test]
fn keys_serve_another_context() {
    let Fixture { key, keys_bytes, plane, table, .. } = &*FIXTURE;
    let bfv = Bfv::new().unwrap();
    let keys = EvaluationKeys::from_bytes(&bfv, keys_bytes).unwrap();
    let s = random_secret(&mut StdRng::seed_from_u64(21));
    let secret = EncryptedSecret::from_bytes(&bfv, &key.encrypt(&bfv, &s).unwrap()).unwrap();
    let answers = hint_product(&bfv, &keys, &secret, &[table]).unwrap();
    assert_eq!(*key.decrypt(&bfv, &answers[0]).unwrap(), naive_product(plane, &s));
}

#[test]
fn everything_fresh_is_random() {
    let Fixture { bfv, key, keys_bytes, .. } = &*FIXTURE;
    assert_ne!(&key.evaluation_keys(bfv).unwrap(), keys_bytes);
    let s = [3; RING_DEGREE];
    assert_ne!(key.encrypt(bfv, &s).unwrap(), key.encrypt(bfv, &s).unwrap());
    let other = SecretKey::generate(bfv).unwrap();
    assert_ne!(other.to_bytes().unwrap(), key.to_bytes().unwrap());
}

#[test]
fn damaged_secret_keys_are_refused() {
    let Fixture { bfv, key, .. } = &*FIXTURE;
    let bytes = key.to_bytes().unwrap();
    for at in [4, 30_000, SECRET_KEY_BYTES - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(matches!(SecretKey::from_bytes(bfv, &damaged), Err(SealError::Checksum)));
    }
    let mut damaged = bytes.clone();
    damaged[3] = 2;
    assert!(matches!(SecretKey::from_bytes(bfv, &damaged), Err(SealError::Version { .. })));
    assert!(matches!(SecretKey::from_bytes(bfv, &bytes[1..]), Err(SealError::Size { .. })));
    assert!(SecretKey::from_bytes(bfv, &[]).is_err());
}

#[test]
fn a_secret_key_does_not_print() {
    assert_eq!(format!("{:?}", FIXTURE.key), "SecretKey([redacted])");
}
