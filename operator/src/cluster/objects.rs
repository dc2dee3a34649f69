//! Builds a cluster's objects, as a pure function of its spec and its accepted state.
//!
//! Every object has an owner reference, so that it is deleted with its OpaqueCluster, and the
//! labels by which the operator watches.

mod access;
mod map;
mod monitoring;
mod network;
mod set;
#[cfg(test)]
mod tests;

use kube::ResourceExt;
use opaque_crds::OpaqueCluster;

use super::size::Size;

pub(super) use access::{account, role, role_binding};
pub(super) use map::shard_map;
pub(super) use monitoring::{rule, service_monitor};
pub(super) use network::{client_service, disruption_budget, peer_service, policy};
pub(super) use set::{demands_revocation, set};

/// Port of queries.
pub(super) const CLIENT_PORT: i32 = 7100;
/// Port of peers.
pub(super) const PEER_PORT: i32 = 7200;
/// Port of health and metrics.
pub(super) const ADMIN_PORT: i32 = 7300;

/// Inputs of the objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blueprint<'a> {
    /// The cluster. It has a name and a namespace.
    pub(super) cluster: &'a OpaqueCluster,
    /// The accepted size, which may differ from the spec.
    pub(super) size: Size,
    /// Default image of the nodes.
    pub(super) installed_image: &'a str,
    /// Whether nodes require a revocation list for every authority.
    pub(super) revocation: bool,
}

impl Blueprint<'_> {
    pub(super) fn name(&self) -> String {
        self.cluster.name_any()
    }

    pub(super) fn namespace(&self) -> String {
        self.cluster.namespace().unwrap_or_default()
    }
}
