//! The status of a table.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Operation;

/// State of the table as the operator last observed it.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueTableStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Available, Progressing and Degraded.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Operations in progress, and what each waits for.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub operations: Vec<Operation>,
    /// The epoch that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_epoch: Option<i64>,
    /// Number of rows of that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Size of all segments of that epoch in bytes: rows and hints of every searchable column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Digest that identifies the source of the newest epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// The Job that prepares the next epoch, or the last one that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// The epochs in the store, newest first, without those that a Job is about to remove.
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
    /// Number of the epoch.
    pub epoch: i64,
    /// Digest of its manifest.
    pub digest: String,
    /// Number of rows.
    pub rows: i64,
    /// Size of all segments in bytes.
    pub bytes: i64,
    /// When it was published.
    pub published: Time,
    /// Set if the nodes refused to serve the epoch. The operator does not propose it again until
    /// the table's spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedEpoch>,
}

/// Why the nodes do not serve an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedEpoch {
    /// Generation of the shard map that proposed the epoch.
    pub map_generation: i64,
    /// The table's `metadata.generation` when the epoch was rejected. The operator may propose the
    /// epoch again after a later change.
    pub observed_generation: i64,
    /// Reason that the leader gave.
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// A Job that prepares an epoch, and the number of failed attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// Digest that identifies the source.
    #[schemars(length(max = 128))]
    pub run: String,
    /// Number of the Job, `<table>-prepare-<number>`.
    pub job: i64,
    /// Number of consecutive failed Jobs for this source.
    #[serde(default)]
    pub failures: i32,
    /// Why the Job failed. Absent while it runs and after it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PreparationFailure>,
}

/// Why a Job failed, and when it is retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreparationFailure {
    /// Reason in one word, such as `SourceNotFound`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Description of the failure.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Time of the next attempt. Absent if only a change of the source or the spec can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// Size of the matrix of a searchable column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexGeometry {
    /// Name of the column.
    pub column: String,
    /// Number of buckets, which are the columns of the matrix.
    pub buckets: i64,
    /// Size of each bucket in bytes.
    pub bucket_bytes: i64,
    /// Cost of one lookup on this column.
    pub cost: QueryCost,
}

/// Cost of one lookup. It is the same for every value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryCost {
    /// Bytes that a client sends.
    pub upload_bytes: i64,
    /// Bytes that a client receives.
    pub download_bytes: i64,
    /// Bytes that all shards together read from memory.
    pub scan_bytes: i64,
}
