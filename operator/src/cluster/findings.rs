//! What a reconcile found out: the input of the status.

use opaque_crds::OpaqueCluster;

use super::facts::Facts;
use super::rollout::{Replacement, ShardState};
use super::size::Size;
use crate::certificates::CertificateState;

/// What a reconcile found out, as far as it came.
#[derive(Debug, Clone)]
pub(super) struct Findings<'a> {
    pub(super) cluster: &'a OpaqueCluster,
    pub(super) facts: &'a Facts,
    pub(super) size: Size,
    /// Whether `size` was accepted: before, it is only wanted.
    pub(super) accepted: bool,
    pub(super) shards: Vec<ShardState>,
    /// Which pods are replaced; none while paused, and while the spec is invalid.
    pub(super) replacement: Option<Replacement>,
    /// Why the API server did not let a pod be replaced.
    pub(super) refused: Option<String>,
    /// Why pods that should be there are not.
    pub(super) absent: Vec<String>,
    /// Why the spec was not taken over.
    pub(super) invalid: Option<String>,
    /// What is wrong with Secrets.
    pub(super) secrets: Vec<String>,
    /// The first write that failed.
    pub(super) failed: Option<String>,
    /// None while paused, or before there is a map.
    pub(super) certificates: Option<CertificateState>,
    /// Which other releases of the operator wait for the namespace.
    pub(super) contested: Option<String>,
}

impl<'a> Findings<'a> {
    /// Before anything else is found out: nothing is wrong, and nothing is replaced.
    pub(super) fn new(cluster: &'a OpaqueCluster, facts: &'a Facts, size: Size) -> Self {
        Self {
            cluster,
            facts,
            size,
            accepted: true,
            shards: Vec::new(),
            replacement: None,
            refused: None,
            absent: Vec::new(),
            invalid: None,
            secrets: Vec::new(),
            failed: None,
            certificates: None,
            contested: None,
        }
    }
}
