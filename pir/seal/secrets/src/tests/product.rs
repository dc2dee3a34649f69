//! Compares the product with exact integer arithmetic, and checks its noise.

use opaque_pir::params::PLANE_CIPHERTEXT_BYTES;
use opaque_seal::internal::{plane_product, rotate_secret};

use super::*;

#[test]
fn every_slot_is_right() {
    let fixture = &*FIXTURE;
    for seed in 0..3 {
        let s = random_secret(&mut StdRng::seed_from_u64(seed));
        let answers = fixture.answer(&s, &[&fixture.table]);
        assert_eq!(answers[0].len(), PLANE_CIPHERTEXT_BYTES);
        let found = fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap();
        assert_eq!(*found, naive_product(&fixture.plane, &s));
    }
}

#[test]
fn planes_keep_their_order() {
    let fixture = &*FIXTURE;
    let mut rng = StdRng::seed_from_u64(5);
    let other = random_plane(&mut rng);
    let table = PlaneTable::build(&fixture.bfv, &other).unwrap();
    let s = random_secret(&mut rng);
    let answers = fixture.answer(&s, &[&fixture.table, &table, &fixture.table]);
    let found: Vec<_> =
        answers.iter().map(|a| fixture.key.decrypt(&fixture.bfv, a).unwrap()).collect();
    assert_eq!(*found[0], naive_product(&fixture.plane, &s));
    assert_eq!(*found[1], naive_product(&other, &s));
    assert_eq!(found[2], found[0]);
    assert!(fixture.answer(&s, &[]).is_empty());
}

/// The plane of a matrix with few rows: the other rows are zero. It is not folded.
#[test]
fn planes_of_few_rows() {
    let fixture = &*FIXTURE;
    let s = random_secret(&mut StdRng::seed_from_u64(16));
    for rows in [256, 2048] {
        let plane = &fixture.plane[..rows * RING_DEGREE];
        let mut padded = plane.to_vec();
        padded.resize(PLANE_ROWS * RING_DEGREE, 0);
        let table = PlaneTable::build(&fixture.bfv, plane).unwrap();
        let answers = fixture.answer(&s, &[&table]);
        let found = fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap();
        assert_eq!(*found, naive_product(&padded, &s));
    }
    for rows in [0, 255, 257, 768, 8192] {
        assert!(PlaneTable::build(&fixture.bfv, &vec![0; rows * RING_DEGREE]).is_err());
    }
}

/// Zero planes and planes with zero diagonals: no transparent ciphertext may stop a query.
#[test]
fn sparse_planes() {
    let fixture = &*FIXTURE;
    let s = random_secret(&mut StdRng::seed_from_u64(6));
    let zero = vec![0; PLANE_ROWS * RING_DEGREE];
    let table = PlaneTable::build(&fixture.bfv, &zero).unwrap();
    let answers = fixture.answer(&s, &[&table]);
    assert_eq!(*fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap(), vec![0; PLANE_ROWS]);
    // Only diagonal i, for an i in the first, a middle and the last giant step.
    for diagonal in [0, 17 * 32 + 5, 1023] {
        let mut plane = zero.clone();
        for (row, entries) in plane.chunks_exact_mut(RING_DEGREE).enumerate() {
            entries[(row + diagonal) % RING_DEGREE] = 0x8000_0000 + u32::try_from(row).unwrap();
        }
        let table = PlaneTable::build(&fixture.bfv, &plane).unwrap();
        let answers = fixture.answer(&s, &[&table]);
        assert_eq!(
            *fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap(),
            naive_product(&plane, &s)
        );
    }
    // Fewer rows than a plane, and a single entry.
    let mut plane = zero;
    for entry in &mut plane[..100 * RING_DEGREE] {
        *entry = u32::MAX / 3;
    }
    plane[4_000 * RING_DEGREE + 7] = 123 << 20;
    let table = PlaneTable::build(&fixture.bfv, &plane).unwrap();
    let answers = fixture.answer(&s, &[&table]);
    assert_eq!(*fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap(), naive_product(&plane, &s));
}

/// Extreme secrets: all zero (still an ordinary ciphertext), and far larger than a query's.
#[test]
fn extreme_secrets() {
    let fixture = &*FIXTURE;
    let mut edge = [0; RING_DEGREE];
    edge[0] = i32::try_from(PLAINTEXT_MODULUS / 2).unwrap();
    edge[1023] = -edge[0];
    for s in [[0; RING_DEGREE], [1; RING_DEGREE], edge] {
        let answers = fixture.answer(&s, &[&fixture.table]);
        let found = fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap();
        assert_eq!(*found, naive_product(&fixture.plane, &s));
    }
    edge[5] = edge[0] + 1;
    assert!(fixture.key.encrypt(&fixture.bfv, &edge).is_err());
    edge[5] = i32::MIN;
    assert!(fixture.key.encrypt(&fixture.bfv, &edge).is_err());
}

/// Over 150 keys and secrets: 45 bits fresh, 8 to 10 after the product, 7 or 8 after the switch.
/// Budgets are rounded down and name the worst of 4096 coefficients, so even 6 bits leave that one
/// at 1/64 of the limit.
#[test]
fn noise_budget() {
    let Fixture { bfv, key, keys, table, .. } = &*FIXTURE;
    for seed in 0..4 {
        let s = random_secret(&mut StdRng::seed_from_u64(100 + seed));
        let secret = key.encrypt(bfv, &s).unwrap();
        let secret = EncryptedSecret::from_bytes(bfv, &secret).unwrap();
        let fresh = key.handle().noise_budget(bfv.context(), secret.ciphertext()).unwrap();
        let rotations = rotate_secret(bfv, keys, &secret).unwrap();
        let product = plane_product(bfv, keys, &rotations, table).unwrap().unwrap();
        let before = key.handle().noise_budget(bfv.context(), &product).unwrap();
        let answers = hint_product(bfv, keys, &secret, &[table]).unwrap();
        let after = key.noise_budget(bfv, &answers[0]).unwrap();
        assert!((44..=46).contains(&fresh), "fresh: {fresh}");
        assert!((7..=11).contains(&before), "before the switch: {before}");
        assert!((6..=9).contains(&after), "after the switch: {after}");
    }
}

/// Another client's keys give noise, neither a crash nor an answer.
#[test]
fn keys_do_not_mix() {
    let Fixture { bfv, key, plane, table, keys, .. } = &*FIXTURE;
    let other = SecretKey::generate(bfv).unwrap();
    let other_keys = EvaluationKeys::from_bytes(bfv, &other.evaluation_keys(bfv).unwrap()).unwrap();
    let s = random_secret(&mut StdRng::seed_from_u64(8));
    let expected = naive_product(plane, &s);
    let secret = EncryptedSecret::from_bytes(bfv, &key.encrypt(bfv, &s).unwrap()).unwrap();
    let near = |values: &[u32]| values.iter().zip(&expected).filter(|(a, b)| a == b).count();

    let wrong = hint_product(bfv, &other_keys, &secret, &[table]).unwrap();
    assert_eq!(key.noise_budget(bfv, &wrong[0]).unwrap(), 0);
    assert!(near(&key.decrypt(bfv, &wrong[0]).unwrap()) < 10);
    // The right answer, decrypted with another client's secret.
    let right = hint_product(bfv, keys, &secret, &[table]).unwrap();
    assert!(near(&other.decrypt(bfv, &right[0]).unwrap()) < 10);
    assert_eq!(near(&key.decrypt(bfv, &right[0]).unwrap()), PLANE_ROWS);
}

/// Many threads use one context and one table, creating and dropping objects of every kind.
#[test]
fn many_threads() {
    let fixture = &*FIXTURE;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let table = PlaneTable::build(&fixture.bfv, &fixture.plane).unwrap();
                let s = random_secret(&mut StdRng::seed_from_u64(2_000));
                let found = fixture.answer(&s, &[&table]);
                let found = fixture.key.decrypt(&fixture.bfv, &found[0]).unwrap();
                assert_eq!(*found, naive_product(&fixture.plane, &s));
            });
        }
        for thread in 0..8 {
            scope.spawn(move || {
                let s = random_secret(&mut StdRng::seed_from_u64(1_000 + thread));
                let keys = EvaluationKeys::from_bytes(&fixture.bfv, &fixture.keys_bytes).unwrap();
                let secret = fixture.key.encrypt(&fixture.bfv, &s).unwrap();
                let secret = EncryptedSecret::from_bytes(&fixture.bfv, &secret).unwrap();
                let answers =
                    hint_product(&fixture.bfv, &keys, &secret, &[&fixture.table]).unwrap();
                let found = fixture.key.decrypt(&fixture.bfv, &answers[0]).unwrap();
                assert_eq!(*found, naive_product(&fixture.plane, &s));
            });
        }
    });
}
