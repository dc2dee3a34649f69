//! The status of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Operation;

/// State of the cluster as the operator last observed it. State that changes often, or that grows
/// with the number of shards, is in the OpaqueShardMap of the same name.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueClusterStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready, Available, Progressing, Degraded, CertificatesReady, ShardsBalanced and
    /// Paused. Contested is present while another release of the operator waits for this namespace.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Operations in progress, and what each waits for.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub operations: Vec<Operation>,
    /// Number of shards that exist. The spec may differ.
    #[serde(default)]
    pub shards: i32,
    /// Number of pods of each shard. The spec may differ. 0 before the pods are created.
    #[serde(default)]
    pub replicas_per_shard: i32,
    /// Number of shards with at least one ready replica.
    #[serde(default)]
    pub ready_shards: i32,
    /// Number of pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Number of pods that are ready, so that they serve the active generation.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the nodes' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Name of the pod that is the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Generation of the active shard map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_generation: Option<i64>,
    /// Number of tables that are served.
    #[serde(default)]
    pub tables: i32,
    /// Tables that a pod cannot serve, at most 100. Those that no pod of the shard serves come
    /// first.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_tables: Vec<MissingTable>,
    /// When the first certificate or its authority expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates_not_after: Option<Time>,
    /// When the first revocation list expires. Nodes refuse each other after that time. It is later
    /// than the expiry of every certificate in use, even if the operator does not run. Absent if a
    /// cert-manager issuer signs the certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_lists_not_after: Option<Time>,
}

/// A table that a pod cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingTable {
    /// The table's name in SQL.
    #[schemars(length(max = 63))]
    pub table: String,
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// Shard of the pod.
    pub shard: i32,
    /// Why the pod cannot load the table.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Whether another pod of the shard serves the table, so that queries on it succeed.
    pub elsewhere: bool,
}
