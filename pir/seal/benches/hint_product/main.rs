//! The hint product, beside the same thing through SEAL's calls alone and with inline keys; tables, keys,
//! encryption.
//!
//! `cargo bench -p opaque-seal --features secrets`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{
    Chain, InlineQuery, Kernel, PlaneTables, PublicElements, QUERY_BYTES, multiply,
};
use opaque_pir::params::{PLANE_ROWS, RING_DEGREE};
use opaque_pir::seed::IndexSeed;
use opaque_pir::seed::Salt;
use opaque_seal::secrets::SecretKey;
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

mod seal_calls;

fn hint_products(c: &mut Criterion) {
    let bfv = Bfv::new().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let planes: Vec<Vec<u32>> =
        (0..2).map(|_| (0..PLANE_ROWS * RING_DEGREE).map(|_| rng.random()).collect()).collect();
    let tables: Vec<_> =
        planes.iter().map(|plane| PlaneTable::build(&bfv, plane).unwrap()).collect();
    let key = SecretKey::generate(&bfv).unwrap();
    let keys_bytes = key.evaluation_keys(&bfv).unwrap();
    let keys = EvaluationKeys::from_bytes(&bfv, &keys_bytes).unwrap();
    let s: [i32; RING_DEGREE] = std::array::from_fn(|_| rng.random_range(-20..=20));
    let secret_bytes = key.encrypt(&bfv, &s).unwrap();
    let secret = EncryptedSecret::from_bytes(&bfv, &secret_bytes).unwrap();
    let answer = hint_product(&bfv, &keys, &secret, &[&tables[0]]).unwrap();
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
                    pool.install(|| hint_product(&bfv, &keys, &secret, black_box(&tables)).unwrap())
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
    // Each plane in turn: what the other left in the cache is of no use.
    let mut turn = inline.iter().cycle();
    group.bench_function("1 planes, one core, inline keys", |b| {
        b.iter(|| {
            let tables = turn.next().unwrap();
            one_core.install(|| multiply(Kernel::best(), tables, &[black_box(&query)]).unwrap())
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
        b.iter(|| EvaluationKeys::from_bytes(&bfv, black_box(&keys_bytes)).unwrap());
    });
    group.bench_function("load encrypted secret", |b| {
        b.iter(|| EncryptedSecret::from_bytes(&bfv, black_box(&secret_bytes)).unwrap());
    });
    group.bench_function("encrypt", |b| b.iter(|| key.encrypt(&bfv, black_box(&s)).unwrap()));
    group.bench_function("decrypt", |b| {
        b.iter(|| key.decrypt(&bfv, black_box(&answer[0])).unwrap())
    });
    group.bench_function("evaluation keys", |b| b.iter(|| key.evaluation_keys(&bfv).unwrap()));
    group.finish();
}

criterion_group!(benches, hint_products);
criterion_main!(benches);
