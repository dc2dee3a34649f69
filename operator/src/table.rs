//! The controller of OpaqueTables.
//!
//! **What.** A Job builds an epoch from a table's source, and the epoch is proposed to the
//! cluster's nodes through the shard map. Two reconcilers do this. The reconciler of tables creates
//! Jobs and reports. The reconciler of shard maps makes all proposals, because a map is one object
//! for all tables of a cluster.
//!
//! **Flow.** `observe` reads `facts`. `decide` combines: `validate` checks the spec, `run`
//! identifies the epoch to build, `attempt` decides which Job should exist, `retry` when the next
//! may start, `epochs` which epoch to serve, and `status` what to report. `reconcile` writes the
//! status, then applies what `objects` builds. A Job's `report` arrives in a Lease. `map_reconcile`
//! reads shard maps (`map_view`) and writes what `propose` decides.
//!
//! **Guarantees.** Every decision is a function of the observed state and the time. A restart
//! between any two writes loses nothing: the status is written before anything that depends on it,
//! and objects that were created but not recorded are found again. An idle table causes no writes
//! and needs no timer.
//!
//! **Limits.** Epochs of a deleted table stay in the store. Its Jobs, ServiceAccount and Lease are
//! removed by their owner references, and its name is removed from the map. A new table with the
//! same name continues the numbering of epochs.

mod attempt;
mod decide;
mod epochs;
mod facts;
mod map_reconcile;
mod map_view;
mod objects;
mod observe;
mod propose;
mod reconcile;
mod report;
mod retry;
mod run;
mod status;
mod validate;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::kube::{Context, run_controller};
use map_reconcile::MapReconciler;
use reconcile::TableReconciler;

/// Runs until `stop` is true.
///
/// # Errors
/// The controller cannot run at all.
pub(crate) async fn controller(
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let tables = run_controller(Arc::clone(&context), TableReconciler::default(), stop.clone());
    let maps = run_controller(context, MapReconciler, stop);
    tokio::try_join!(tables, maps).map(|_| ())
}
