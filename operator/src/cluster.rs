//! The controller of OpaqueClusters.
//!
//! **Flow.** `observe` reads `facts` → `size` says how many shards there are, `validate` checks the
//! spec → `reconcile` writes the size into the status, then applies what `objects` builds →
//! `rollout` says which pods are replaced now, `evictions` lets them go → `status` says how it
//! stands. `findings` is what a reconcile found out so far.
//!
//! **Guarantees.**
//! - What cannot be done does not hold up the rest: with a bad Secret or a refused write,
//!   everything else is still made, and status names what is wrong.
//! - An invalid spec changes nothing. The cluster goes on as it is, its certificates are renewed.
//! - Nothing is written when nothing differs.

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
/// When it cannot run at all.
pub(crate) async fn controller(
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    run_controller(context, ClusterReconciler::default(), stop).await
}
