//! Reads what is there, lets it be planned, and writes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::core::{ApiResource, NamespaceResourceScope, Resource};
use opaque_crds::{OpaqueCluster, names};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::CertificateError;
use super::entropy::System;
use super::issuance;
use super::members::members;
use super::plan::{Contents, Observed, Plan, ROTATE, SERIALS, STEP, Wanted, Write, plan};
use super::x509::Sensitive;
use crate::error::Error;
use crate::kube::{Activity, Context, check_owner};
use crate::labels::{self, FIELD_MANAGER};

/// Type of every Secret here.
const TLS: &str = "kubernetes.io/tls";
/// How soon something that nothing tells of is looked at again: `Certificate`s are not watched.
const POLL: Duration = Duration::from_secs(5);

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
pub async fn reconcile(
    context: &Context,
    request: &CertificateRequest<'_>,
) -> Result<CertificateState, Error> {
    let CertificateRequest { cluster, shards, replicas } = *request;
    let wanted = match Wanted::new(cluster, shards, replicas, &context.installed.cluster_domain) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(refused(&error)),
    };
    move_authority(context, cluster).await?;
    let mut observed = observe(context, &wanted)?;
    observed.issuances = issuance::list(context, &wanted).await?;
    let now = OffsetDateTime::now_utc();
    let plan = match plan(&wanted, &observed, now, &mut System) {
        Ok(plan) => plan,
        Err(error) => return Ok(refused(&error)),
    };
    for write in &plan.writes {
        perform(context, cluster, &wanted, write).await?;
    }
    // What cert-manager has yet to write is not there now.
    let observed = observe(context, &wanted)?;
    Ok(state(plan, &wanted, &observed, now))
}

fn state(
    plan: Plan,
    wanted: &Wanted,
    observed: &Observed,
    now: OffsetDateTime,
) -> CertificateState {
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
        !observed.trust.is_empty() && needed.iter().all(|name| observed.secrets.contains_key(name));
    let until = Duration::try_from(next - now).unwrap_or_default();
    // That time makes a silent pod count no more, nothing tells either.
    let next = if ready && progress.is_none() { until } else { until.min(POLL) };
    let operations = progress.into_iter().map(|progress| Activity {
        name: "CertificateAuthority",
        step: progress.step.into(),
        blocked_by: progress.blocked_by,
    });
    CertificateState {
        ready,
        reason,
        message,
        usable,
        revocation,
        not_after: not_after.and_then(timestamp),
        lists_not_after: lists_not_after.and_then(timestamp),
        next: Some(next.max(Duration::from_secs(1))),
        operations: operations.collect(),
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

/// Reads what the operator watches: its own Secrets and trust ConfigMap, and what the nodes report.
fn observe(context: &Context, wanted: &Wanted) -> Result<Observed, Error> {
    let Wanted { namespace, cluster, .. } = wanted;
    let mut observed = Observed::default();
    for secret in context.observed.list::<Secret>(namespace, labels::CLUSTER, cluster) {
        observed.secrets.insert(secret.name_any(), contents(secret));
    }
    let trust = context.observed.get::<ConfigMap>(namespace, &names::trust(cluster))?;
    observed.trust = trust.and_then(|trust| trust.data).unwrap_or_default();
    let pods = context.observed.list::<Pod>(namespace, labels::CLUSTER, cluster);
    let leases = context.observed.list::<Lease>(namespace, labels::CLUSTER, cluster);
    observed.members = members(&pods, &leases, Timestamp::now());
    Ok(observed)
}

fn contents(secret: Secret) -> Contents {
    let mut contents = Contents::default();
    for (key, ByteString(bytes)) in secret.data.into_iter().flatten() {
        contents.set(&key, Sensitive::new(bytes));
    }
    let annotations = secret.metadata.annotations.into_iter().flatten();
    contents.annotations.extend(annotations.filter(|(key, _)| is_ours(key)));
    contents
}

fn is_ours(annotation: &str) -> bool {
    [ROTATE, STEP, SERIALS].contains(&annotation)
}

/// Earlier versions kept the nodes' authority under a name that another cluster may want.
async fn move_authority(context: &Context, cluster: &OpaqueCluster) -> Result<(), Error> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let (earlier, authority) = (names::earlier_authority(&name), names::authority(&name));
    let Some(secret) = context.observed.get::<Secret>(&namespace, &earlier)? else { return Ok(()) };
    let owner = labels::controller_of(&secret.metadata);
    // The server authority of another cluster may have the earlier name.
    if owner.is_none_or(|owner| Some(&owner.uid) != cluster.uid().as_ref()) {
        return Ok(());
    }
    if context.observed.raw("Secret", &namespace, &authority).is_none() {
        let annotations = contents(secret.clone()).annotations;
        let Secret { type_, data, .. } = secret.clone();
        let moved = |metadata| Secret { metadata, type_, data, ..Secret::default() };
        store(context, cluster, &authority, &annotations, moved).await?;
    }
    delete(context, &secret.metadata).await
}

/// Deletes a Secret, and not one that was made under its name since.
async fn delete(context: &Context, secret: &ObjectMeta) -> Result<(), Error> {
    let namespace = secret.namespace.as_deref().unwrap_or_default();
    let name = secret.name.as_deref().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let same = Preconditions { uid: secret.uid.clone(), ..Preconditions::default() };
    match api.delete(name, &DeleteParams::default().preconditions(same)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::api(format!("deleting Secret {name}"))(error)),
    }
}

async fn perform(
    context: &Context,
    cluster: &OpaqueCluster,
    wanted: &Wanted,
    write: &Write,
) -> Result<(), Error> {
    match write {
        Write::Secret { name, contents } => {
            let data = contents.data().iter();
            let data = data.map(|(key, value)| (key.clone(), ByteString(value.bytes().to_vec())));
            let data: BTreeMap<_, _> = data.collect();
            let secret = |metadata| Secret {
                metadata,
                type_: Some(TLS.into()),
                data: Some(data),
                ..Secret::default()
            };
            store(context, cluster, name, &contents.annotations, secret).await
        }
        Write::Trust(data) => {
            let name = names::trust(&wanted.cluster);
            let map =
                |metadata| ConfigMap { metadata, data: Some(data.clone()), ..ConfigMap::default() };
            store(context, cluster, &name, &BTreeMap::new(), map).await
        }
        Write::Issuance { name, spec } => issuance::apply(context, cluster, name, spec).await,
        Write::DeleteIssuance(name) => issuance::delete(context, &wanted.namespace, name).await,
        Write::DeleteSecret(name) => {
            match context.observed.raw("Secret", &wanted.namespace, name) {
                Some(seen) => delete(context, &seen.metadata).await,
                None => Ok(()),
            }
        }
    }
}

/// Makes or replaces an object as a whole.
///
/// Not by a server-side apply: a plan was made for what was seen, and a key must not be made twice. A
/// create fails if there is one by now, and a replacement if it is not the one that was seen.
async fn store<K>(
    context: &Context,
    cluster: &OpaqueCluster,
    name: &str,
    annotations: &BTreeMap<String, String>,
    build: impl FnOnce(ObjectMeta) -> K,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
    let mut metadata =
        labels::owned(cluster, name.to_owned(), labels::of_cluster(&cluster.name_any()));
    let live = context.observed.get::<K>(&namespace, name)?;
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let kind = K::kind(&());
    metadata.annotations = Some(annotations.clone()).filter(|all| !all.is_empty());
    let written = match live {
        None => api.create(&params, &build(metadata)).await.map_err(|error| match error {
            kube::Error::Api(status) if status.is_already_exists() => Error::Foreign {
                kind: kind.to_string(),
                name: name.to_owned(),
                owner: format!("OpaqueCluster {}", cluster.name_any()),
            },
            error => Error::api(format!("creating {kind} {name}"))(error),
        })?,
        Some(live) => {
            let (old, new) = (live.meta().clone(), &mut metadata);
            // One that cert-manager wrote has no owner.
            if labels::controller_of(&old).is_some() {
                check_owner(&kind, new, &old)?;
            }
            let mut labels = old.labels.unwrap_or_default();
            labels.extend(new.labels.take().unwrap_or_default());
            let mut kept = old.annotations.unwrap_or_default();
            // Those of cert-manager say that it wrote this one: no longer.
            kept.retain(|key, _| !is_ours(key) && !key.starts_with(issuance::ANNOTATIONS));
            kept.extend(annotations.clone());
            new.labels = Some(labels);
            new.annotations = Some(kept);
            new.resource_version = old.resource_version;
            new.finalizers = old.finalizers;
            let action = format!("replacing {kind} {name}");
            api.replace(name, &params, &build(metadata)).await.map_err(Error::api(action))?
        }
    };
    tracing::info!(kind = %kind, namespace, name, "stored");
    let written = serde_json::to_value(&written).and_then(serde_json::from_value);
    let written = written.map_err(|error| Error::Internal(error.to_string()))?;
    context.wrote(&ApiResource::erase::<K>(&()), written);
    Ok(())
}

fn timestamp(instant: OffsetDateTime) -> Option<Time> {
    jiff::Timestamp::from_second(instant.unix_timestamp()).ok().map(Time)
}
