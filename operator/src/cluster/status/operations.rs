//! Operations in progress in a cluster, and what they wait for.

use super::causes::{lacks, node_failure, node_words, proposal, some, store_trouble};
use crate::cluster::facts::Facts;
use crate::cluster::findings::Findings;
use crate::cluster::reach;
use crate::cluster::rollout::{Hold, Replacement, ShardState};
use crate::kube::Activity;

/// The operations in progress, and what they wait for.
pub(super) fn activities(found: &Findings<'_>, troubles: &[String]) -> Vec<Activity> {
    let mut activities = Vec::new();
    if let Some(set) = &found.facts.leftover {
        let by = format!("StatefulSet {set} of a deleted OpaqueCluster of the same name");
        activities.push(Activity::blocked("Removal", "Waiting", by));
    }
    if !found.secrets.is_empty() {
        activities.push(Activity::blocked("Secrets", "Reading", found.secrets.join("; ")));
    }
    if let Some(activity) = rollout(found, troubles) {
        activities.push(activity);
    }
    if let Some(generation) = proposal(found.facts) {
        let step = format!("Generation {generation}");
        let blocked = node_failure(found.facts).or_else(|| store_trouble(found));
        activities.push(match blocked.or_else(|| node_words(found.facts)) {
            Some(words) => Activity::blocked("Activation", step, words),
            None => Activity::going("Activation", step),
        });
    }
    if let Some(state) = &found.certificates {
        activities.extend(state.operations.clone());
    }
    activities
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

/// Reports that the pod which holds up the rest is stuck in termination, because its machine does
/// not answer.
fn ending(facts: &Facts, replacement: &Replacement) -> Option<String> {
    let Hold::Pod(name) = replacement.hold.as_ref()? else { return None };
    let pod = facts.pods.get(name)?;
    pod.metadata.deletion_timestamp.as_ref()?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node");
    Some(format!("pod {name} is ending: if {node} is gone for good, delete that Node"))
}
