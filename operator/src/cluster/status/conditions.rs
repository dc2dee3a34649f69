//! The conditions of a cluster.

use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::status::ConditionType;

use super::causes::{closed, lacks, node_failure, proposal, some, store_trouble};
use crate::cluster::findings::Findings;
use crate::cluster::reach;
use crate::cluster::rollout::ShardState;
use crate::kube::{Conditions, Truth};

/// Bytes of the largest partition, 65,536 rows of 1024 bytes. A smaller imbalance is not worth
/// moving: with few partitions, some shard always has one more.
const PARTITION: u128 = 64 << 20;

pub(super) fn available(found: &Findings<'_>, conditions: &mut Conditions) {
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

pub(super) fn progressing(found: &Findings<'_>, conditions: &mut Conditions) {
    let type_ = ConditionType::Progressing;
    let spec = &found.cluster.spec;
    if found.invalid.is_some() {
        let message = "the spec is not applied: see condition Degraded";
        return conditions.set(type_, false, "InvalidSpec", message);
    }
    if let Some(refusal) = found.size.refusal(spec) {
        return conditions.set(type_, false, "ScalingNotSupported", refusal);
    }
    if spec.paused {
        return conditions.set(
            type_,
            false,
            "Paused",
            "spec.paused is true: the operator changes nothing",
        );
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
        (true, None) => conditions.set(type_, false, "Complete", "everything matches the spec"),
    }
}

pub(super) fn degraded(
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
        found.facts.map.as_ref().and_then(|map| found.size.contradiction(map))
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

/// What is wrong with a shard map that was active before.
fn lost_map(found: &Findings<'_>, previous: &OpaqueClusterStatus) -> Option<String> {
    let (generation, facts) = (previous.active_generation?, found.facts);
    if facts.active().is_some() {
        return None;
    }
    Some(if facts.map.is_none() && found.cluster.spec.paused {
        format!(
            "the OpaqueShardMap is gone, and the operator creates it again only when spec.paused is false; until then, nodes continue to serve generation {generation}"
        )
    } else {
        format!(
            "the OpaqueShardMap was lost or replaced; nodes continue to serve generation {generation}, and their leader writes it again"
        )
    })
}

pub(super) fn certificates(found: &Findings<'_>, conditions: &mut Conditions) {
    if let Some(state) = &found.certificates {
        let type_ = ConditionType::CertificatesReady;
        conditions.set(type_, state.ready, state.reason, &state.message);
    }
}

/// Sets the condition that reports whether a shard holds more bytes than its share by more than the
/// threshold. All shares are equal.
pub(super) fn balanced(found: &Findings<'_>, conditions: &mut Conditions) {
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
    // Holds if bytes > total / shards * percent / 100, and the excess is more than what can be
    // moved.
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

fn numbers(shards: &[ShardState], matches: impl Fn(&ShardState) -> bool) -> Vec<String> {
    let found = shards.iter().enumerate().filter(|(_, shard)| matches(shard));
    found.map(|(number, _)| format!("shard {number}")).collect()
}
