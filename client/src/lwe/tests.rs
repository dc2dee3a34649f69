use opaque_pir::{
    codec::{Combiner, KeyDigest, Material, Partial, QueryView, QueryWriter},
    hint::HintBuilder,
    params::STANDARD_DEVIATION,
    scan::{Kernel, Partition, scan},
};
use opaque_seal::{EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;

const SALT: Salt = Salt([9; 32]);
const COLUMN: u32 = 2;

/// Negacyclic a·s modulo 2^32, as engine.md §4 writes it.
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

fn target(geometry: &Geometry, bucket: u32) -> Target<'_> {
    Target { salt: &SALT, column: COLUMN, geometry, bucket }
}

#[test]
fn a_lookup_is_an_lwe_encryption_of_its_bucket() {
    let bfv = Bfv::new().unwrap();
    let key = SecretKey::generate(&bfv).unwrap();
    let geometry = Geometry::new(4096, 3072, 1).unwrap();
    let bucket = 2 * 1024 + 5;
    // The same randomness gives the secret again: a seed is 32 bytes, drawn at once.
    let mut seed = [0; 32];
    StdRng::seed_from_u64(3).fill_bytes(&mut seed);
    let mut secret = [0i32; RING_DEGREE];
    Gaussian::new(&seed, u32::MAX).fill(&mut secret, |to, sample| *to = sample);
    let mut rng = StdRng::seed_from_u64(3);
    let (lookup, _) = encrypt(&bfv, &key, target(&geometry, bucket), draw_seed(&mut rng)).unwrap();
    assert_eq!(lookup.lwe.len(), 3072);
    let mut squares = 0.0;
    for (j, block) in (0u32..).zip(lookup.lwe.chunks(RING_DEGREE)) {
        let a = public_element(&SALT, COLUMN, j);
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
fn encryptions_of_one_bucket_differ_and_have_one_size() {
    let bfv = Bfv::new().unwrap();
    let key = SecretKey::generate(&bfv).unwrap();
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    let mut draw =
        |bucket| encrypt(&bfv, &key, target(&geometry, bucket), draw_seed(&mut rng)).unwrap().0;
    let (first, second, other) = (draw(1), draw(1), draw(1023));
    assert_ne!(first.lwe, second.lwe);
    assert_ne!(first.encrypted_secret, second.encrypted_secret);
    assert_eq!(first.encrypted_secret.len(), other.encrypted_secret.len());
}

#[test]
fn equality_is_exact() {
    for (a, b) in [(0, 0), (0, 1), (1, 0), (u32::MAX, u32::MAX), (u32::MAX, 0), (1 << 31, 0)] {
        assert_eq!(equal(a, b), u32::from(a == b));
    }
}

/// The whole path without a network: two shards' worth of partitions, two planes, both the exact
/// hint (SEAL does the product) and every byte of the bucket compared.
#[test]
fn lookups_come_back_from_a_scan_and_a_hint_product() {
    let mut rng = StdRng::seed_from_u64(5);
    let geometry = Geometry::new(8192, 2048, 1).unwrap();
    let mut matrix = Vec::new();
    let mut hint = HintBuilder::new(SALT, COLUMN, &geometry);
    for j in 0..geometry.partitions() {
        let mut bytes = vec![0u8; geometry.partition_bytes()];
        rng.fill_bytes(&mut bytes);
        hint.add(j, &bytes).unwrap();
        matrix.push(bytes);
    }
    let hint = hint.finish().unwrap();

    let bfv = Bfv::new().unwrap();
    let key = SecretKey::generate(&bfv).unwrap();
    let evaluation = key.evaluation_keys(&bfv).unwrap();
    let material = Material::Registered(KeyDigest::of(&evaluation));
    let buckets = [0, 1023, 1024, rng.random_range(0..2048)];
    let mut writer = QueryWriter::new(&geometry, 1, material, 4).unwrap();
    let mut secrets = Vec::new();
    for bucket in buckets {
        let (lookup, secret) =
            encrypt(&bfv, &key, target(&geometry, bucket), draw_seed(&mut rng)).unwrap();
        writer.lookup(&lookup.lwe, &lookup.encrypted_secret).unwrap();
        secrets.push(secret);
    }
    let query = writer.finish().unwrap();

    // The server's half, on public bytes alone.
    let view = QueryView::decode(&query, &geometry, 1).unwrap();
    let keys = EvaluationKeys::from_bytes(&bfv, &evaluation).unwrap();
    let tables: Vec<PlaneTable> = (0..geometry.planes())
        .map(|plane| PlaneTable::build(&bfv, hint.plane(plane).unwrap()).unwrap())
        .collect();
    let tables: Vec<&PlaneTable> = tables.iter().collect();
    let products: Vec<Vec<Vec<u8>>> = (0..4)
        .map(|lookup| {
            let secret = view.encrypted_secret(lookup).unwrap();
            let secret = EncryptedSecret::from_bytes(&bfv, secret).unwrap();
            hint_product(&bfv, &keys, &secret, &tables).unwrap()
        })
        .collect();
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    };
    let mut combiner = Combiner::new(&geometry, 7, 1, 4).unwrap();
    for (j, bytes) in (0u16..).zip(&matrix) {
        let partition = Partition::try_from((bytes.clone(), &geometry)).unwrap();
        let slices: Vec<Vec<u32>> =
            (0..4).map(|lookup| words(view.lwe_partition(lookup, j.into()).unwrap())).collect();
        let slices: Vec<&[u32]> = slices.iter().map(Vec::as_slice).collect();
        let scans = scan(Kernel::Scalar, &geometry, &[&partition], &slices).unwrap();
        let plane = products.iter().map(|lookup| lookup[usize::from(j)].clone()).collect();
        let partial = Partial {
            generation: 7,
            epoch: 1,
            partitions: vec![j.into()],
            scans,
            planes: vec![(j, plane)],
        };
        combiner.add(partial).unwrap();
    }
    let answer = combiner.finish().unwrap();

    let answer = AnswerView::decode(&answer, &geometry, 1, 4).unwrap();
    for (lookup, (secret, bucket)) in (0..).zip(secrets.into_iter().zip(buckets)) {
        assert_eq!(secret.bucket(), bucket);
        let found = secret.decrypt(&bfv, &key, &geometry, &answer, lookup).unwrap();
        let (j, k) = (bucket as usize / 1024, bucket as usize % 1024);
        let column: Vec<u8> = matrix[j].chunks(1024).map(|row| row[k]).collect();
        assert!(*found == column, "bucket {bucket}");
    }
}
