//! Measures whole lookups in this process.
//!
//! **What.** [`run`] builds a random matrix with its hint and tables, and runs the production code
//! on it: the client's encryption, the coordinator's slicing, a node's pass on every shard, the
//! coordinator's combination and answer, and the client's decryption. Every decrypted byte is
//! compared with the matrix. One wrong byte ends the run.
//!
//! **What is left out.** The network, and the messages between nodes: a shard's slice is decoded
//! outside the timed steps. `opaque-bench --over cluster` includes both.
//!
//! **How.** Each round first reads matrix and tables plainly, then performs one batch of lookups.
//! Caches are emptied before each memory-bound step. Figures are medians over the rounds. Ratios
//! are medians of the ratios within each round, so that load from other processes affects both
//! sides. With one thread, ratios are of processor time, which other processes do not lengthen.
//!
//! Shards run one after another on one pool of threads. For work that machines would do in
//! parallel, the slowest shard counts; for processor time, the sum counts.
//!
//! **Map.** `shapes` (geometries of matrices), `subject` (matrix, hint, tables), `shards` (the
//! servers' half of a lookup), `lookup` (the client's half), `measure` (rounds).

mod lookup;
mod measure;
mod shapes;
mod shards;
mod subject;
#[cfg(test)]
mod tests;

use rand::rngs::StdRng;
use rayon::ThreadPoolBuilder;

use crate::{
    error::BenchError,
    plan::Plan,
    report::{self, Measurement},
};
use measure::Bench;
use subject::Subject;

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Random bytes are drawn.
    Filling {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in total.
        total: u64,
    },
    /// The hint is computed, which takes the most time.
    Hint {
        /// Bytes of the matrix so far.
        bytes: u64,
        /// Bytes in total.
        total: u64,
    },
    /// The hint's tables are built.
    Tables {
        /// Planes so far.
        planes: u64,
        /// Planes in total.
        total: u64,
    },
    /// Lookups are timed.
    Measuring {
        /// Rounds of this matrix so far.
        rounds: u64,
        /// Rounds in total.
        total: u64,
    },
}

/// Receives [`Progress`]. It is called from any thread and must return quickly.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// Measures every size with every number of shards and every batch size, in this order.
///
/// # Errors
/// A plan that cannot be measured, which is found before any measurement, or a lookup that
/// decrypted to a wrong byte.
pub(crate) fn run(
    plan: &Plan,
    rng: &mut StdRng,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Measurement>, BenchError> {
    let geometries = shapes::geometries(plan)?;
    let mut measured = Vec::new();
    for geometry in geometries {
        let subject = Subject::build(geometry, rng, on_progress)?;
        measured.extend(run_on(&subject, plan, rng, on_progress)?);
    }
    report::relate(&mut measured);
    Ok(measured)
}

/// Measures one matrix with every number of shards and every batch.
///
/// # Errors
/// The same as for [`run`].
fn run_on(
    subject: &Subject,
    plan: &Plan,
    rng: &mut StdRng,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Measurement>, BenchError> {
    let pool = ThreadPoolBuilder::new().num_threads(plan.threads.into()).build()?;
    let bench = Bench::new(subject, &pool, plan);
    let total = (plan.shards.len() * plan.batches.len() * plan.repeat) as u64;
    let (mut rounds, mut measured) = (0, Vec::new());
    for &shards in &plan.shards {
        for &batch in &plan.batches {
            let mut on_round = || {
                rounds += 1;
                on_progress(Progress::Measuring { rounds, total });
            };
            measured.push(bench.measure(shards, batch, rng, &mut on_round)?);
        }
    }
    Ok(measured)
}
