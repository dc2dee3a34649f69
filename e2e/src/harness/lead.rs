//! Who leads, by a Lease.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;

use super::Namespace;
use crate::poll;

/// Lease of the node that leads cluster `demo`.
pub const NODES: &str = "demo-leader";
/// Lease of the active operator.
pub const OPERATOR: &str = "opaque-operator";

/// A lead as its Lease tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The pod that holds it.
    pub pod: String,
    /// The process of that pod.
    pub identity: String,
    /// How often the Lease was acquired: the fencing token.
    pub token: i32,
    /// The version of the Lease: each renewal has another.
    pub version: String,
}

impl Lead {
    /// Who holds a Lease now.
    pub async fn of(namespace: &Namespace, lease: &str) -> Result<Self> {
        find(namespace, lease).await?.with_context(|| format!("nobody holds Lease {lease}"))
    }

    /// Waits until the Lease is held as wanted, such as by another; returns the time that it took.
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
    // Pods' names have no `_`; what follows tells processes of one pod apart.
    let pod = identity.split('_').next().unwrap_or_default().to_owned();
    let token = spec.lease_transitions.unwrap_or_default();
    let version = lease.metadata.resource_version.unwrap_or_default();
    Ok(Some(Lead { pod, identity, token, version }))
}
