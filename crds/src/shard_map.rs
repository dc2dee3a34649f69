//! `OpaqueShardMap`: the shards of a cluster and the epochs that they serve.
//!
//! A change of the map writes `spec.map` with a higher generation. The leader copies it to
//! `status.active` when the nodes may serve it. Both are stored, because nodes serve the active
//! generation while they prepare the next. Writers use `resourceVersion`. Rules refuse writes of a
//! stale writer: generations and fencing tokens never decrease.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::LocalReference;

/// Version of the rule that gives partitions to shards. Nodes refuse a map of another version.
pub const PLACEMENT_VERSION: u32 = 1;
/// Points of each shard on the ring of consistent hashing. Nodes refuse maps with another number.
pub const VIRTUAL_NODES: u32 = 64;

/// The shard map of one OpaqueCluster.
#[derive(Debug, Clone, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "opaque.dev",
    version = "v1alpha1",
    kind = "OpaqueShardMap",
    namespaced,
    cel,
    derive = "PartialEq",
    status = "OpaqueShardMapStatus",
    shortname = "oqm",
    category = "opaque",
    doc = "The shard map of one OpaqueCluster. The operator and the nodes write it; users should not.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Proposed", type_ = "integer", json_path = ".spec.map.generation"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active.generation"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Token", type_ = "integer", json_path = ".status.fencingToken", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.clusterRef.name").message(
        "an OpaqueShardMap has the name of its OpaqueCluster"
    ),
    validation = Rule::new("!has(self.status) || !has(self.status.active) || self.status.active.generation <= self.spec.map.generation").message(
        "a generation must be proposed before it can become active"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueShardMapSpec {
    /// The OpaqueCluster that the map belongs to. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub cluster_ref: LocalReference,

    /// The newest map: the active one, or the proposed one.
    #[x_kube(validation = Rule::new("self == oldSelf || self.generation > oldSelf.generation").message(
        "a changed map must have a higher generation"
    ))]
    pub map: ShardMap,

    /// Generations that were withdrawn while they waited for the nodes, newest last. They never
    /// become active.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["generation".into()]))]
    pub withdrawn: Vec<Rejection>,
}

impl OpaqueShardMapSpec {
    /// Number of withdrawn generations to keep.
    const WITHDRAWN: usize = 16;
    /// Maximum length of a reason, in characters.
    const REASON: usize = 1024;

    /// Withdraws a proposed generation. The caller has checked that it still waits, in the version
    /// of the object that the caller replaces.
    pub fn withdraw(&mut self, generation: i64, reason: &str) {
        let reason = reason.chars().take(Self::REASON).collect();
        self.withdrawn.push(Rejection { generation, reason });
        let old = self.withdrawn.len().saturating_sub(Self::WITHDRAWN);
        self.withdrawn.drain(..old);
    }
}

impl OpaqueShardMap {
    /// The map that queries use, or `None` if the status was copied from another object. Such a map
    /// is not served.
    pub fn active(&self) -> Option<&ShardMap> {
        let status = self.status.as_ref()?;
        let foreign = status.uid.is_some() && status.uid != self.metadata.uid;
        status.active.as_ref().filter(|_| !foreign)
    }

    /// Whether a generation was rejected or withdrawn. Only the newest are remembered.
    pub fn has_given_up(&self, generation: i64) -> bool {
        let rejected = self.status.iter().flat_map(|status| &status.rejected);
        let mut given_up = rejected.chain(&self.spec.withdrawn);
        given_up.any(|one| one.generation == generation)
    }
}

/// One generation of the map.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardMap {
    /// Version of the map.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 9007199254740991").message(
        "must be between 1 and 2^53-1"
    ))]
    pub generation: i64,
    /// Version of the rule that assigns partitions to shards. Nodes with another version refuse the
    /// map.
    #[x_kube(validation = Rule::new("self >= 1").message("must be at least 1"))]
    pub placement_version: i32,
    /// Number of points of each shard on the hash ring.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1024").message("must be between 1 and 1024"))]
    pub virtual_nodes: i32,
    /// The shards.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["id".into()]),
        validation = Rule::new("self.all(s, s.id >= 0 && s.id < size(self))").message(
            "shards must be numbered 0, 1, 2 and so on, without gaps"
        )
    )]
    pub shards: Vec<ShardWeight>,
    /// The epoch of each table.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["table".into()]))]
    pub tables: Vec<TableEpoch>,
    /// When the map was proposed.
    pub proposed_at: Time,
}

/// A shard and its weight.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardWeight {
    /// Number of the shard.
    pub id: i32,
    /// Weight of the shard. Its share of the load is its weight divided by the sum of all weights.
    #[x_kube(validation = Rule::new("self >= 1").message("must be at least 1"))]
    pub weight: i32,
}

/// A table and the epoch of it that a map serves.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableEpoch {
    /// Name of the table in SQL.
    #[schemars(length(min = 1, max = 63))]
    pub table: String,
    /// Epoch of the table.
    #[x_kube(validation = Rule::new("self >= 1").message("must be at least 1"))]
    pub epoch: i64,
    /// Name of the OpaqueTable that owns the table. Only the operator changes the epoch of an owned
    /// table. If absent, clients with the right to load may change the epoch.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// The status of the map, which the leader writes.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.fencingToken) || (has(self.fencingToken) && self.fencingToken >= oldSelf.fencingToken)").message(
    "fencingToken must not decrease: another node has become leader"
))]
pub struct OpaqueShardMapStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The map that queries use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf || self.generation > oldSelf.generation").message(
        "another map can be active only with a higher generation"
    ))]
    pub active: Option<ShardMap>,
    /// Name of the node that wrote this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Fencing token: the number of leader changes when that node became leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
    /// `metadata.uid` of this object when `active` was written. If it differs from the object's
    /// uid, the status was copied from another object, and its map is not served.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How long the proposed map has waited for the nodes, over all leaders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
    /// Generations that the leader rejected, newest last.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["generation".into()]))]
    pub rejected: Vec<Rejection>,
    /// Conditions: Progressing and Degraded.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How long a proposed map has waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// Generation of the proposed map.
    pub generation: i64,
    /// Seconds since the proposal, as counted by the leaders. Time in which the store was
    /// unreadable is not counted.
    pub seconds: i64,
}

/// A rejected or withdrawn generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Number of the generation.
    pub generation: i64,
    /// Reason.
    #[schemars(length(max = 1024))]
    pub reason: String,
}
