//! The engine's arithmetic. Each figure is compared with a plain read of the same bytes in the same
//! run.
//!
//! `cargo bench -p opaque-pir` prints criterion's times, then a table of ratios: the best of
//! several passes, on one thread and on all.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may stop")]

#[path = "support/load.rs"]
mod load;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::{self, HintBuilder};
use opaque_pir::machine::{ScanKernel, VectorKernel};
use opaque_pir::probe::Probe;
use opaque_pir::ring::{Multiplier, Transformed, public_element};
use opaque_pir::scan::{Partition, plain_read, scan};
use opaque_pir::seed::{IndexSeed, Salt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

/// Some index; the times do not depend on which.
fn seed() -> IndexSeed {
    let geometry = Geometry::new(4096, 1024, 1).expect("a geometry");
    IndexSeed::new(&Salt([1; 32]), "t", 1, 0, &geometry)
}

const ROWS: u32 = 8192;
/// 1 GiB, larger than any cache.
const PARTITIONS: u32 = 128;
const PASSES: usize = 7;
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

fn ring(criterion: &mut Criterion) {
    let seed = seed();
    let a = public_element(&seed, 0);
    let multiplier = Multiplier::new(&[-7; 1024]);
    let transformed = Transformed::new(&a);
    let mut out = Box::new([0; 1024]);
    let mut group = criterion.benchmark_group("ring");
    group.bench_function("public element", |b| b.iter(|| public_element(&seed, black_box(3))));
    group.bench_function("forward transform", |b| b.iter(|| Transformed::new(black_box(&a))));
    group.bench_function("pointwise and inverse", |b| {
        b.iter(|| multiplier.times_transformed(black_box(&transformed), &mut out));
    });
    group.bench_function("product", |b| b.iter(|| multiplier.times(black_box(&a), &mut out)));
    let probe = Probe::new(&seed, []).prepare();
    group.bench_function("probe query", |b| b.iter(|| probe.query(&seed, black_box(3))));
    group.finish();
}

/// On one thread, so that the rates are per core.
fn hint(criterion: &mut Criterion) {
    let geometry = Geometry::new(4096, 1024, 1).expect("a geometry");
    let bytes = random_bytes(geometry.partition_bytes());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let mut group = criterion.benchmark_group("hint");
    group.sample_size(10);
    for kernel in VectorKernel::available() {
        let empty = || HintBuilder::with_kernel(kernel, seed(), &geometry).expect("available");
        let add = |mut builder: HintBuilder| {
            pool.install(|| builder.add(0, &bytes)).expect("a first partition");
            builder
        };
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("add a partition, {}", kernel.name()), |b| {
            b.iter_batched(empty, add, criterion::BatchSize::PerIteration);
        });
        group.bench_function(format!("finish a plane, {}", kernel.name()), |b| {
            let finish = |builder: HintBuilder| pool.install(|| builder.finish());
            b.iter_batched(|| add(empty()), finish, criterion::BatchSize::PerIteration);
        });
    }
    let mut builder = HintBuilder::new(seed(), &geometry);
    builder.add(0, &bytes).expect("a first partition");
    let mut hint = builder.finish().expect("all partitions");
    let (old, new) = bytes.split_at(geometry.bucket_bytes());
    let new = &new[..geometry.bucket_bytes()];
    group.throughput(Throughput::Elements(1));
    group.bench_function("update a bucket, one plane", |b| {
        b.iter(|| pool.install(|| hint.update_bucket(&seed(), 7, old, new)));
    });
    group.finish();
}

/// Reads all bytes with almost no arithmetic.
fn read_all(partitions: &[&Partition]) -> u64 {
    let chunks = partitions.par_iter().flat_map(|partition| partition.bytes().par_chunks(1 << 21));
    chunks.map(plain_read).reduce(|| 0, u64::wrapping_add)
}

/// Each figure next to the plain read of the same round, so that a disturbance affects both.
fn ratios() {
    let geometry = Geometry::new(ROWS, PARTITIONS * 1024, 1).expect("a geometry");
    let bytes = random_bytes(geometry.partition_bytes());
    let partition = |_| Partition::try_from((bytes.as_slice(), &geometry)).expect("its size");
    let partitions: Vec<Partition> = (0..PARTITIONS).map(partition).collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let mut rng = StdRng::seed_from_u64(3);
    let mut query = || (0..PARTITIONS * 1024).map(|_| rng.next_u32()).collect::<Vec<u32>>();
    let queries: Vec<Vec<u32>> = (0..64).map(|_| query()).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let gigabytes = geometry.matrix_bytes() as f64 / 1e9;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let large = partitions.iter().all(|partition| partition.large_pages());
    println!(
        "\n{gigabytes:.2} GB, large pages {large}, load {}; best of {PASSES}",
        load::average()
    );
    println!("GB/s count the table once per query; the last column is time against a plain read");
    let timed = |pool: &rayon::ThreadPool, pass: &mut (dyn FnMut() + Send)| {
        let start = Instant::now();
        pool.install(pass);
        start.elapsed()
    };
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        for kernel in ScanKernel::available() {
            for count in BATCHES {
                // Large batches show nothing new for compute-bound kernels.
                if count > 8 && matches!(kernel, ScanKernel::Scalar | ScanKernel::Avx2) {
                    continue;
                }
                let (mut reads, mut scans) = (Vec::new(), Vec::new());
                for _ in 0..PASSES {
                    reads.push(timed(&pool, &mut || {
                        black_box(read_all(&partitions));
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
    println!("load at the end {}", load::average());
}

/// Preprocessing by each kernel compared with the scalar one, then an update of one bucket.
fn hint_ratio(
    threads: usize,
    pool: &rayon::ThreadPool,
    geometry: &Geometry,
    partitions: &[&Partition],
) {
    const PART: usize = 4;
    let bytes = PART * geometry.partition_bytes();
    let mut scalar = None;
    for kernel in VectorKernel::available() {
        let build = || {
            let builder = HintBuilder::with_kernel(kernel, seed(), geometry);
            let mut builder = builder.expect("available");
            let start = Instant::now();
            for (j, partition) in (0..).zip(partitions.iter().take(PART)) {
                builder.add(j, partition.bytes()).expect("each once");
            }
            start.elapsed()
        };
        let times = (0..PASSES).map(|_| pool.install(build));
        let seconds = times.min().unwrap_or_default().as_secs_f64();
        let rate = bytes as f64 / 1e6 / seconds;
        // The scalar kernel comes first.
        let scalar = *scalar.get_or_insert(rate);
        println!(
            "{threads} thread(s)  hint {:<8} {rate:>8.2} MB/s  {:>6.2}x",
            kernel.name(),
            rate / scalar
        );
        if kernel == VectorKernel::best() {
            update_ratio(threads, pool, geometry, geometry.matrix_bytes() as f64 / 1e6 / rate);
        }
    }
}

/// An update of one bucket compared with the preprocessing of everything, which takes `rebuild`
/// seconds.
fn update_ratio(threads: usize, pool: &rayon::ThreadPool, geometry: &Geometry, rebuild: f64) {
    let planes = vec![vec![1; hint::PLANE_WORDS]; geometry.planes()];
    let mut hint = hint::Hint::from_planes(geometry, planes).expect("its size");
    let bytes = random_bytes(2 * geometry.bucket_bytes());
    let (old, new) = bytes.split_at(geometry.bucket_bytes());
    let pass = |_| {
        let start = Instant::now();
        pool.install(|| hint.update_bucket(&seed(), 77, old, new)).expect("its size");
        start.elapsed()
    };
    let update = (0..PASSES).map(pass).min().unwrap_or_default().as_secs_f64();
    println!(
        "{threads} thread(s)  hint, update a bucket {:>8.2} ms, a rebuild {:.2} s: {:.0}x",
        update * 1e3,
        rebuild,
        rebuild / update
    );
}

criterion_group!(benches, ring, hint);

fn main() {
    benches();
    // `cargo test` prints no table. `cargo bench … -- nothing` prints only the table.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
    Criterion::default().configure_from_args().final_summary();
}
