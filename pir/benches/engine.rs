//! The engine's arithmetic, each figure beside a plain read of the same bytes in the same run.
//!
//! `cargo bench -p opaque-pir` prints criterion's times, then a table of ratios: the best of several
//! passes, on one thread and on all.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may stop")]

#[path = "support/read.rs"]
mod read;

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
/// 1 GiB: beyond any cache.
const PARTITIONS: u32 = 128;
const PASSES: usize = 7;
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

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

/// Adds up all bytes, eight at a time, with the widest registers there are.
fn plain_read(partitions: &[&Partition]) -> u64 {
    let chunks = partitions.par_iter().flat_map(|partition| partition.bytes().par_chunks(1 << 21));
    chunks.map(read::sum).reduce(|| 0, u64::wrapping_add)
}

/// Each figure beside the plain read of its round, round after round: a disturbance hits both.
fn ratios() {
    let geometry = Geometry::new(ROWS, PARTITIONS * 1024, 1).expect("a geometry");
    let bytes = random_bytes(geometry.partition_bytes());
    let partition = |_| Partition::try_from((bytes.clone(), &geometry)).expect("its size");
    let partitions: Vec<Partition> = (0..PARTITIONS).map(partition).collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let mut rng = StdRng::seed_from_u64(3);
    let mut query = || (0..PARTITIONS * 1024).map(|_| rng.next_u32()).collect::<Vec<u32>>();
    let queries: Vec<Vec<u32>> = (0..64).map(|_| query()).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let gigabytes = geometry.matrix_bytes() as f64 / 1e9;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let large = partitions.iter().all(|partition| partition.large_pages());
    println!("\n{gigabytes:.2} GB, large pages {large}, load {}; best of {PASSES}", read::load());
    println!("GB/s count the table once per query; the last column is time against a plain read");
    let timed = |pool: &rayon::ThreadPool, pass: &mut (dyn FnMut() + Send)| {
        let start = Instant::now();
        pool.install(pass);
        start.elapsed()
    };
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        for kernel in Kernel::available() {
            for count in BATCHES {
                // Compute-bound kernels have nothing to show in large batches.
                if count > 8 && matches!(kernel, Kernel::Scalar | Kernel::Avx2) {
                    continue;
                }
                let (mut reads, mut scans) = (Vec::new(), Vec::new());
                for _ in 0..PASSES {
                    reads.push(timed(&pool, &mut || {
                        black_box(plain_read(&partitions));
                    }));
                    scans.push(timed(&pool, &mut || {
                        let sums = scan(kernel, &geometry, &partitions, &queries[..count]);
                        drop(black_box(sums.expect("matching sizes")));
                    }));
                }
                let seconds = |times: &[Duration]| {
                    times.iter().min().copied().unwrap_or_default().as_secs_f64()
                };
                let (read, scan) = (seconds(&reads), seconds(&scans));
                println!(
                    "{threads} thread(s)  {:<12} batch {count:>2}  {:>8.2} ms  {:>7.2} GB/s  plain read {:>6.2} ms {:>6.2} GB/s  {:>6.2}x",
                    kernel.name(),
                    scan * 1e3,
                    count as f64 * gigabytes / scan,
                    read * 1e3,
                    gigabytes / read,
                    scan / read,
                );
            }
        }
        hint_ratio(threads, &pool, &geometry, &partitions);
    }
    println!("load at the end {}", read::load());
}

fn hint_ratio(
    threads: usize,
    pool: &rayon::ThreadPool,
    geometry: &Geometry,
    partitions: &[&Partition],
) {
    const PART: usize = 4;
    let start = Instant::now();
    pool.install(|| {
        let mut builder = HintBuilder::new(SALT, 0, geometry);
        for (j, partition) in (0..).zip(partitions.iter().take(PART)) {
            builder.add(j, partition.bytes()).expect("each once");
        }
        black_box(&builder);
    });
    let bytes = PART * geometry.partition_bytes();
    let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!("{threads} thread(s)  hint         {rate:>8.2} MB/s");
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
