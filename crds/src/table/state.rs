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
    /// The Job that prepares the next epoch, or the last that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// The epochs in the store, newest first, without those that are about to be removed.
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
    /// The nodes' refusal to serve it. It is not proposed again until the table's spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedEpoch>,
}

/// Why the nodes do not serve an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedEpoch {
    /// Generation of the shard map that proposed the epoch.
    pub map_generation: i64,
    /// The table's `metadata.generation` at that time: a later one may be tried again.
    pub observed_generation: i64,
    /// Why, in the words of the node that leads.
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// A Job that prepares an epoch, and how often that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// Identity of the source that it reads.
    #[schemars(length(max = 128))]
    pub run: String,
    /// Number of the Job, `<table>-prepare-<number>`.
    pub job: i64,
    /// How many Jobs in a row failed for this source.
    #[serde(default)]
    pub failures: i32,
    /// Why that Job failed; absent while it runs, and once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PreparationFailure>,
}

/// Why a Job failed, and when the next is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreparationFailure {
    /// One word, such as `SourceNotFound`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// What happened.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it is tried again; absent if only a change of the source or the spec can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
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
