//! Whether queries are answered, from what nodes say of their way to each other: pure functions.
//!
//! **Whose word counts.** A record has no clock that the operator could trust, so that the pod
//! decides: a ready pod's record counts, and that of a pod whose process says that it is not ready.
//! A pod that crashed or whose machine is gone says nothing.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::facts::{Facts, Member};
use super::rollout::ShardState;
use crate::kube::is_ready;

/// Most shards that a message names for one pod.
const NAMED: usize = 3;

/// Whether a ready pod reaches every shard. One that has not said anything yet is not held to be
/// cut off.
pub(super) fn is_answered(facts: &Facts) -> bool {
    let cut_off =
        |name: &str| facts.member(name).is_some_and(|member| !member.unreachable.is_empty());
    facts.pods.iter().any(|(name, pod)| is_ready(pod) && !cut_off(name))
}

/// Pods that do not reach every shard that serves, with the shards. A shard that does not serve is
/// reported as such, and reached by nobody.
pub(super) fn cut_off(facts: &Facts, shards: &[ShardState]) -> Vec<String> {
    let down = down(shards);
    let pod = |member: &Member| {
        let Member { node, unreachable, .. } = member;
        let serves = |shard: &&i64| usize::try_from(**shard).is_ok_and(|it| !down.contains(&it));
        let shards: Vec<i64> = unreachable.iter().filter(serves).copied().collect();
        (!shards.is_empty() && speaks(facts, node))
            .then(|| format!("pod {node} reaches no replica of {}", names(&shards)))
    };
    facts.members.iter().filter_map(pod).collect()
}

/// Shards that do not serve: no pod is ready, and none has turned clients away while it answers
/// peers.
pub(super) fn down(shards: &[ShardState]) -> Vec<usize> {
    let down = shards.iter().enumerate().filter(|(_, shard)| !shard.serves());
    down.map(|(number, _)| number).collect()
}

/// Whether a pod has turned clients away, since another node reaches more shards, and answers its
/// peers.
pub(super) fn answers_peers(facts: &Facts, pod: &str) -> bool {
    let active = facts.active_generation();
    facts.pods.get(pod).is_some_and(says_not_ready)
        && facts.member(pod).is_some_and(|member| {
            !member.unreachable.is_empty() && Some(member.active_generation) == active
        })
}

/// Tables whose probes fail, as the leader says: those with wrong sums, and all.
pub(super) fn failed_probes(facts: &Facts) -> (Vec<String>, Vec<String>) {
    let leader = facts.leader.as_ref().and_then(|leader| facts.member(leader));
    let failed = leader.into_iter().filter(|leader| speaks(facts, &leader.node));
    let (mut wrong, mut all) = (Vec::new(), Vec::new());
    for (table, probe) in failed.flat_map(|leader| &leader.probes) {
        let words = format!("table {table}: {}", probe.reason);
        if probe.wrong {
            wrong.push(words.clone());
        }
        all.push(words);
    }
    (wrong, all)
}

/// Whether a pod's record counts.
fn speaks(facts: &Facts, pod: &str) -> bool {
    facts.pods.get(pod).is_some_and(|pod| is_ready(pod) || says_not_ready(pod))
}

/// Whether the pod's processes run and one of them answers its probe that it is not ready. Where a
/// machine is gone the pod is not ready either, but its containers stay so.
fn says_not_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let containers = status.map(Vec::as_slice).unwrap_or_default();
    let runs = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    pod.metadata.deletion_timestamp.is_none()
        && containers.iter().all(runs)
        && containers.iter().any(|container| !container.ready)
}

fn names(shards: &[i64]) -> String {
    let shown: Vec<_> = shards.iter().take(NAMED).map(|shard| format!("shard {shard}")).collect();
    let shown = shown.join(", ");
    match shards.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
