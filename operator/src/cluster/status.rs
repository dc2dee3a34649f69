//! Converts findings to status, as a pure function.

mod causes;
mod conditions;
mod operations;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::status::ConditionType;

use super::findings::Findings;
use super::missing_tables::reported;
use crate::kube::{Conditions, Transition, is_ready, operations};
use crate::labels;
use causes::troubles;
use conditions::{available, balanced, certificates, degraded, progressing};
use operations::activities;

/// The status to report, and its changed conditions.
pub(super) fn status(
    found: &Findings<'_>,
    previous: &OpaqueClusterStatus,
    now: &Time,
) -> (OpaqueClusterStatus, Vec<Transition>) {
    let Findings { cluster, facts, size, shards, .. } = found;
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
        let message = "spec.paused is true: the operator changes nothing and renews no certificates; \
                       queries and failover continue";
        ("SpecPaused", message)
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
        if found.accepted { (size.shards, size.replicas) } else { (0, 0) };
    let certificates = found.certificates.as_ref();
    let not_after = certificates.map(|state| state.not_after.clone());
    let lists_not_after = certificates.map(|state| state.lists_not_after.clone());
    let status = OpaqueClusterStatus {
        observed_generation: generation,
        conditions,
        operations: operations(&previous.operations, activities(found, &troubles), now),
        shards: accepted_shards,
        replicas_per_shard: accepted_replicas,
        ready_shards: count(shards.iter().filter(|shard| shard.serves())),
        replicas: count(facts.pods.values()),
        ready_replicas: count(facts.pods.values().filter(|pod| is_ready(pod))),
        selector: Some(labels::selector(&labels::select_nodes(&name))),
        leader: facts.leader.clone(),
        // The value never decreases: a map that is created again starts above it.
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

#[cfg(test)]
mod tests;
