//! Whole lookups in this process, measured.
//!
//! **What.** [`run`] builds a random matrix with its hint and tables, and has the real code look
//! buckets up in it: the client's encryption, the coordinator's cut into slices, a node's pass on
//! every shard, the coordinator's sum and answer, the client's decryption. Every byte that comes
//! out is compared with the matrix. One wrong byte ends the run.
//!
//! **What is left out.** The network, and what nodes send one another: a shard's slice is decoded
//! outside the laps. `opaque-bench --over cluster` has it all.
//!
//! **How.** Each round reads matrix and tables plainly, then does one batch of lookups. Caches are
//! emptied before each step that is bound by memory. Figures are medians over the rounds. Ratios
//! are medians of each round's own ratio, so that a neighbour's load hits both of its sides; on one
//! thread they are of processor time, which a neighbour's turn does not lengthen.
//!
//! Shards take turns on one pool of threads. The slowest counts for work that machines would do
//! side by side; the sum counts for processor time.
//!
//! **Map.** `shapes` (of matrices), `subject` (matrix, hint, tables), `shards` (the servers' half
//! of a lookup), `lookup` (the client's), `measure` (rounds).

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

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Random bytes are drawn.
    Filling {
        /// So far.
        bytes: u64,
        /// In all.
        total: u64,
    },
    /// The hint is computed, which takes longest.
    Hint {
        /// Bytes of the matrix so far.
        bytes: u64,
        /// In all.
        total: u64,
    },
    /// The hint's tables are made.
    Tables {
        /// Planes so far.
        planes: u64,
        /// In all.
        total: u64,
    },
    /// Lookups are timed.
    Measuring {
        /// Rounds of this matrix so far.
        rounds: u64,
        /// In all.
        total: u64,
    },
}

/// Receives [`Progress`]; called from any thread and expected to return at once.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// Measures every size with every number of shards and every batch, in this order.
///
/// # Errors
/// Whatever cannot be measured, before anything is; a lookup that opened to a wrong byte.
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
/// As [`run`]'s.
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
