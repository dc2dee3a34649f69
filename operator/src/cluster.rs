//! The controller of OpaqueClusters.
//!
//! **Flow.** `observe` reads `facts`. `size` determines the number of shards, and `validate` checks
//! the spec. `reconcile` writes the size into the status, then applies what `objects` builds.
//! `rollout` decides which pods are replaced now, and `evictions` evicts them. `status` reports the
//! state. `findings` collects the results of a reconcile so far.
//!
//! **Guarantees.**
//! - An error does not hold up other work. With an invalid Secret or a refused write, everything
//!   else is still created, and the status names the error.
//! - An invalid spec changes nothing. The cluster continues unchanged, and its certificates are
//!   renewed.
//! - No write happens if nothing differs.

mod absent_pods;
mod adopt;
mod evictions;
mod facts;
mod findings;
mod lost_map;
mod missing_tables;
mod monitors;
mod objects;
mod observe;
mod reach;
mod reconcile;
mod rollout;
mod shards;
mod size;
mod status;
mod validate;

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::kube::{Context, run_controller};
use reconcile::ClusterReconciler;

/// Runs until `stop` is true.
///
/// # Errors
/// The controller cannot run at all.
pub(crate) async fn controller(
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    run_controller(context, ClusterReconciler::default(), stop).await
}
