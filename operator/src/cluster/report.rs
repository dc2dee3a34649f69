//! From what was found to status: a pure function.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use opaque_crds::OpaqueCluster;
use opaque_crds::cluster::{MissingTable, OpaqueClusterStatus};
use opaque_crds::status::ConditionType;

use super::facts::Facts;
use super::missing::{reported, words};
use super::reach;
use super::rollout::{Hold, Replacement, ShardState};
use super::shape::Shape;
use crate::certificates::CertificateState;
use crate::kube::{Activity, Conditions, Transition, Truth, is_ready, operations, trouble};
use crate::labels;

/// Bytes of the largest partition, 65,536 rows of 1024 bytes: nothing smaller is worth moving, and of tables of few
/// partitions some shard always has one more.
const PARTITION: u128 = 64 << 20;
/// Most pods or nodes that a message names.
const NAMED: usize = 3;

/// What a reconcile found out, as far as it came.
#[derive(Debug, Clone)]
pub(super) struct Findings<'a> {
    pub(super) cluster: &'a OpaqueCluster,
    pub(super) facts: &'a Facts,
    pub(super) shape: Shape,
    /// Whether `shape` was accepted: before, it is only wanted.
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
    pub(super) fn new(cluster: &'a OpaqueCluster, facts: &'a Facts, shape: Shape) -> Self {
        Self {
            cluster,
            facts,
            shape,
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

/// The status to report, and what changed about its conditions.
pub(super) fn status(
    found: &Findings<'_>,
    previous: &OpaqueClusterStatus,
    now: &Time,
) -> (OpaqueClusterStatus, Vec<Transition>) {
    let Findings { cluster, facts, shape, shards, .. } = found;
    let name = cluster.name_any();
    let generation = cluster.metadata.generation;
    let mut conditions = Conditions::new(&previous.conditions, generation, now.clone());
    let troubles = troubles(found);
    available(found, &mut conditions);
    progressing(found, &mut conditions);
    degraded(found, previous, &troubles, &mut conditions);
    certificates(found, &mut conditions);
    balanced(found, &mut conditions);
    let paused = cluster.spec.paused;
    let (reason, message) = if paused {
        ("SpecPaused", "spec.paused is set: nothing is changed, queries and failover go on")
    } else {
        ("Reconciling", "")
    };
    conditions.set(ConditionType::Paused, paused, reason, message);
    match &found.contested {
        Some(words) => {
            conditions.set(ConditionType::Contested, true, "AnotherOperatorWaits", words);
        }
        None => conditions.leave_out(ConditionType::Contested),
    }
    let (conditions, transitions) = conditions.finish();
    let active = facts.active().map(|map| (map.generation, count(map.tables.iter())));
    let (active, tables) = active.or_else(|| facts.served()).unzip();
    let (accepted_shards, accepted_replicas) =
        if found.accepted { (shape.shards, shape.replicas) } else { (0, 0) };
    let certificates = found.certificates.as_ref();
    let not_after = certificates.map(|state| state.not_after.clone());
    let lists_not_after = certificates.map(|state| state.lists_not_after.clone());
    let status = OpaqueClusterStatus {
        observed_generation: generation,
        conditions,
        operations: operations(&previous.operations, steps(found, &troubles), now),
        shards: accepted_shards,
        replicas_per_shard: accepted_replicas,
        ready_shards: count(shards.iter().filter(|shard| shard.serves())),
        replicas: count(facts.pods.values()),
        ready_replicas: count(facts.pods.values().filter(|pod| is_ready(pod))),
        selector: Some(labels::selector(&labels::select_nodes(&name))),
        leader: facts.leader.clone(),
        // Never less: a map that is made anew begins above it.
        active_generation: active.max(previous.active_generation),
        tables: tables.unwrap_or(0),
        missing_tables: reported(&facts.missing),
        certificates_not_after: not_after
            .unwrap_or_else(|| previous.certificates_not_after.clone()),
        revocation_lists_not_after: lists_not_after
            .unwrap_or_else(|| previous.revocation_lists_not_after.clone()),
    };
    (status, transitions)
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

fn available(found: &Findings<'_>, conditions: &mut Conditions) {
    let type_ = ConditionType::Available;
    let active = found.facts.active();
    let down = reach::down(&found.shards).into_iter();
    let down: Vec<_> = down.map(|number| format!("shard {number}")).collect();
    match active {
        _ if !down.is_empty() => {
            let mut message = format!("no pod is ready of {}", some(&down));
            if let Some(words) = closed(found.facts) {
                message = format!("{message}; {words}");
            }
            conditions.set(type_, false, "ShardsNotReady", message);
        }
        _ if found.facts.served().is_some() && !reach::is_answered(found.facts) => {
            let cut_off = some(&reach::cut_off(found.facts, &found.shards));
            let message = format!("no ready pod reaches every shard: {cut_off}");
            conditions.set(type_, false, "ShardsUnreachable", message);
        }
        None if found.facts.served().is_some() => {
            let message = "every shard serves, while the nodes write the shard map again";
            conditions.set(type_, true, "Serving", message);
        }
        None => {
            let message =
                "no generation of the shard map is active yet: its leader activates the first";
            conditions.set(type_, false, "NoActiveGeneration", message);
        }
        Some(map) if map.tables.is_empty() => {
            conditions.set(type_, true, "Serving", "every shard serves; there is no table yet");
        }
        Some(_) => conditions.set(type_, true, "Serving", "every shard serves"),
    }
}

fn progressing(found: &Findings<'_>, conditions: &mut Conditions) {
    let type_ = ConditionType::Progressing;
    let spec = &found.cluster.spec;
    if found.invalid.is_some() {
        let message = "the spec is not taken over: see condition Degraded";
        return conditions.set(type_, false, "InvalidSpec", message);
    }
    if let Some(refusal) = found.shape.refusal(spec) {
        return conditions.set(type_, false, "ScalingNotSupported", refusal);
    }
    if spec.paused {
        return conditions.set(type_, false, "Paused", "spec.paused is set");
    }
    let unfinished: Vec<_> = numbers(&found.shards, |shard| !shard.whole());
    let proposed = proposal(found.facts);
    match (unfinished.is_empty(), proposed) {
        (false, _) => {
            let message = format!("waiting for {}", some(&unfinished));
            conditions.set(type_, true, "RollingOut", message);
        }
        (true, Some(generation)) => {
            let message = format!("generation {generation} is being prepared");
            conditions.set(type_, true, "Activating", message);
        }
        (true, None) => conditions.set(type_, false, "Complete", "everything is as the spec says"),
    }
}

fn degraded(
    found: &Findings<'_>,
    previous: &OpaqueClusterStatus,
    troubles: &[String],
    conditions: &mut Conditions,
) {
    let type_ = ConditionType::Degraded;
    let (wrong, unanswered) = reach::failed_probes(found.facts);
    let cut_off = reach::cut_off(found.facts, &found.shards);
    if !wrong.is_empty() {
        conditions.set(type_, true, "WrongSums", some(&wrong));
    } else if let Some(message) = &found.invalid {
        conditions.set(type_, true, "InvalidSpec", message);
    } else if !found.secrets.is_empty() {
        conditions.set(type_, true, "SecretNotUsable", found.secrets.join("; "));
    } else if let Some(message) = &found.failed {
        conditions.set(type_, true, "WriteRefused", message);
    } else if let Some(message) = lost_map(found, previous) {
        conditions.set(type_, true, "ShardMapLost", message);
    } else if let Some(message) =
        found.facts.map.as_ref().and_then(|map| found.shape.contradiction(map))
    {
        conditions.set(type_, true, "ShardMapContradicts", message);
    } else if !troubles.is_empty() {
        conditions.set(type_, true, "PodsNotStarting", some(troubles));
    } else if let Some(message) = store_trouble(found) {
        conditions.set(type_, true, "StoreUnavailable", message);
    } else if !found.facts.missing.is_empty() {
        conditions.set(type_, true, "TablesMissing", lacks(found.facts, |_| true));
    } else if let Some(message) = node_failure(found.facts) {
        conditions.set(type_, true, "NodesNotServing", message);
    } else if !cut_off.is_empty() {
        conditions.set(type_, true, "ShardsUnreachable", some(&cut_off));
    } else if !unanswered.is_empty() {
        conditions.set(type_, true, "ProbeFailed", some(&unanswered));
    } else {
        conditions.set(type_, false, "AsExpected", "");
    }
}

/// What is wrong with a shard map that was active and is no longer.
fn lost_map(found: &Findings<'_>, previous: &OpaqueClusterStatus) -> Option<String> {
    let (generation, facts) = (previous.active_generation?, found.facts);
    if facts.active().is_some() {
        return None;
    }
    Some(if facts.map.is_none() && found.cluster.spec.paused {
        format!(
            "the OpaqueShardMap is gone, and is not made anew while spec.paused is set; nodes serve on what they hold of generation {generation}"
        )
    } else {
        format!(
            "the OpaqueShardMap was lost or replaced; nodes serve on what they hold of generation {generation}, and their leader writes it again"
        )
    })
}

fn certificates(found: &Findings<'_>, conditions: &mut Conditions) {
    if let Some(state) = &found.certificates {
        let type_ = ConditionType::CertificatesReady;
        conditions.set(type_, state.ready, state.reason, &state.message);
    }
}

/// Whether no shard holds more bytes than its share by more than the threshold. Shares are equal.
fn balanced(found: &Findings<'_>, conditions: &mut Conditions) {
    let type_ = ConditionType::ShardsBalanced;
    let mut held = vec![0_u64; found.shards.len()];
    for member in &found.facts.members {
        let shard = usize::try_from(member.shard).ok().and_then(|shard| held.get_mut(shard));
        if let Some(bytes) = shard {
            *bytes = member.resident_bytes.max(*bytes);
        }
    }
    let total: u128 = held.iter().map(|bytes| u128::from(*bytes)).sum();
    let Some(percent) = found.cluster.spec.placement.threshold_percent() else { return };
    if total == 0 || held.contains(&0) {
        return conditions.set(type_, Truth::Unknown, "NoData", "not every shard holds data");
    }
    let percent = u128::try_from(percent).unwrap_or_default() + 100;
    let shards = held.len() as u128;
    // bytes > total / shards * percent / 100, and by more than can be moved
    let full = |bytes: u64| {
        let bytes = u128::from(bytes);
        bytes * shards * 100 > total * percent && bytes * shards > total + PARTITION * shards
    };
    let over: Vec<_> = held
        .iter()
        .enumerate()
        .filter(|(_, bytes)| full(**bytes))
        .map(|(shard, _)| format!("shard {shard}"))
        .collect();
    if over.is_empty() {
        conditions.set(type_, true, "Balanced", "");
    } else {
        let threshold = &found.cluster.spec.placement.imbalance_threshold;
        let message = format!("more than {threshold} above its share: {}", some(&over));
        conditions.set(type_, false, "Unbalanced", message);
    }
}

/// What is under way, and what it waits for.
fn steps(found: &Findings<'_>, troubles: &[String]) -> Vec<Activity> {
    let mut steps = Vec::new();
    if let Some(set) = &found.facts.leftover {
        let by = format!("StatefulSet {set} of a deleted OpaqueCluster of the same name");
        steps.push(Activity::blocked("Removal", "Waiting", by));
    }
    if !found.secrets.is_empty() {
        steps.push(Activity::blocked("Secrets", "Reading", found.secrets.join("; ")));
    }
    if let Some(step) = rollout(found, troubles) {
        steps.push(step);
    }
    if let Some(generation) = proposal(found.facts) {
        let step = format!("Generation {generation}");
        let blocked = node_failure(found.facts).or_else(|| store_trouble(found));
        steps.push(match blocked.or_else(|| node_words(found.facts)) {
            Some(words) => Activity::blocked("Activation", step, words),
            None => Activity::going("Activation", step),
        });
    }
    if let Some(state) = &found.certificates {
        steps.extend(state.operations.clone());
    }
    steps
}

fn rollout(found: &Findings<'_>, troubles: &[String]) -> Option<Activity> {
    let replacement = found.replacement.as_ref()?;
    if found.shards.iter().all(ShardState::whole) {
        return None;
    }
    let pods = || found.shards.iter().flat_map(|shard| &shard.pods);
    let step = format!("{} of {} pods", pods().filter(|pod| pod.is_done()).count(), pods().count());
    let blocked = if !troubles.is_empty() {
        Some(some(troubles))
    } else if found.facts.missing.iter().any(|entry| entry.elsewhere) {
        Some(lacks(found.facts, |entry| entry.elsewhere))
    } else if let Some(refusal) = &found.refused {
        Some(refusal.clone())
    } else {
        let cut_off = reach::cut_off(found.facts, &found.shards);
        let told =
            node_words(found.facts).or_else(|| (!cut_off.is_empty()).then(|| some(&cut_off)));
        told.or_else(|| ending(found.facts, replacement))
    };
    Some(match blocked {
        Some(by) => Activity::blocked("Rollout", step, by),
        None => Activity::going("Rollout", step),
    })
}

/// That the pod which holds up the rest does not end, since its machine does not answer.
fn ending(facts: &Facts, replacement: &Replacement) -> Option<String> {
    let Hold::Pod(name) = replacement.hold.as_ref()? else { return None };
    let pod = facts.pods.get(name)?;
    pod.metadata.deletion_timestamp.as_ref()?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node");
    Some(format!("pod {name} is ending: if {node} is gone for good, delete that Node"))
}

/// Pods that do not get going, with the reason.
fn troubles(found: &Findings<'_>) -> Vec<String> {
    let pods = found.facts.pods.iter().filter(|(_, pod)| !is_ready(pod));
    let pods = pods.filter_map(|(name, pod)| Some(format!("pod {name} {}", trouble(pod)?)));
    found.absent.iter().cloned().chain(pods).collect()
}

/// Which tables pods miss, of those that `shown` picks.
fn lacks(facts: &Facts, shown: impl Fn(&&MissingTable) -> bool) -> String {
    let entries = facts.missing.iter().filter(shown);
    some(&entries.map(words).collect::<Vec<_>>())
}

/// The generation that waits to be active.
fn proposal(facts: &Facts) -> Option<i64> {
    let map = facts.map.as_ref()?;
    let generation = map.spec.map.generation;
    let active = map.active().map_or(0, |map| map.generation);
    (generation > active && !map.has_given_up(generation)).then_some(generation)
}

/// What nodes could not prepare.
fn node_failure(facts: &Facts) -> Option<String> {
    let proposed = proposal(facts);
    let fails: Vec<_> = facts
        .members
        .iter()
        .filter_map(|member| {
            let failure = member.failed.as_ref()?;
            (Some(failure.generation) == proposed)
                .then(|| format!("pod {}: {}", member.node, failure.reason))
        })
        .collect();
    (!fails.is_empty()).then(|| some(&fails))
}

/// Which pods cannot read the store, and why. What is served goes on being served: it lies in memory.
fn store_trouble(found: &Findings<'_>) -> Option<String> {
    let mut pods = BTreeMap::<&str, Vec<&str>>::new();
    for member in &found.facts.members {
        if let Some(trouble) = &member.store {
            pods.entry(trouble).or_default().push(&member.node);
        }
    }
    let (trouble, of) = pods.iter().max_by_key(|(_, of)| of.len())?;
    let of = some(&of.iter().map(|pod| format!("pod {pod}")).collect::<Vec<_>>());
    let secret = found.cluster.spec.storage.secret_ref.as_ref();
    let place = secret.map_or_else(String::new, |secret| {
        let name = &secret.name;
        format!(" and Secret {name}, which pods read again within two minutes of its change")
    });
    Some(format!(
        "{of}: {trouble}. What is served goes on, and no new epoch comes: check spec.storage{place}"
    ))
}

/// What nodes that are not ready say of themselves.
fn node_words(facts: &Facts) -> Option<String> {
    node_failure(facts).or_else(|| {
        let waiting: Vec<_> = facts
            .members
            .iter()
            .filter(|member| !member.message.is_empty())
            .filter(|member| !facts.pods.get(&member.node).is_some_and(is_ready))
            .map(|member| format!("pod {}: {}", member.node, member.message))
            .collect();
        (!waiting.is_empty()).then(|| some(&waiting))
    })
}

/// Nodes that admit no client, with the reason. They begin it with these words (`opaque-node`'s
/// `access`).
fn closed(facts: &Facts) -> Option<String> {
    let closed =
        facts.members.iter().filter(|member| member.message.starts_with("no client may ask"));
    let closed: Vec<_> =
        closed.map(|member| format!("pod {}: {}", member.node, member.message)).collect();
    (!closed.is_empty()).then(|| some(&closed))
}

fn numbers(shards: &[ShardState], matches: impl Fn(&ShardState) -> bool) -> Vec<String> {
    let found = shards.iter().enumerate().filter(|(_, shard)| matches(shard));
    found.map(|(number, _)| format!("shard {number}")).collect()
}

/// The first few, and how many more.
fn some(items: &[String]) -> String {
    let shown: Vec<_> = items.iter().take(NAMED).map(String::as_str).collect();
    let more = items.len().saturating_sub(NAMED);
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests;
