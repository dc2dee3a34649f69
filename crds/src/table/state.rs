//! What the operator reports about a table.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Operation;

/// State of a table as the operator last observed it.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueTableStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Available, Progressing, Degraded.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What is under way, and what it waits for.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub operations: Vec<Operation>,
    /// The epoch that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_epoch: Option<i64>,
    /// Rows of that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes of all its segments: rows and hints, of every searchable column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Identity of the source that the newest epoch was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// The epochs in the store, newest first.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["epoch".into()]))]
    pub epochs: Vec<Epoch>,
    /// Size of each searchable column's matrix.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["column".into()]))]
    pub geometry: Vec<IndexGeometry>,
}

/// An epoch in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Epoch {
    /// Its number.
    pub epoch: i64,
    /// Digest of its manifest.
    pub digest: String,
    /// Rows.
    pub rows: i64,
    /// Bytes of all its segments.
    pub bytes: i64,
    /// When it was published.
    pub published: Time,
}

/// A searchable column's matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexGeometry {
    /// Name of the column.
    pub column: String,
    /// Buckets: columns of the matrix.
    pub buckets: i64,
    /// Bytes of each bucket.
    pub bucket_bytes: i64,
    /// What one lookup of this column costs.
    pub cost: QueryCost,
}

/// What one lookup costs, whatever is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryCost {
    /// Bytes that a client sends.
    pub upload_bytes: i64,
    /// Bytes that it receives.
    pub download_bytes: i64,
    /// Bytes of memory that all shards scan together.
    pub scan_bytes: i64,
}
