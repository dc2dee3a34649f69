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

/// Polling interval for changes that cause no event: `Certificate`s are not watched.
const POLL: Duration = Duration::from_secs(5);

/// Inputs for a cluster's certificates.
#[derive(Debug, Clone)]
pub(crate) struct CertificateRequest<'a> {
    /// The cluster.
    pub cluster: &'a OpaqueCluster,
    /// The cluster's number of shards. It may differ from the spec, because scaling may be refused.
    pub shards: i32,
    /// The number of replicas of each shard, which may differ from the spec too.
    pub replicas: i32,
}

/// The state of a cluster's certificates.
#[derive(Debug, Clone)]
pub(crate) struct CertificateState {
    /// Whether every certificate exists, is valid and is not due: condition CertificatesReady.
    pub ready: bool,
    /// Reason of the condition, in CamelCase.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
    /// Whether pods can start: every Secret and the trust ConfigMap exist.
    pub usable: bool,
    /// Whether nodes must require a revocation list for every authority: `--revocation required`.
    pub revocation: bool,
    /// Earliest end of a certificate or of its authority.
    pub not_after: Option<Time>,
    /// Earliest end of a revocation list; `None` without lists.
    pub lists_not_after: Option<Time>,
    /// When to reconcile again.
    pub next: Option<Duration>,
    /// Operations in progress.
    pub operations: Vec<Activity>,
}

/// Issues and renews what is due, and returns the state.
///
/// # Errors
/// A write fails. A certificate that cannot be issued is reported in the state instead.
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
    // Secrets that cert-manager has yet to write are not there now.
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
    // No event occurs either when a silent pod stops counting because time has passed.
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
