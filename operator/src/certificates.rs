//! Certificates of a cluster.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueCluster;

use crate::context::Context;
use crate::error::Error;
use crate::status::Step;

/// What a cluster needs of certificates.
#[derive(Debug, Clone)]
pub struct CertificateRequest<'a> {
    /// The cluster.
    pub cluster: &'a OpaqueCluster,
    /// Shards that it has: not always what its spec says, since scaling may be refused.
    pub shards: i32,
    /// Replicas that each has, likewise.
    pub replicas: i32,
}

/// How a cluster's certificates are.
#[derive(Debug, Clone)]
pub struct CertificateState {
    /// Whether every certificate is there, valid, and not due: condition CertificatesReady.
    pub ready: bool,
    /// Reason of the condition, in CamelCase.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
    /// Whether pods can start: every Secret and the trust ConfigMap are there.
    pub usable: bool,
    /// End of the certificate that ends first.
    pub not_after: Option<Time>,
    /// When to look again.
    pub next: Option<Duration>,
    /// What is under way.
    pub operations: Vec<Step>,
}

/// Issues and renews what is due, and says how it stands.
///
/// # Errors
/// When a write fails; a certificate that cannot be issued is in the state instead.
pub async fn reconcile(
    _context: &Context,
    _request: &CertificateRequest<'_>,
) -> Result<CertificateState, Error> {
    Ok(CertificateState {
        ready: false,
        reason: "NotIssued",
        message: "certificates are not issued yet".into(),
        usable: false,
        not_after: None,
        next: None,
        operations: Vec::new(),
    })
}
