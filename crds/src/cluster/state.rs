//! What the operator reports about a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Operation;

/// State of a cluster as the operator last observed it. What moves fast, or grows with the number of
/// shards, is in the OpaqueShardMap of the same name.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueClusterStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Available, Progressing, Degraded, CertificatesReady, ShardsBalanced, Paused, and Contested while
    /// another release of the operator waits for the namespace.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What is under way, and what it waits for.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub operations: Vec<Operation>,
    /// Shards that exist: the accepted number, whatever the spec says.
    #[serde(default)]
    pub shards: i32,
    /// Pods that each shard has: the accepted number, whatever the spec says; 0 before there are any.
    #[serde(default)]
    pub replicas_per_shard: i32,
    /// Shards with at least one ready replica.
    #[serde(default)]
    pub ready_shards: i32,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready: they serve the active generation.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the nodes' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Pod that leads the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Generation of the shard map that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_generation: Option<i64>,
    /// Tables that are served.
    #[serde(default)]
    pub tables: i32,
    /// Tables that pods cannot serve, the first 100; those that no pod of the shard serves come
    /// first.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_tables: Vec<MissingTable>,
    /// End of the certificate that ends first, or of its authority if that is before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates_not_after: Option<Time>,
    /// End of the revocation list that ends first: from then on nodes refuse each other. It lies
    /// after the end of every certificate that is in use, whether or not the operator runs. Absent
    /// where an issuer of cert-manager signs.
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
    /// The pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The shard that it is a replica of.
    pub shard: i32,
    /// Why it cannot load the table.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Whether another pod of the shard serves it, so that queries of it are answered.
    pub elsewhere: bool,
}
