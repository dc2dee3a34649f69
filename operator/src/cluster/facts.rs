//! The observed state of a cluster: sets, pods, members and map.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueShardMap;
use opaque_crds::cluster::MissingTable;
use opaque_crds::shard_map::ShardMap;
use serde::Deserialize;

use super::size::shard_of;

/// A node's report, as far as the operator uses it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) node: String,
    pub(super) shard: i64,
    pub(super) failed: Option<Failure>,
    pub(super) message: String,
    pub(super) resident_bytes: u64,
    /// The generation that the node serves.
    pub(super) active_generation: i64,
    pub(super) prepared_generation: i64,
    /// Epochs of the tables that the node serves.
    pub(super) tables: BTreeMap<String, i64>,
    /// Tables that the node cannot serve, with reasons.
    pub(super) missing: BTreeMap<String, String>,
    /// Shards of which the node reaches no replica.
    pub(super) unreachable: Vec<i64>,
    /// Why the node cannot read the store.
    pub(super) store: Option<String>,
    /// Tables whose probes fail, reported only by the leader.
    pub(super) probes: BTreeMap<String, FailedProbe>,
}

/// Why a table's probe failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct FailedProbe {
    pub(super) reason: String,
    /// True if every shard answered but the sums were wrong.
    pub(super) wrong: bool,
}

/// A generation that a node could not prepare.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Failure {
    pub(super) generation: i64,
    pub(super) reason: String,
}

/// The observed state of a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) sets: Vec<StatefulSet>,
    /// Name of a set that belonged to a deleted cluster of the same name and is still being
    /// removed.
    pub(super) leftover: Option<String>,
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) map: Option<OpaqueShardMap>,
    /// Reports of members whose pod exists and does not belong to a deleted cluster of the same
    /// name.
    pub(super) members: Vec<Member>,
    /// Tables that members are missing.
    pub(super) missing: Vec<MissingTable>,
    /// The leading pod. A pod that has not renewed its Lease does not lead.
    pub(super) leader: Option<String>,
    /// When the nodes' ServiceAccount was created.
    pub(super) account_made: Option<Time>,
}

impl Facts {
    /// The active map, if its object contains it.
    pub(super) fn active(&self) -> Option<&ShardMap> {
        self.map.as_ref().and_then(OpaqueShardMap::active)
    }

    /// The generation that nodes serve and its number of tables, independent of the map's object.
    pub(super) fn served(&self) -> Option<(i64, i32)> {
        let newest = self.members.iter().max_by_key(|member| member.active_generation)?;
        let tables = i32::try_from(newest.tables.len()).unwrap_or(i32::MAX);
        (newest.active_generation > 0).then_some((newest.active_generation, tables))
    }

    /// The report of a pod's node.
    pub(super) fn member(&self, pod: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.node == pod)
    }

    /// The active generation.
    pub(super) fn active_generation(&self) -> Option<i64> {
        self.active().map(|map| map.generation)
    }

    /// The set of a shard.
    pub(super) fn set(&self, shard: i32) -> Option<&StatefulSet> {
        self.sets.iter().find(|set| shard_of(set) == Some(shard))
    }
}
