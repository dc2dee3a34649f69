//! The controller of OpaqueTables.
//!
//! **What.** A table's source becomes an epoch by a Job, and the epoch is proposed to the cluster's
//! nodes by way of the shard map. Two reconcilers do it: one for each table, which makes Jobs and
//! reports; one for each shard map, which is the only one to propose, since the map is one object
//! for all tables of a cluster.
//!
//! **Flow.** `observe` reads `facts` → `decide`: `validate` checks the spec, `run` names what is to
//! be made, `attempt` says which Job there should be and `retry` when the next may start, `epochs`
//! which epoch is to be served, `status` how it stands → `reconcile` writes the status, then
//! applies what `objects` builds. A Job's `report` comes back by a Lease. `map_reconcile` reads
//! shard maps (`map_view`) and writes what `propose` decides.
//!
//! **Guarantees.** What is decided is a function of what is observed and of the time. A restart
//! between any two writes loses nothing: status is written before what builds on it, and what is
//! made before it is remembered is found again. A quiet table costs no write and no timer.
//!
//! **Limits.** Epochs of a deleted table stay in the store: its Jobs, account and Lease go by their
//! owner references, its name goes from the map. A table of the same name goes on counting from
//! them.

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
/// When it cannot run at all.
pub(crate) async fn controller(
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let tables = run_controller(Arc::clone(&context), TableReconciler::default(), stop.clone());
    let maps = run_controller(context, MapReconciler, stop);
    tokio::try_join!(tables, maps).map(|_| ())
}
