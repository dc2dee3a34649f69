//! What is there of a cluster: sets, pods, members, map.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use opaque_crds::cluster::MissingTable;
use opaque_crds::shard_map::ShardMap;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, names};
use serde::Deserialize;

use super::missing::missing;
use super::reach::answers_peers;
use super::rollout::{Phase, PodState, ShardState};
use super::shape::{Shape, shard_of};
use crate::error::Error;
use crate::kube::{Observed, is_ready, is_renewed};
use crate::labels::{self, controller_of};

/// Label of a pod: the revision of its set that it was made of.
const REVISION: &str = "controller-revision-hash";

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
    /// Why it cannot read the store.
    pub(super) store: Option<String>,
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
    /// The pod that leads. One that has not renewed its Lease does not.
    pub(super) leader: Option<String>,
    /// When the nodes' ServiceAccount was made.
    pub(super) account_made: Option<Time>,
}

impl Facts {
    /// Reads the stores.
    ///
    /// # Errors
    /// When the cluster's map does not fit its kind.
    pub(super) fn observe(
        observed: &Observed,
        cluster: &OpaqueCluster,
        now: Timestamp,
    ) -> Result<Self, Error> {
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
            .and_then(|lease| lease.spec.as_ref())
            .filter(|lease| is_renewed(lease, now))
            .and_then(|lease| lease.holder_identity.clone())
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
        let account = observed.get::<ServiceAccount>(&namespace, &names::node_account(&name))?;
        let account_made = account.and_then(|account| account.metadata.creation_timestamp);
        Ok(Self { sets, leftover, pods, map, members, missing, leader, account_made })
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

    /// A shard's pods.
    pub(super) fn shard(&self, cluster: &str, shape: Shape, shard: i32) -> ShardState {
        let settled = self.set(shard).filter(|set| is_settled(set));
        let pods = (0..shape.replicas).map(|replica| names::pod(cluster, shard, replica));
        ShardState {
            settled: settled.is_some(),
            available: settled.is_some_and(|set| is_available(set, shape.replicas)),
            pods: pods.map(|name| self.pod(name, settled)).collect(),
        }
    }

    /// The API server takes a pod's token only while the ServiceAccount is the one that it was issued for.
    fn is_older_than_its_account(&self, pod: &Pod) -> bool {
        let made = pod.metadata.creation_timestamp.as_ref();
        made.zip(self.account_made.as_ref()).is_some_and(|(pod, account)| pod.0 < account.0)
    }

    /// A pod of a set, of which all is known if it is settled.
    fn pod(&self, name: String, settled: Option<&StatefulSet>) -> PodState {
        let pod = self.pods.get(&name).filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let phase = match pod {
            None => Phase::Gone,
            Some(pod) if is_ready(pod) => Phase::Ready,
            Some(_) if answers_peers(self, &name) => Phase::Peers,
            Some(_) => Phase::Down,
        };
        let newest = settled.and_then(|set| set.status.as_ref()?.update_revision.as_ref());
        let void = settled.is_some() && pod.is_some_and(|pod| self.is_older_than_its_account(pod));
        let outdated = void
            || pod.zip(newest).is_some_and(|(pod, newest)| {
                pod.labels().get(REVISION).is_some_and(|revision| revision != newest)
            });
        PodState {
            phase,
            outdated,
            lacks: self.missing.iter().any(|table| table.pod == name && table.elsewhere),
            leads: self.leader.as_ref() == Some(&name),
            void,
            name,
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

/// Whether the set's controller has seen it as it is.
fn is_settled(set: &StatefulSet) -> bool {
    set.status.as_ref().is_some_and(|it| it.observed_generation >= set.metadata.generation)
}

/// Whether the set's controller counts every pod as available: ready, and for long enough. A set that somebody
/// has scaled up has more of them; the next apply puts it back.
fn is_available(set: &StatefulSet, replicas: i32) -> bool {
    set.status.as_ref().is_some_and(|status| status.available_replicas >= Some(replicas))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_outdated_by_its_revision_or_its_account() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "demo-shard-0", "generation": 2, "labels": {"opaque.dev/shard": "0"}},
            "spec": {"selector": {}, "serviceName": "x", "template": {}},
            "status": {"replicas": 1, "observedGeneration": 2, "updateRevision": "r2"},
        }))
        .unwrap();
        let pod = |revision: &str, made: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {
                "name": "demo-shard-0-0", "creationTimestamp": made,
                "labels": {"controller-revision-hash": revision},
            }}))
            .unwrap()
        };
        let outdated = |set: &StatefulSet, pod: Pod| {
            let facts = Facts {
                sets: vec![set.clone()],
                pods: [("demo-shard-0-0".to_owned(), pod)].into(),
                account_made: Some(Time("2026-01-01T00:00:10Z".parse().unwrap())),
                ..Facts::default()
            };
            let shape = Shape { shards: 1, replicas: 1 };
            facts.shard("demo", shape, 0).pods[0].outdated
        };
        let (before, after) = ("2026-01-01T00:00:09Z", "2026-01-01T00:00:10Z");
        assert!(!outdated(&set, pod("r2", after)));
        assert!(outdated(&set, pod("r1", after)));
        assert!(outdated(&set, pod("r2", before)));
        // Nothing is known before the set's controller has seen the template.
        let mut unseen = set;
        unseen.metadata.generation = Some(3);
        assert!(!outdated(&unseen, pod("r1", before)));
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
