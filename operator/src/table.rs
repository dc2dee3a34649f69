//! The controller of OpaqueTables.
//!
//! **What.** A table's source becomes an epoch by a Job, and the epoch is proposed to the cluster's nodes by
//! way of the shard map. Two reconcilers do it: one for each table, which makes Jobs and reports; one
//! for each shard map, which is the only one to propose, since the map is one object for all
//! tables of a cluster.
//!
//! **Flow.** [`observe`] reads [`facts`] → [`plan`](mod@plan) decides: [`validate`], [`run`] names what is to be
//! made, [`attempt`] says which Job there should be, [`epochs`] which epoch is to be served,
//! [`conditions`] what the status says → [`reconcile`] writes the status, then makes the objects of
//! [`build`]. [`propose`] does the same for maps, of which [`shard_map`] decides.
//!
//! **Guarantees.** What is decided is a function of what is observed and of the time. A restart between
//! any two writes loses nothing: status is written before what builds on it, and what is made before it
//! is remembered is found again. A quiet table costs no write and no timer.
//!
//! **Limits.** Epochs of a deleted table stay in the store: its Jobs, account and Lease go by their owner
//! references, its name goes from the map. A table of the same name goes on counting from them.

pub mod attempt;
pub mod build;
pub mod conditions;
pub mod epochs;
pub mod facts;
pub mod observe;
pub mod plan;
pub mod propose;
pub mod reconcile;
pub mod report;
pub mod retry;
pub mod run;
pub mod shard_map;
mod text;
pub mod validate;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::kube::{Context, run_controller};
use crate::table::propose::Maps;
use crate::table::reconcile::Tables;

/// Runs until `stop` is true.
///
/// # Errors
/// When it cannot run at all.
pub async fn controller(context: Arc<Context>, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let tables = run_controller(Arc::clone(&context), Tables::default(), stop.clone());
    let maps = run_controller(context, Maps, stop);
    tokio::try_join!(tables, maps).map(|_| ())
}
