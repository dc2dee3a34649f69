//! Results of a reconcile: the input of the status.

use opaque_crds::OpaqueCluster;

use super::facts::Facts;
use super::rollout::{Replacement, ShardState};
use super::size::Size;
use crate::certificates::CertificateState;

/// Results of a reconcile so far.
#[derive(Debug, Clone)]
pub(super) struct Findings<'a> {
    pub(super) cluster: &'a OpaqueCluster,
    pub(super) facts: &'a Facts,
    pub(super) size: Size,
    /// Whether `size` was accepted. Before that, it is only desired.
    pub(super) accepted: bool,
    pub(super) shards: Vec<ShardState>,
    /// Which pods are replaced; `None` while paused and while the spec is invalid.
    pub(super) replacement: Option<Replacement>,
    /// Why the API server did not permit the replacement of a pod.
    pub(super) refused: Option<String>,
    /// Reasons for missing pods.
    pub(super) absent: Vec<String>,
    /// Why the spec is invalid.
    pub(super) invalid: Option<String>,
    /// Errors in Secrets.
    pub(super) secrets: Vec<String>,
    /// The first failed write.
    pub(super) failed: Option<String>,
    /// `None` while paused, and before there is a map.
    pub(super) certificates: Option<CertificateState>,
    /// Message about other releases of the operator that wait for the namespace.
    pub(super) contested: Option<String>,
}

impl<'a> Findings<'a> {
    /// The initial findings: no errors, and no replacements.
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
