//! Reads the state on which the decision about a table depends.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use opaque_crds::table::report::ANNOTATION;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable, names};

use super::facts::{Facts, JobFacts, JobState, SourceFacts};
use super::objects::{PREPARE, RUN, prepare};
use super::report;
use super::validate::missing_credentials;
use crate::error::Error;
use crate::kube::{ASK_AGAIN, Context, Keys, refusal};
use crate::labels::{TABLE, controller_of};
use crate::text::clip;

/// Maximum length of a pod's or Job's reason in messages.
const REASON: usize = 512;

/// Reads everything on which the decision about `table` depends.
///
/// # Errors
/// An object cannot be read.
pub(super) async fn observe(context: &Context, table: OpaqueTable) -> Result<Facts, Error> {
    let namespace = table.namespace().unwrap_or_default();
    let name = table.name_any();
    let cluster_name = &table.spec.cluster_ref.name;
    let observed = &context.observed;
    let cluster: Option<OpaqueCluster> = observed.get(&namespace, cluster_name)?;
    let cluster = cluster.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
    let source = source(context, &table, &namespace).await?;
    let secrets = match &cluster {
        Some(cluster) => secrets(context, &table, cluster, &namespace).await?,
        None => Vec::new(),
    };
    let objects: Vec<Job> = observed.list(&namespace, TABLE, &name);
    let pods: Vec<Pod> = observed.list(&namespace, TABLE, &name);
    let jobs: Vec<JobFacts> =
        objects.iter().filter_map(|job| job_facts(&table, job, &pods)).collect();
    let now = Timestamp::now();
    let live = || jobs.iter().filter(|job| job.is_live());
    let without_pod = live().find(|job| !pods.iter().any(|pod| is_of(pod, &job.name)));
    let pod = match without_pod {
        Some(job) if is_older(&objects, &job.name, now) => {
            let refused = refusal(context, &namespace, "Job", &job.name).await?;
            let words = |said: String| format!("Job {} cannot create its pod: {said}", job.name);
            refused.map(|said| clip(&words(said), REASON))
        }
        Some(_) => None,
        None => {
            live().find_map(|job| pods.iter().filter(|pod| is_of(pod, &job.name)).find_map(blocked))
        }
    };
    let lacks_pod = without_pod.is_some();
    let lease: Option<Lease> = observed.get(&namespace, &names::prepare(&name))?;
    // The Lease of a deleted table with the same name reports epochs that this table never
    // requested.
    let lease = lease.filter(|lease| is_owned(&table, lease));
    let annotation = lease.as_ref().and_then(|lease| lease.annotations().get(ANNOTATION));
    let report = annotation.and_then(|text| report::parse(text));
    let map: Option<OpaqueShardMap> = observed.get(&namespace, cluster_name)?;
    let map = map.filter(|map| map.metadata.deletion_timestamp.is_none());
    Ok(Facts { table, cluster, source, secrets, jobs, pod, lacks_pod, report, map, now })
}

async fn source(
    context: &Context,
    table: &OpaqueTable,
    namespace: &str,
) -> Result<SourceFacts, Error> {
    let Some(reference) = &table.spec.source.config_map_ref else {
        return Ok(SourceFacts::Address);
    };
    let (name, key) = (&reference.name, &reference.key);
    // Of users' ConfigMaps only metadata is watched, because their data may be large.
    let Some(map) = context.read::<ConfigMap>(namespace, name).await? else {
        let missing =
            format!("ConfigMap {name} of spec.source.configMapRef does not exist: create it");
        return Ok(SourceFacts::Missing(missing));
    };
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    let binary = map.binary_data.as_ref().and_then(|data| data.get(key)).map(|data| &*data.0);
    Ok(match text.or(binary) {
        Some(data) => SourceFacts::Data(data.to_vec()),
        None => SourceFacts::Missing(format!("ConfigMap {name} has no key {key}: add it")),
    })
}

/// Errors in the Secrets that a Job would use.
async fn secrets(
    context: &Context,
    table: &OpaqueTable,
    cluster: &OpaqueCluster,
    namespace: &str,
) -> Result<Vec<String>, Error> {
    let (storage, source) = (&cluster.spec.storage, &table.spec.source);
    let of_store = format!("spec.storage of OpaqueCluster {}", cluster.name_any());
    let mut used = Vec::new();
    used.extend(
        storage.secret_ref.as_ref().map(|secret| (&storage.url, secret, of_store.as_str())),
    );
    let source = source.secret_ref.as_ref().zip(source.url.as_ref());
    used.extend(source.map(|(secret, url)| (url, secret, "spec.source")));
    let mut wrong = Vec::new();
    for (url, secret, of) in used {
        let missing = |keys: &BTreeSet<&str>| missing_credentials(url, keys);
        let lacks = lacking(context, namespace, &secret.name, missing).await?;
        wrong.extend(
            lacks.map(|lacks| format!("Secret {}, the secretRef of {of}, {lacks}", secret.name)),
        );
    }
    if let Some(secret) = &storage.ca_secret_ref {
        let missing = |keys: &BTreeSet<&str>| {
            (!keys.contains("ca.crt")).then(|| "needs the key ca.crt".to_owned())
        };
        let lacks = lacking(context, namespace, &secret.name, missing).await?;
        wrong.extend(lacks.map(|lacks| {
            format!("Secret {}, the caSecretRef of {of_store}, {lacks}", secret.name)
        }));
    }
    Ok(wrong)
}

/// What a Secret lacks, in words; `None` if it suffices.
async fn lacking(
    context: &Context,
    namespace: &str,
    name: &str,
    missing: impl Fn(&BTreeSet<&str>) -> Option<String>,
) -> Result<Option<String>, Error> {
    let lacks = |keys: &Keys| match keys {
        None => Some("does not exist: create it".to_owned()),
        Some(found) if found.is_own => {
            Some("belongs to the operator and holds a key of a cluster: name another".to_owned())
        }
        Some(found) => missing(&found.keys.iter().map(String::as_str).collect()),
    };
    let keys = context.secret_keys(namespace, name, |keys| lacks(keys).is_none()).await?;
    Ok(lacks(&keys))
}

fn is_owned<K: kube::Resource>(table: &OpaqueTable, object: &K) -> bool {
    let owner = controller_of(object.meta());
    owner.is_some_and(|owner| Some(&owner.uid) == table.metadata.uid.as_ref())
}

/// A Job of the table. `None` if its name does not match, or if it ended for a deleted table of the
/// same name.
fn job_facts(table: &OpaqueTable, job: &Job, pods: &[Pod]) -> Option<JobFacts> {
    let name = job.name_any();
    let prefix = names::prepare(&table.name_any());
    let number = name.strip_prefix(&prefix)?.strip_prefix('-')?.parse().ok()?;
    let run = job.annotations().get(RUN).cloned().unwrap_or_default();
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ended = conditions.filter(|condition| condition.status == "True");
    let ended = ended.find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"));
    let state = match ended {
        // A Job of a deleted table with the same name. Its pods are removed with it, but may write
        // until then.
        None if !is_owned(table, job) => JobState::Leaving,
        _ if !is_owned(table, job) => return None,
        _ if job.metadata.deletion_timestamp.is_some() => JobState::Leaving,
        None => JobState::Active,
        Some(condition) if condition.type_ == "Complete" => JobState::Complete,
        Some(condition) if condition.reason.as_deref() == Some("DeadlineExceeded") => {
            let timeout = &table.spec.prepare.timeout;
            JobState::Failed(format!("it was not done within spec.prepare.timeout, {timeout}"))
        }
        Some(condition) => {
            let message = condition.message.as_deref().or(condition.reason.as_deref());
            JobState::Failed(clip(message.unwrap_or("no reason given"), REASON))
        }
    };
    let changed = job.annotations().get(PREPARE).is_some_and(|made| *made != prepare(table));
    let stale = changed && !pods.iter().any(|pod| is_of(pod, &name));
    Some(JobFacts { name, number, run, stale, state })
}

/// Whether a Job is old enough that it should have a pod.
fn is_older(jobs: &[Job], name: &str, now: Timestamp) -> bool {
    let job = jobs.iter().find(|job| job.name_any() == name);
    let made = job.and_then(|job| job.metadata.creation_timestamp.as_ref());
    made.is_some_and(|made| made.0.checked_add(ASK_AGAIN).is_ok_and(|looked| now >= looked))
}

fn is_of(pod: &Pod, job: &str) -> bool {
    controller_of(&pod.metadata).is_some_and(|owner| owner.name == job)
}

/// Why a pod does not run, in words; `None` if there is no problem.
fn blocked(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or("no reason given");
        return Some(clip(&format!("pod {name} cannot be scheduled: {why}"), REASON));
    }
    let of_init = status.init_container_statuses.iter().flatten();
    for container in of_init.chain(status.container_statuses.iter().flatten()) {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let Some(waiting) = waiting else { continue };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            continue;
        }
        let why = waiting.message.as_deref().unwrap_or_default();
        return Some(clip(&format!("pod {name}: {reason}: {why}"), REASON));
    }
    None
}
