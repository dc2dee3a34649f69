//! The hint product, compared with the same product by SEAL's calls only and with inline keys;
//! building tables; reading client messages.
//!
//! `cargo bench -p opaque-seal`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{Chain, InlineQuery, PlaneTables, PublicElements, QUERY_BYTES, multiply};
use opaque_pir::machine::VectorKernel;
use opaque_pir::params::{ENCRYPTED_SECRET_BYTES, PLANE_ROWS, RING_DEGREE};
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_seal::{
    Bfv, EVALUATION_KEYS_BYTES, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

mod seal_calls;

/// Evaluation keys and an encrypted secret whose residues are below their primes. The times do not
/// depend on the contents.
fn messages() -> (Vec<u8>, Vec<u8>) {
    let mut keys = vec![0x35; EVALUATION_KEYS_BYTES];
    keys[..4].copy_from_slice(b"OEK\x01");
    (keys, vec![0x35; ENCRYPTED_SECRET_BYTES])
}

fn hint_products(c: &mut Criterion) {
    let bfv = Bfv::new().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let planes: Vec<Vec<u32>> =
        (0..2).map(|_| (0..PLANE_ROWS * RING_DEGREE).map(|_| rng.random()).collect()).collect();
    let tables: Vec<_> =
        planes.iter().map(|plane| PlaneTable::build(&bfv, plane).unwrap()).collect();
    let (keys, secret) = messages();
    let loaded_keys = EvaluationKeys::from_bytes(&bfv, &keys).unwrap();
    let loaded_secret = EncryptedSecret::from_bytes(&bfv, &secret).unwrap();
    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let all_cores = rayon::ThreadPoolBuilder::new().build().unwrap();

    let mut group = c.benchmark_group("hint_product");
    group.sample_size(20);
    for (cores, pool) in [("one core", &one_core), ("all cores", &all_cores)] {
        for count in [1, 2] {
            let tables: Vec<_> = tables.iter().take(count).collect();
            let name = format!("{count} planes, {cores}");
            group.bench_function(name, |b| {
                b.iter(|| {
                    let tables = black_box(&tables);
                    let product = || hint_product(&bfv, &loaded_keys, &loaded_secret, tables);
                    pool.install(product).unwrap()
                });
            });
        }
    }
    let seal = seal_calls::SealCalls::new(&mut rng);
    group.bench_function("1 planes, one core, SEAL's calls alone", |b| b.iter(|| seal.product()));
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    let seed = IndexSeed::new(&Salt([1; 32]), "t", 1, 0, &geometry);
    let chain = Chain::new(&PublicElements::new(&seed));
    let inline: Vec<PlaneTables> =
        planes.iter().map(|plane| chain.tables(plane).unwrap()).collect();
    let query = InlineQuery::from_bytes(&[0x35; QUERY_BYTES]).unwrap();
    // Planes take turns, so that the cache contents of the previous one do not help.
    let mut turn = inline.iter().cycle();
    group.bench_function("1 planes, one core, inline keys", |b| {
        b.iter(|| {
            let tables = turn.next().unwrap();
            one_core
                .install(|| multiply(VectorKernel::best(), tables, &[black_box(&query)]).unwrap())
        });
    });
    group.finish();

    let mut group = c.benchmark_group("plane table");
    group.sample_size(10);
    group.bench_function("build, all cores", |b| {
        b.iter(|| all_cores.install(|| PlaneTable::build(&bfv, black_box(&planes[0])).unwrap()));
    });
    group.finish();

    let mut group = c.benchmark_group("wire");
    group.sample_size(20);
    group.bench_function("load evaluation keys", |b| {
        b.iter(|| EvaluationKeys::from_bytes(&bfv, black_box(&keys)).unwrap());
    });
    group.bench_function("load encrypted secret", |b| {
        b.iter(|| EncryptedSecret::from_bytes(&bfv, black_box(&secret)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, hint_products);
criterion_main!(benches);
