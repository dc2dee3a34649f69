//! Builds and publishes an epoch from rows: plans the geometry, builds each partition, adds it to
//! the hint, writes it, and writes the manifest last.
//!
//! **Flow.** The work of one index runs on the caller's pool, one partition after the other. A
//! channel with room for one piece hands each piece to this task, which writes it while the pool
//! computes the next one. Memory use is thus bounded by the rows, the hint's sums and a few
//! partitions, whatever the size of the matrix.
//!
//! **Cancellation.** Dropping the future stops the work at the next partition and removes what was
//! written. The manifest is the last object, and only this future starts to write it, so a load
//! that is cancelled or fails earlier publishes nothing. The next load of the table removes what a
//! killed process left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use opaque_pir::cost::Link;
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::{HintBuilder, HintError};
use opaque_pir::index::{
    IndexPlan, PartitionError, PlanError, PlannedIndex, TablePlan, plan_table,
};
use opaque_pir::inline::{Chain, InlineError, PublicElements, PublicPart, Variant};
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_pir::table::Schema;
use rand::Rng;
use rayon::ThreadPool;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::claim::Writer;
use crate::error::StoreError;
use crate::manifest::{IndexManifest, Manifest};
use crate::store::Store;
use crate::time::UnixMillis;
use crate::writer::EpochWriter;

/// A load of another node that has written nothing for this long is presumed dead. This is far more
/// than the time between two segments.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// Input of a load.
pub struct Load {
    /// The table.
    pub schema: Schema,
    /// The encoded rows (row codec), in load order.
    pub rows: Vec<Vec<u8>>,
    /// The clients' link that geometries are chosen for.
    pub link: Link,
    /// Start of the load.
    pub created: UnixMillis,
    /// The process that loads.
    pub writer: Writer,
}

/// Progress of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Geometries are being chosen.
    Planning {
        /// Rows of the table.
        rows: u64,
    },
    /// Partitions are being built and written.
    Building {
        /// Matrix bytes written, over all indexes.
        done: u64,
        /// Matrix bytes to write.
        total: u64,
    },
}

/// Prepares and publishes the next epoch of a table. No node serves it yet. Also removes what
/// crashed earlier loads of the table left behind.
///
/// `pool` does the computing. It should not be the pool that answers queries, since it is busy
/// until the end. `rng` draws the epoch's public salt. `progress` is called in order and must not
/// block.
///
/// # Errors
/// [`PrepareError`]. Nothing was published then.
pub async fn prepare(
    store: &Store,
    load: Load,
    mut rng: impl Rng + Send + 'static,
    progress: impl Fn(Progress) + Send + Sync,
    pool: &ThreadPool,
) -> Result<Manifest, PrepareError> {
    let Load { schema, rows, link, created, writer } = load;
    let row_count = rows.len() as u64;
    progress(Progress::Planning { rows: row_count });
    let planning = on_pool(pool, move || {
        let next_salt = || {
            let mut salt = Salt([0; 32]);
            rng.fill_bytes(&mut salt.0);
            salt
        };
        plan_table(&schema, &rows, link, next_salt).map(|plan| (schema, rows, plan))
    });
    let (schema, rows, TablePlan { salt, indexes: plans, sizes }) = worked(planning).await??;
    let rows = Arc::new(rows);
    let total = plans.iter().map(|index| index.plan.geometry().matrix_bytes()).sum();
    let mut done = 0;
    progress(Progress::Building { done, total });
    // Remains of crashed loads only take space. A failure to remove them does not fail this load.
    if let Err(error) = store.sweep(schema.table(), &writer, created, IDLE).await {
        tracing::warn!(%error, table = schema.table(), "cannot clean up after earlier loads");
    }
    // Hints and public parts depend on the epoch's number, so the number is claimed before they are
    // computed. Each attempt claims a new number, and can publish under no other.
    let epoch = store.claim(schema.table(), &writer, created).await?;
    let mut indexes = Vec::with_capacity(plans.len());
    for PlannedIndex { column, plan, non_null_rows } in plans {
        let geometry = *plan.geometry();
        let built = |bytes| {
            done += bytes;
            progress(Progress::Building { done, total });
        };
        let (sender, pieces) = mpsc::channel(1);
        let rows = Arc::clone(&rows);
        let seed = IndexSeed::new(&salt, schema.table(), epoch.epoch(), column, &geometry);
        let building = on_pool(pool, move || build(seed, &plan, &rows, &sender));
        let mut index = IndexManifest {
            column,
            geometry,
            non_null_rows,
            partitions: Vec::with_capacity(geometry.partitions() as usize),
            planes: Vec::with_capacity(geometry.planes()),
            variant: Variant::Ring2048,
            public_parts: Vec::with_capacity(geometry.planes()),
        };
        write(&epoch, &geometry, pieces, &mut index, built).await?;
        worked(building).await??;
        indexes.push(index);
    }
    let (epoch_number, rows) = (epoch.epoch(), row_count);
    let manifest =
        Manifest { epoch: epoch_number, schema, rows, salt, created, link, indexes, sizes };
    epoch.publish(&manifest).await?;
    Ok(manifest)
}

/// A result of the pool.
enum Piece {
    Partition(u32, Vec<u8>),
    Plane(usize, Vec<u32>, PublicPart),
}

/// Computes an index piece by piece, until the end or until the receiver is dropped.
fn build(
    seed: IndexSeed,
    plan: &IndexPlan,
    rows: &[Vec<u8>],
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), PrepareError> {
    let geometry = *plan.geometry();
    let mut hint = HintBuilder::new(seed, &geometry);
    for partition in 0..geometry.partitions() {
        let bytes = plan.partition(rows, partition)?;
        hint.add(partition, &bytes)?;
        if pieces.blocking_send(Piece::Partition(partition, bytes)).is_err() {
            return Ok(());
        }
    }
    let chain = Chain::new(&PublicElements::new(&seed));
    for (plane, numbers) in hint.finish()?.into_planes().into_iter().enumerate() {
        let public = chain.tables(&numbers)?.public().clone();
        if pieces.blocking_send(Piece::Plane(plane, numbers, public)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes the pieces as they arrive.
async fn write(
    epoch: &EpochWriter,
    geometry: &Geometry,
    mut pieces: mpsc::Receiver<Piece>,
    index: &mut IndexManifest,
    mut built: impl FnMut(u64),
) -> Result<(), StoreError> {
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Partition(partition, bytes) => {
                let size = bytes.len() as u64;
                let segment = epoch.put_partition(index.column, geometry, partition, bytes).await?;
                index.partitions.push(segment);
                built(size);
            }
            Piece::Plane(plane, numbers, public) => {
                index.planes.push(epoch.put_plane(index.column, geometry, plane, &numbers).await?);
                let digest = epoch.put_public_part(index.column, plane, &public).await?;
                index.public_parts.push(digest);
            }
        }
    }
    Ok(())
}

/// Starts work on the pool. The receiver fails if the work panicked. The work does not start if the
/// receiver was dropped before.
fn on_pool<T: Send + 'static>(
    pool: &ThreadPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    pool.spawn(move || {
        if sender.is_closed() {
            return;
        }
        // An unwinding panic would abort the process. `work` owns everything that it uses.
        if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
            let _ = sender.send(result);
        }
    });
    receiver
}

async fn worked<T>(receiver: oneshot::Receiver<T>) -> Result<T, PrepareError> {
    receiver.await.map_err(|_| PrepareError::Panicked)
}

/// Why a load failed. Nothing was published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The rows do not make a table.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A partition cannot be built; a bug in this program.
    #[error("partition: {0}")]
    Partition(#[from] PartitionError),
    /// The hint cannot be built; a bug in this program.
    #[error("hint: {0}")]
    Hint(#[from] HintError),
    /// The public part of inline keys cannot be computed; a bug in this program, or too little
    /// memory.
    #[error("inline keys: {0}")]
    Inline(#[from] InlineError),
    /// The epoch cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The computation panicked; a bug in this program.
    #[error("the computation panicked; see the node's log")]
    Panicked,
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]
mod tests;
