//! The costs of a lookup with inline keys for its client.
//!
//! `cargo bench -p opaque-secrets`
#![expect(clippy::expect_used, reason = "a benchmark may stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{PUBLIC_BYTES, PublicElements, PublicPart};
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_secrets::inline::{Seed, encrypt};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn client(criterion: &mut Criterion) {
    let geometry = Geometry::new(4096, 1024, 1).expect("a shape");
    let elements = PublicElements::new(&IndexSeed::new(&Salt([1; 32]), "t", 1, 0, &geometry));
    let mut rng = StdRng::seed_from_u64(2);
    let mut seed = || Seed::draw(&mut rng).expect("no end");
    let mut group = criterion.benchmark_group("client");
    group.bench_function("encrypt", |b| b.iter(|| encrypt(&elements, seed(), &[3; 1024])));
    let (_, key) = encrypt(&elements, seed(), &[3; 1024]).expect("a small secret");
    let public = PublicPart::from_bytes(&[0x35; PUBLIC_BYTES], 2048).expect("its size");
    let answer = vec![0x5a; 2560];
    group.bench_function("open a plane", |b| {
        b.iter(|| key.open(&public, black_box(&answer), 10, 2048));
    });
    group.finish();
}

criterion_group!(benches, client);
criterion_main!(benches);
