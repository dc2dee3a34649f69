//! The hint product with inline keys. Each figure is compared with a plain read of the same tables
//! in the same run.
//!
//! `cargo bench -p opaque-pir --bench inline` prints criterion's times of the parts, then a table
//! of ratios: medians of several passes over more planes than any cache holds. With `OPAQUE_RATIOS`
//! set, it prints only the table.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may stop")]

#[path = "support/load.rs"]
mod load;

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use criterion::{Criterion, criterion_group};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{
    Chain, Fold, InlineQuery, PlaneTables, PublicElements, QUERY_BYTES, answer, multiply,
};
use opaque_pir::machine::VectorKernel;
use opaque_pir::scan::plain_read;
use opaque_pir::seed::{IndexSeed, Salt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

/// Number of whole planes' tables, 288 MiB: larger than any cache. For folded planes the number is
/// higher accordingly.
const PLANES: usize = 16;
/// Rounds, and passes per round: processor time is reported in steps of 4 ms.
const PASSES: usize = 7;
const REPEATS: usize = 2;
const BATCHES: [usize; 4] = [1, 2, 4, 8];

fn index_elements() -> PublicElements {
    let geometry = Geometry::new(4096, 1024, 1).expect("a shape");
    PublicElements::new(&IndexSeed::new(&Salt([1; 32]), "t", 1, 0, &geometry))
}

fn plane(fold: Fold, seed: u64) -> Vec<u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..fold.rows() * 1024).map(|_| rng.next_u32()).collect()
}

/// Some query; the times do not depend on which.
fn query(fill: u8) -> InlineQuery {
    InlineQuery::from_bytes(&vec![fill; QUERY_BYTES]).expect("small values")
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

fn parts(criterion: &mut Criterion) {
    let elements = index_elements();
    let chain = Chain::new(&elements);
    let plane = plane(Fold::NONE, 1);
    let mut group = criterion.benchmark_group("inline");
    group.bench_function("public elements", |b| {
        b.iter(index_elements);
    });
    group.bench_function("query from bytes", |b| {
        let bytes = vec![0x35; QUERY_BYTES];
        b.iter(|| InlineQuery::from_bytes(black_box(&bytes)));
    });
    let tables = chain.tables(&plane).expect("its size");
    let products = multiply(VectorKernel::best(), &tables, &[&query(1)]).expect("its variant");
    group.bench_function("answer", |b| {
        b.iter(|| answer(black_box(&products[0]), 10));
    });
    group.sample_size(10);
    group.bench_function("chain and tables of a plane, all threads", |b| {
        b.iter(|| chain.tables(black_box(&plane)));
    });
    let one = pool(1);
    group.bench_function("chain and tables of a plane, one thread", |b| {
        b.iter(|| one.install(|| chain.tables(black_box(&plane))));
    });
    group.finish();
}

/// Sums all bytes of the tables.
fn read_all(tables: &[PlaneTables]) -> u64 {
    let chunks = tables.iter().flat_map(PlaneTables::as_bytes).collect::<Vec<_>>();
    let chunks = chunks.par_iter().flat_map(|table| table.par_chunks(1 << 20));
    chunks.map(plain_read).reduce(|| 0, u64::wrapping_add)
}

/// Processor time of this thread in milliseconds, which excludes the turns of other processes.
/// Elapsed time if the system does not report it.
fn processor_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    let start = START.get_or_init(Instant::now);
    nanoseconds.unwrap_or_else(|| start.elapsed().as_secs_f64() * 1e9) / 1e6
}

/// Milliseconds per plane: the median, and the fastest and slowest.
fn summary(mut times: Vec<f64>) -> (f64, String) {
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    (median, format!("{median:>7.2} ms ({:.2}-{:.2})", times[0], times[times.len() - 1]))
}

/// Products next to the plain read of the same round, so that a disturbance affects both.
fn ratios(fold: Fold) {
    let chain = Chain::new(&index_elements());
    let planes = PLANES * fold.factor();
    let tables = |seed| chain.tables(&plane(fold, seed)).expect("its size");
    let tables: Vec<PlaneTables> = (0..planes as u64).map(tables).collect();
    pool(1).install(|| {
        let plane = plane(fold, 9);
        let start = processor_ms();
        black_box(chain.tables(&plane).expect("its size"));
        println!(
            "\nchain and tables of a plane: {:.0} ms of one processor",
            processor_ms() - start
        );
    });
    let queries: Vec<InlineQuery> = (0..8).map(|fill| query(0x11 * fill)).collect();
    let queries: Vec<&InlineQuery> = queries.iter().collect();
    let megabytes = tables[0].bytes() as f64 / 1e6;
    println!(
        "\n{} rows: {megabytes:.1} MB of tables a plane, large pages {}, load {}; medians of \
         {PASSES} rounds over {planes} planes",
        fold.rows(),
        tables.iter().all(PlaneTables::large_pages),
        load::average()
    );
    println!(
        "times are for one plane and all queries of the batch, of the processor with one thread, of"
    );
    println!("the clock with several (a busy machine spoils those); the last columns are the time");
    println!("against a plain read of the tables, and the time of one query against a batch of 1");
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let pool = pool(threads);
        for kernel in VectorKernel::available() {
            let mut alone = None;
            // Batches show nothing new for the scalar kernel.
            for count in
                BATCHES.into_iter().filter(|count| *count == 1 || kernel != VectorKernel::Scalar)
            {
                let (mut reads, mut products) = (Vec::new(), Vec::new());
                for _ in 0..PASSES {
                    let timed = |pass: &(dyn Fn() + Sync)| {
                        let start = Instant::now();
                        let on_processor = pool.install(|| {
                            let start = processor_ms();
                            (0..REPEATS).for_each(|_| pass());
                            processor_ms() - start
                        });
                        let clock = start.elapsed().as_secs_f64() * 1e3;
                        (if threads == 1 { on_processor } else { clock })
                            / (REPEATS * planes) as f64
                    };
                    reads.push(timed(&|| {
                        black_box(read_all(&tables));
                    }));
                    products.push(timed(&|| {
                        for tables in &tables {
                            let products = multiply(kernel, tables, &queries[..count]);
                            drop(black_box(products.expect("its variant")));
                        }
                    }));
                }
                let (read, reads) = summary(reads);
                let (product, products) = summary(products);
                let alone = *alone.get_or_insert(product);
                println!(
                    "{threads} thread(s)  {:<7} batch {count}  {products}  read {reads} {:>6.2} GB/s  {:>5.2}x  {:>5.2}",
                    kernel.name(),
                    megabytes / read,
                    product / read,
                    product / count as f64 / alone,
                );
            }
        }
    }
    println!("load at the end {}", load::average());
}

criterion_group!(benches, parts);

fn main() {
    if std::env::var_os("OPAQUE_RATIOS").is_none() {
        benches();
    }
    // `cargo test` prints no tables.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios(Fold::NONE);
        // The smallest fold, for which the fixed costs of a product weigh most.
        let [.., smallest] = Fold::ALL;
        ratios(smallest);
    }
    Criterion::default().configure_from_args().final_summary();
}
