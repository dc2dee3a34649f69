//! Reconciles the certificates of one cluster: observes, plans and writes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::{OpaqueCluster, names};
use time::OffsetDateTime;

use super::cert_manager;
use super::entropy::System;
use super::error::CertificateError;
use super::model::{Facts, Plan, Wanted};
use super::observe::observe;
use super::plan::plan;
use super::write::{move_authority, write};
use crate::error::Error;
use crate::kube::{Activity, Context};

/// How soon something that nothing tells of is looked at again: `Certificate`s are not watched.
const POLL: Duration = Duration::from_secs(5);

/// What a cluster needs of certificates.
#[derive(Debug, Clone)]
pub(crate) struct CertificateRequest<'a> {
    /// The cluster.
    pub cluster: &'a OpaqueCluster,
    /// Shards that it has: not always what its spec says, since scaling may be refused.
    pub shards: i32,
    /// Replicas that each has, likewise.
    pub replicas: i32,
}

/// How a cluster's certificates are.
#[derive(Debug, Clone)]
pub(crate) struct CertificateState {
    /// Whether every certificate is there, valid, and not due: condition CertificatesReady.
    pub ready: bool,
    /// Reason of the condition, in CamelCase.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
    /// Whether pods can start: every Secret and the trust ConfigMap are there.
    pub usable: bool,
    /// Whether nodes are to demand a revocation list of every authority: `--revocation required`.
    pub revocation: bool,
    /// End of the certificate that ends first, or of its authority if that is before.
    pub not_after: Option<Time>,
    /// End of the revocation list that ends first; none without lists.
    pub lists_not_after: Option<Time>,
    /// When to look again.
    pub next: Option<Duration>,
    /// What is under way.
    pub operations: Vec<Activity>,
}

/// Issues and renews what is due, and says how it stands.
///
/// # Errors
/// When a write fails; a certificate that cannot be issued is in the state instead.
pub(crate) async fn reconcile(
    context: &Context,
    request: &CertificateRequest<'_>,
) -> Result<CertificateState, Error> {
    let CertificateRequest { cluster, shards, replicas } = *request;
    let wanted = match Wanted::new(cluster, shards, replicas, &context.installed.cluster_domain) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(refused(&error)),
    };
    move_authority(context, cluster).await?;
    let mut facts = observe(context, &wanted)?;
    facts.issuances = cert_manager::list(context, &wanted).await?;
    let now = OffsetDateTime::now_utc();
    let plan = match plan(&wanted, &facts, now, &mut System) {
        Ok(plan) => plan,
        Err(error) => return Ok(refused(&error)),
    };
    for order in &plan.writes {
        write(context, cluster, &wanted, order).await?;
    }
    // What cert-manager has yet to write is not there now.
    let facts = observe(context, &wanted)?;
    Ok(state(plan, &wanted, &facts, now))
}

fn state(plan: Plan, wanted: &Wanted, facts: &Facts, now: OffsetDateTime) -> CertificateState {
    let Plan {
        writes: _,
        next,
        ready,
        reason,
        message,
        not_after,
        lists_not_after,
        progress,
        revocation,
    } = plan;
    let mut needed: Vec<String> =
        (0..wanted.shards).map(|shard| names::shard_certificate(&wanted.cluster, shard)).collect();
    needed.push(names::server_certificate(&wanted.cluster));
    let usable =
        !facts.trust.is_empty() && needed.iter().all(|name| facts.secrets.contains_key(name));
    let until = Duration::try_from(next - now).unwrap_or_default();
    // That time makes a silent pod count no more, nothing tells either.
    let next = if ready && progress.is_none() { until } else { until.min(POLL) };
    CertificateState {
        ready,
        reason,
        message,
        usable,
        revocation,
        not_after: not_after.and_then(timestamp),
        lists_not_after: lists_not_after.and_then(timestamp),
        next: Some(next.max(Duration::from_secs(1))),
        operations: progress.into_iter().collect(),
    }
}

fn refused(error: &CertificateError) -> CertificateState {
    CertificateState {
        ready: false,
        reason: "CannotIssue",
        message: error.to_string(),
        usable: false,
        revocation: true,
        not_after: None,
        lists_not_after: None,
        next: Some(Duration::from_secs(60)),
        operations: Vec::new(),
    }
}

fn timestamp(instant: OffsetDateTime) -> Option<Time> {
    jiff::Timestamp::from_second(instant.unix_timestamp()).ok().map(Time)
}
