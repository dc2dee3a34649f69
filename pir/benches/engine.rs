//! The engine's arithmetic, each figure beside a plain read of the same bytes in the same run.
//!
//! `cargo bench -p opaque-pir` prints criterion's times, then a table of ratios: the best of several
//! passes, on one thread and on all.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::HintBuilder;
use opaque_pir::layout::Salt;
use opaque_pir::probe::Probe;
use opaque_pir::ring::{Multiplier, Transformed, public_element};
use opaque_pir::scan::{Kernel, Partition, scan};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

const SALT: Salt = Salt([1; 32]);
const ROWS: u32 = 8192;
/// 256 MiB: well beyond the caches of a core, little enough for any machine.
const PARTITIONS: u32 = 32;
const PASSES: usize = 7;

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

fn ring(criterion: &mut Criterion) {
    let a = public_element(&SALT, 0, 0);
    let multiplier = Multiplier::new(&[-7; 1024]);
    let transformed = Transformed::new(&a);
    let mut out = Box::new([0; 1024]);
    let mut group = criterion.benchmark_group("ring");
    group.bench_function("public element", |b| b.iter(|| public_element(&SALT, 0, black_box(3))));
    group.bench_function("forward transform", |b| b.iter(|| Transformed::new(black_box(&a))));
    group.bench_function("pointwise and inverse", |b| {
        b.iter(|| multiplier.times_transformed(black_box(&transformed), &mut out));
    });
    group.bench_function("product", |b| b.iter(|| multiplier.times(black_box(&a), &mut out)));
    let probe = Probe::random(&mut StdRng::seed_from_u64(2)).prepare();
    group.bench_function("probe query", |b| b.iter(|| probe.query(&SALT, 0, black_box(3))));
    group.finish();
}

fn hint(criterion: &mut Criterion) {
    let geometry = Geometry::new(4096, 1024, 1).expect("a geometry");
    let bytes = random_bytes(geometry.partition_bytes());
    let mut group = criterion.benchmark_group("hint");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
    let empty = || HintBuilder::new(SALT, 0, &geometry);
    let add = |mut builder: HintBuilder| {
        builder.add(0, &bytes).expect("a first partition");
        builder
    };
    group.bench_function("add a partition", |b| {
        b.iter_batched(empty, add, criterion::BatchSize::PerIteration);
    });
    group.bench_function("finish a plane", |b| {
        let ready = || add(empty());
        b.iter_batched(ready, HintBuilder::finish, criterion::BatchSize::PerIteration);
    });
    group.finish();
}

fn best(mut pass: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        pass();
        start.elapsed()
    };
    (0..PASSES).map(time).min().unwrap_or_default()
}

/// Adds up all bytes, eight at a time.
fn plain_read(partitions: &[&Partition]) -> u64 {
    let sum = |chunk: &[u8]| {
        let words = chunk.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        words.fold(0, u64::wrapping_add)
    };
    let chunks = partitions.par_iter().flat_map(|partition| partition.bytes().par_chunks(1 << 17));
    chunks.map(sum).reduce(|| 0, u64::wrapping_add)
}

fn ratios() {
    let geometry = Geometry::new(ROWS, PARTITIONS * 1024, 1).expect("a geometry");
    let bytes = random_bytes(geometry.partition_bytes());
    let partition = |_| Partition::try_from((bytes.clone(), &geometry)).expect("its size");
    let partitions: Vec<Partition> = (0..PARTITIONS).map(partition).collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let mut rng = StdRng::seed_from_u64(3);
    let mut query = || (0..PARTITIONS * 1024).map(|_| rng.next_u32()).collect::<Vec<u32>>();
    let queries: Vec<Vec<u32>> = (0..16).map(|_| query()).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let gigabytes = geometry.matrix_bytes() as f64 / 1e9;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "\n{:.2} GB, kernel {}; GB/s count the table once per query",
        gigabytes,
        Kernel::best().name()
    );
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let report = |name: &str,
                      times: f64,
                      pass: &mut (dyn FnMut() + Send),
                      base: Option<Duration>| {
            let time = best(|| pool.install(&mut *pass));
            let rate = times * gigabytes / time.as_secs_f64();
            let base = base.unwrap_or(time).as_secs_f64();
            let ratio = base * times / time.as_secs_f64();
            println!(
                "{threads} thread(s)  {name:<16} {time:>10.2?} {rate:>8.2} GB/s  {ratio:>6.3} of a plain read"
            );
            time
        };
        let read = report(
            "plain read",
            1.0,
            &mut || {
                black_box(plain_read(&partitions));
            },
            None,
        );
        for count in [1usize, 2, 4, 8, 16] {
            let some = &queries[..count];
            let mut pass = || {
                let sums = scan(Kernel::best(), &geometry, &partitions, some);
                drop(black_box(sums.expect("matching sizes")));
            };
            report(&format!("scan of {count}"), count as f64, &mut pass, Some(read));
        }
        let part = 4.min(partitions.len());
        let share = part as f64 / partitions.len() as f64;
        let mut hint = || {
            let mut builder = HintBuilder::new(SALT, 0, &geometry);
            for (j, partition) in (0..).zip(&partitions[..part]) {
                builder.add(j, partition.bytes()).expect("each once");
            }
            black_box(&builder);
        };
        report(&format!("hint of {part} parts"), share, &mut hint, Some(read));
    }
}

criterion_group!(benches, ring, hint);

fn main() {
    benches();
    // `cargo test` and a filtered run want no table.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
    Criterion::default().configure_from_args().final_summary();
}
