//! The holder of a lead, read from its Lease.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;

use super::Namespace;
use crate::poll;

/// Lease of the leading node of cluster `demo`.
pub const NODES: &str = "demo-leader";
/// Lease of the active operator.
pub const OPERATOR: &str = "opaque-operator";

/// A lead as described by its Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The pod that holds the lead.
    pub pod: String,
    /// The process of that pod.
    pub identity: String,
    /// How often the Lease was acquired: the fencing token.
    pub token: i32,
    /// The version of the Lease, which changes with each renewal.
    pub version: String,
}

impl Lead {
    /// The present holder of a Lease.
    pub async fn of(namespace: &Namespace, lease: &str) -> Result<Self> {
        find(namespace, lease).await?.with_context(|| format!("Lease {lease} has no holder"))
    }

    /// Waits until the Lease fulfils a condition, such as another holder. Returns the time that it
    /// took.
    pub async fn until(
        namespace: &Namespace,
        lease: &str,
        limit: Duration,
        wanted: impl Fn(&Self) -> bool,
    ) -> Result<(Self, Duration)> {
        let find = || async { Ok(find(namespace, lease).await?.filter(|lead| wanted(lead))) };
        poll::until(&format!("Lease {lease} is held as wanted"), limit, find).await
    }
}

async fn find(namespace: &Namespace, lease: &str) -> Result<Option<Lead>> {
    let Some(lease) = namespace.api::<Lease>().get_opt(lease).await? else { return Ok(None) };
    let spec = lease.spec.unwrap_or_default();
    let Some(identity) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return Ok(None);
    };
    // Pods' names contain no `_`. The part after it distinguishes processes of one pod.
    let pod = identity.split('_').next().unwrap_or_default().to_owned();
    let token = spec.lease_transitions.unwrap_or_default();
    let version = lease.metadata.resource_version.unwrap_or_default();
    Ok(Some(Lead { pod, identity, token, version }))
}
