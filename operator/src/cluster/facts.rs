//! What is there of a cluster: sets, pods, members, map.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use opaque_crds::cluster::MissingTable;
use opaque_crds::shard_map::ShardMap;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, names};
use serde::Deserialize;

use super::build::TEMPLATE;
use super::missing::missing;
use super::reach::answers_peers;
use super::rollout::ShardState;
use super::shape::{Shape, shard_of};
use crate::error::Error;
use crate::labels::{self, controller_of};
use crate::observe::Observed;

/// What a node says of itself, as far as the operator cares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) node: String,
    pub(super) shard: i64,
    pub(super) failed: Option<Failure>,
    pub(super) message: String,
    pub(super) resident_bytes: u64,
    /// The generation that it serves.
    pub(super) active_generation: i64,
    pub(super) prepared_generation: i64,
    /// Epochs of the tables that it serves.
    pub(super) tables: BTreeMap<String, i64>,
    /// Tables that it cannot serve, and why.
    pub(super) missing: BTreeMap<String, String>,
    /// Shards of which it reaches no replica.
    pub(super) unreachable: Vec<i64>,
    /// Tables whose probes fail; of the leader alone.
    pub(super) probes: BTreeMap<String, FailedProbe>,
}

/// Why a table's probe failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct FailedProbe {
    pub(super) reason: String,
    /// Whether every shard answered and the sums were wrong.
    pub(super) wrong: bool,
}

/// A generation that a node could not prepare.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Failure {
    pub(super) generation: i64,
    pub(super) reason: String,
}

/// What is there of a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) sets: Vec<StatefulSet>,
    /// Name of a set of a deleted cluster of the same name, which is still being removed.
    pub(super) leftover: Option<String>,
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) map: Option<OpaqueShardMap>,
    /// Records of members whose pod exists and is not one of a deleted cluster of the same name.
    pub(super) members: Vec<Member>,
    /// Tables that they miss.
    pub(super) missing: Vec<MissingTable>,
    pub(super) leader: Option<String>,
}

impl Facts {
    /// Reads the stores.
    ///
    /// # Errors
    /// When the cluster's map does not fit its kind.
    pub(super) fn observe(observed: &Observed, cluster: &OpaqueCluster) -> Result<Self, Error> {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let nodes = |pod: &Pod| pod.labels().get(labels::COMPONENT).is_some_and(|c| c == "node");
        let pods: BTreeMap<_, _> = observed
            .list::<Pod>(&namespace, labels::CLUSTER, &name)
            .into_iter()
            .filter(nodes)
            .map(|pod| (pod.name_any(), pod))
            .collect();
        let leases = observed.list::<Lease>(&namespace, labels::CLUSTER, &name);
        let leader = leases
            .iter()
            .find(|lease| lease.name_any() == names::leader_lease(&name))
            .and_then(|lease| lease.spec.as_ref()?.holder_identity.clone())
            .and_then(|holder| pod_of_holder(&holder, &pods));
        let uid = cluster.uid();
        let of_another = |meta: &ObjectMeta| {
            controller_of(meta).is_some_and(|owner| Some(&owner.uid) != uid.as_ref())
        };
        let map = observed.get::<OpaqueShardMap>(&namespace, &name)?;
        let map = map.filter(|map| !of_another(&map.metadata));
        let sets = observed.list::<StatefulSet>(&namespace, labels::CLUSTER, &name);
        let (others, sets): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| of_another(&set.metadata));
        let leftover = others.first().map(ResourceExt::name_any);
        let ours = |pod: &Pod| {
            controller_of(&pod.metadata).is_none_or(|owner| {
                sets.iter().any(|set| set.metadata.uid.as_ref() == Some(&owner.uid))
            })
        };
        let members: Vec<Member> = leases
            .iter()
            .filter(|lease| pods.get(&lease.name_any()).is_some_and(ours))
            .filter_map(member)
            .collect();
        let missing = missing(&members, |pod| pods.get(pod).is_some_and(is_ready));
        Ok(Self { sets, leftover, pods, map, members, missing, leader })
    }

    /// The map that queries use, if its object says so.
    pub(super) fn active(&self) -> Option<&ShardMap> {
        self.map.as_ref().and_then(OpaqueShardMap::active)
    }

    /// The generation that nodes serve, and its tables, whatever is written down.
    pub(super) fn served(&self) -> Option<(i64, i32)> {
        let newest = self.members.iter().max_by_key(|member| member.active_generation)?;
        let tables = i32::try_from(newest.tables.len()).unwrap_or(i32::MAX);
        (newest.active_generation > 0).then_some((newest.active_generation, tables))
    }

    /// What a pod's node says of itself.
    pub(super) fn member(&self, pod: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.node == pod)
    }

    /// The generation that is active.
    pub(super) fn active_generation(&self) -> Option<i64> {
        self.active().map(|map| map.generation)
    }

    /// The set of a shard.
    pub(super) fn set(&self, shard: i32) -> Option<&StatefulSet> {
        self.sets.iter().find(|set| shard_of(set) == Some(shard))
    }

    /// A shard's pods, against the digest of the template that they shall have.
    pub(super) fn shard(
        &self,
        cluster: &str,
        shape: Shape,
        shard: i32,
        digest: &str,
    ) -> ShardState {
        let set = self.set(shard);
        let pods = (0..shape.replicas).map(|replica| names::pod(cluster, shard, replica));
        let lacks = |pod: &String| self.missing.iter().any(|m| m.pod == *pod && m.elsewhere);
        let lacking = pods.clone().map(|pod| lacks(&pod)).collect();
        let ready = pods.map(|pod| self.pods.get(&pod).is_some_and(is_ready)).collect();
        ShardState {
            exists: set.is_some(),
            edited: false,
            current: set.is_some_and(|set| {
                set.annotations().get(TEMPLATE).is_some_and(|found| found == digest)
            }),
            settled: set.is_some_and(|set| is_settled(set, shape.replicas)),
            available: set.is_some_and(|set| is_available(set, shape.replicas)),
            ready,
            lacking,
            answers: answers_peers(self, shard),
        }
    }
}

/// A holder's identity begins with its pod's name; what follows tells apart two lives of it.
fn pod_of_holder(holder: &str, pods: &BTreeMap<String, Pod>) -> Option<String> {
    let begins = |pod: &&String| {
        holder.strip_prefix(pod.as_str()).is_some_and(|rest| {
            rest.chars().next().is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
        })
    };
    pods.keys().find(begins).cloned()
}

fn member(lease: &Lease) -> Option<Member> {
    let text = lease.annotations().get(labels::MEMBER)?;
    match serde_json::from_str(text) {
        Ok(member) => Some(member),
        Err(error) => {
            tracing::warn!(lease = lease.name_any(), %error, "a member's record cannot be read");
            None
        }
    }
}

fn is_settled(set: &StatefulSet, replicas: i32) -> bool {
    let Some(status) = &set.status else { return false };
    status.observed_generation >= set.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == replicas
}

/// Whether the set's controller counts every pod as available: ready, and for long enough. A set that somebody
/// has scaled up has more of them; the next apply puts it back.
fn is_available(set: &StatefulSet, replicas: i32) -> bool {
    set.status.as_ref().is_some_and(|status| status.available_replicas >= Some(replicas))
}

/// Whether a pod is ready and stays.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Why a pod does not get going, in Kubernetes' own words; none while nothing is known to be wrong.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node was found for it");
        return Some(format!("cannot be scheduled: {message}"));
    }
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find_map(trouble_of_container)
}

fn trouble_of_container(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if matches!(reason, "ContainerCreating" | "PodInitializing" | "") {
        return None;
    }
    // What a crashed program said last is worth more than that it will be started again.
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let said = last.and_then(|terminated| terminated.message.as_deref()).and_then(last_line);
    let message = said.or(waiting.message.as_deref()).unwrap_or_default();
    Some(format!("container {}: {reason}: {message}", status.name))
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "demo-shard-0-1"}, "status": status}))
            .unwrap()
    }

    #[test]
    fn a_pod_says_why_it_waits() {
        let unscheduled = pod(json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }]}));
        assert!(trouble(&unscheduled).unwrap().contains("Insufficient cpu"));
        let crashed = pod(json!({"containerStatuses": [{
            "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "starting\nerror: no store\n"}},
        }]}));
        let words = trouble(&crashed).unwrap();
        assert_eq!(words, "container node: CrashLoopBackOff: error: no store");
        let starting = pod(json!({"containerStatuses": [{
            "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }]}));
        assert_eq!(trouble(&starting), None);
    }

    #[test]
    fn the_leader_is_a_pod() {
        let pods: BTreeMap<_, _> = ["demo-shard-0-1", "demo-shard-0-11"]
            .map(|name| (name.to_owned(), Pod::default()))
            .into_iter()
            .collect();
        assert_eq!(pod_of_holder("demo-shard-0-11_ab", &pods).as_deref(), Some("demo-shard-0-11"));
        assert_eq!(pod_of_holder("demo-shard-0-1", &pods).as_deref(), Some("demo-shard-0-1"));
        assert_eq!(pod_of_holder("", &pods), None);
    }
}
