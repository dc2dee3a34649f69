//! The leader's Lease as nodes see it.

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use opaque_ops::election::Held;

use crate::coordination::{Hold, Leader};

/// What stands between a node's name and its process in a holder's identity; no name has one.
const SEPARATOR: char = '_';

/// The identity of one process of `node`: a restarted container is another candidate.
pub(super) fn identity(node: &str, process: u64) -> String {
    format!("{node}{SEPARATOR}{process:016x}")
}

/// Who holds the Lease.
pub(super) fn leader(lease: &Lease) -> Option<Leader> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let node = holder.split(SEPARATOR).next().unwrap_or(holder).to_owned();
    Some(Leader { node, token: token(lease) })
}

/// The fencing token of whoever acquired the Lease last.
pub(super) fn token(lease: &Lease) -> u64 {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    u64::try_from(transitions).unwrap_or(0)
}

#[async_trait]
impl Hold for Held {
    async fn lost(&self) {
        Held::lost(self).await;
    }

    async fn release(self: Box<Self>) {
        if let Err(error) = Held::release(*self).await {
            tracing::warn!(%error, "could not give the lead up; it ends by itself");
        }
    }
}
