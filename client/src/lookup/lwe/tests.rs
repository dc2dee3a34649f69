use opaque_pir::{params::STANDARD_DEVIATION, seed::Salt};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

fn index_seed() -> IndexSeed {
    let geometry = Geometry::new(4096, 3072, 1).unwrap();
    IndexSeed::new(&Salt([9; 32]), "t", 1, 2, &geometry)
}

/// Negacyclic a·s modulo 2^32, as docs/ENGINE.md §5 writes it.
fn naive_product(a: &Poly, s: &[i32; RING_DEGREE]) -> Vec<u32> {
    let entry = |k: usize| {
        let term = |i: usize| {
            let a = if k >= i { a[k - i] } else { a[RING_DEGREE + k - i].wrapping_neg() };
            a.wrapping_mul(s[i].cast_unsigned())
        };
        (0..RING_DEGREE).map(term).fold(0u32, u32::wrapping_add)
    };
    (0..RING_DEGREE).map(entry).collect()
}

fn draw_seed(rng: &mut StdRng) -> Seed {
    Seed::draw(rng).unwrap()
}

fn lookup_of(geometry: &Geometry, bucket: u32, seed: Seed) -> ScanQuery {
    encrypt(Target { seed: &index_seed(), geometry, bucket }, seed)
}

#[test]
fn a_lookup_is_an_lwe_encryption_of_its_bucket() {
    let geometry = Geometry::new(4096, 3072, 1).unwrap();
    let bucket = 2 * 1024 + 5;
    // The same randomness gives the same secret: a seed is 32 bytes, drawn at once.
    let mut seed = [0; 32];
    StdRng::seed_from_u64(3).fill_bytes(&mut seed);
    let mut secret = [0i32; RING_DEGREE];
    Stream::new(&seed, u32::MAX).fill(&SCAN_ERRORS, &mut secret, |to, sample| *to = sample);
    let mut rng = StdRng::seed_from_u64(3);
    let lookup = lookup_of(&geometry, bucket, draw_seed(&mut rng));
    assert_eq!(**lookup.secret, secret);
    assert_eq!(lookup.lwe.len(), 3072);
    let mut squares = 0.0;
    for (j, block) in (0u32..).zip(lookup.lwe.chunks(RING_DEGREE)) {
        let a = public_element(&index_seed(), j);
        let products = naive_product(&a, &secret);
        for (k, (b, product)) in (j * 1024..).zip(block.iter().zip(products)) {
            let wanted = if k == bucket { DELTA } else { 0 };
            let error = b.wrapping_sub(product).wrapping_sub(wanted).cast_signed();
            assert!(error.abs() <= 102, "error {error} at {k}");
            squares += f64::from(error).powi(2);
        }
    }
    let deviation = (squares / 3072.0).sqrt();
    assert!((deviation / STANDARD_DEVIATION - 1.0).abs() < 0.1, "deviation {deviation}");
}

#[test]
fn encryptions_of_one_bucket_differ() {
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    let mut draw = |bucket| lookup_of(&geometry, bucket, draw_seed(&mut rng));
    let (first, second, other) = (draw(1), draw(1), draw(1023));
    assert_ne!(first.lwe, second.lwe);
    assert_ne!(first.secret, second.secret);
    assert_eq!(first.lwe.len(), other.lwe.len());
}

#[test]
fn equality_is_exact() {
    for (a, b) in [(0, 0), (0, 1), (1, 0), (u32::MAX, u32::MAX), (u32::MAX, 0), (1 << 31, 0)] {
        assert_eq!(equal(a, b), u32::from(a == b));
    }
}
