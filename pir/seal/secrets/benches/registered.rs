//! The costs of a lookup with registered keys for its client: encryption, decryption, and
//! evaluation keys once for many lookups.
//!
//! `cargo bench -p opaque-seal-secrets`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opaque_pir::params::{PLANE_CIPHERTEXT_BYTES, RING_DEGREE};
use opaque_seal::Bfv;
use opaque_seal_secrets::SecretKey;

fn client(c: &mut Criterion) {
    let bfv = Bfv::new().unwrap();
    let key = SecretKey::generate(&bfv).unwrap();
    let (s, answer) = ([-7; RING_DEGREE], [0x35; PLANE_CIPHERTEXT_BYTES]);
    let mut group = c.benchmark_group("client");
    group.sample_size(20);
    group.bench_function("encrypt", |b| b.iter(|| key.encrypt(&bfv, black_box(&s)).unwrap()));
    group.bench_function("decrypt", |b| b.iter(|| key.decrypt(&bfv, black_box(&answer)).unwrap()));
    group.bench_function("evaluation keys", |b| b.iter(|| key.evaluation_keys(&bfv).unwrap()));
    group.finish();
}

criterion_group!(benches, client);
criterion_main!(benches);
