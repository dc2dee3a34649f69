//! Determines whether queries are answered, from the nodes' reports about their connections to each
//! other. All functions are pure.
//!
//! **Whose report counts.** The operator cannot trust a clock in a report, so the pod's state
//! decides. The report of a ready pod counts, and so does that of a pod whose process answers that
//! it is not ready. The report of a pod that crashed or whose machine is gone does not count.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::facts::{Facts, Member};
use super::rollout::ShardState;
use crate::kube::is_ready;

/// Maximum shards that a message names for one pod.
const NAMED: usize = 3;

/// Whether a ready pod reaches every shard. A pod that has not reported yet does not count as cut
/// off.
pub(super) fn is_answered(facts: &Facts) -> bool {
    let cut_off =
        |name: &str| facts.member(name).is_some_and(|member| !member.unreachable.is_empty());
    facts.pods.iter().any(|(name, pod)| is_ready(pod) && !cut_off(name))
}

/// Pods that do not reach every serving shard, with the shards that they miss. A shard that does
/// not serve is reported separately, because no pod can reach it.
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

/// Shards that do not serve: no pod is ready, and no pod answers peers while it turns clients away.
pub(super) fn down(shards: &[ShardState]) -> Vec<usize> {
    let down = shards.iter().enumerate().filter(|(_, shard)| !shard.serves());
    down.map(|(number, _)| number).collect()
}

/// Whether a pod turns clients away because another node reaches more shards, and still answers its
/// peers.
pub(super) fn answers_peers(facts: &Facts, pod: &str) -> bool {
    let active = facts.active_generation();
    facts.pods.get(pod).is_some_and(says_not_ready)
        && facts.member(pod).is_some_and(|member| {
            !member.unreachable.is_empty() && Some(member.active_generation) == active
        })
}

/// Tables whose probes fail according to the leader: those with wrong sums, and all.
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

/// Whether a pod's report counts.
fn speaks(facts: &Facts, pod: &str) -> bool {
    facts.pods.get(pod).is_some_and(|pod| is_ready(pod) || says_not_ready(pod))
}

/// Whether the pod's processes run, and one of them answers its probe that it is not ready. If a
/// machine is gone, the pod is not ready either, but its containers' state does not change.
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
