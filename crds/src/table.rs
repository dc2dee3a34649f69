//! `OpaqueTable`: one table of a cluster, and where its rows come from.

mod prepare;
pub mod report;
mod schema;
mod source;
mod state;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use prepare::{Prepare, PrepareResources};
pub use schema::{Column, ColumnType, Role, Schema};
pub use source::{Compression, Format, Source};
pub use state::{
    Epoch, IndexGeometry, OpaqueTableStatus, Preparation, PreparationFailure, QueryCost,
    RejectedEpoch,
};

use crate::names;
use crate::reference::LocalReference;

/// A table of an OpaqueCluster.
#[derive(Debug, Clone, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "opaque.dev",
    version = "v1alpha1",
    kind = "OpaqueTable",
    namespaced,
    cel,
    derive = "PartialEq",
    status = "OpaqueTableStatus",
    shortname = "oqt",
    category = "opaque",
    doc = "A table of an OpaqueCluster, and where its rows come from. In SQL its name is metadata.name with '-' replaced by '_'.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.activeEpoch", description = "Version of the data that is served"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rows"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].reason"),
    printcolumn(name = "Blocked by", type_ = "string", json_path = ".status.operations[*].blockedBy", priority = 1),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 42").message(
        "the name of an OpaqueTable must have at most 42 characters: names of Jobs are derived from it and must stay within 63"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name of an OpaqueTable must start with a letter and have lower-case letters, digits and '-' only: with '_' for '-' it is the table's name in SQL"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct OpaqueTableSpec {
    /// The OpaqueCluster that serves the table. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "is immutable: delete the table and make it in the other cluster"
    ))]
    pub cluster_ref: LocalReference,

    /// The table's columns.
    pub schema: Schema,

    /// Where the rows come from.
    pub source: Source,

    /// Rate of the link between clients and the cluster in Mbit/s, 1 to 100000, 50 when absent. On a slow link
    /// matrices get larger buckets, which send and receive less; on a fast one smaller ones, which compute less. A
    /// change makes a new epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000").message("must be between 1 and 100000 Mbit/s"))]
    pub link_mbits: Option<i32>,

    /// What a Job that makes an epoch may take.
    #[serde(default)]
    pub prepare: Prepare,

    /// Serves this epoch instead of the newest: a rollback, until it is removed. It must be one of
    /// status.epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 999999999999").message(
        "must be the number of an epoch in status.epochs"
    ))]
    pub epoch: Option<i64>,

    /// How many of the newest epochs are kept when the next one is made, which comes on top of them. Those in
    /// use are kept in any case; older ones leave status.epochs when its Job starts, and the store when it
    /// ends. 1 to 100.
    #[serde(default = "default_retain_epochs")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("must be between 1 and 100"))]
    pub retain_epochs: i32,
}

impl OpaqueTable {
    /// The table's name in SQL; empty without a name.
    pub fn sql_name(&self) -> String {
        names::sql_table(self.metadata.name.as_deref().unwrap_or_default())
    }
}

fn default_retain_epochs() -> i32 {
    3
}
