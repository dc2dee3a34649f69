//! `OpaqueTable`: one table of a cluster and the source of its rows.

mod dialect;
mod prepare;
pub mod report;
mod schema;
mod source;
mod state;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use dialect::Dialect;
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
    doc = "A table of an OpaqueCluster and the source of its rows. Its name in SQL is metadata.name with '-' replaced by '_'.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.activeEpoch", description = "Epoch that is served"),
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
        "is immutable: delete the table and create it in the other cluster"
    ))]
    pub cluster_ref: LocalReference,

    /// The table's columns.
    pub schema: Schema,

    /// Source of the rows.
    pub source: Source,

    /// Rate of the link between clients and the cluster in Mbit/s, from 1 to 100000. Defaults
    /// to 50. On a slow link, matrices get larger buckets, so that lookups transfer fewer bytes. On
    /// a fast link they get smaller buckets, so that lookups compute less. A change creates a new
    /// epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000").message("must be between 1 and 100000 Mbit/s"))]
    pub link_mbits: Option<i32>,

    /// Limits of the Jobs that prepare epochs.
    #[serde(default)]
    pub prepare: Prepare,

    /// Pins the table to this epoch (rollback). It must be one of `status.epochs`. Remove the field
    /// to serve the newest epoch again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 999999999999").message(
        "must be the number of an epoch in status.epochs"
    ))]
    pub epoch: Option<i64>,

    /// Number of old epochs to keep when a new one is prepared, from 1 to 100. The new epoch is not
    /// counted, and epochs in use are always kept. Older epochs are removed from `status.epochs`
    /// when the Job starts, and from the store when it ends.
    #[serde(default = "default_retain_epochs")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("must be between 1 and 100"))]
    pub retain_epochs: i32,
}

impl OpaqueTable {
    /// The table's name in SQL, or an empty string if the object has no name.
    pub fn sql_name(&self) -> String {
        names::sql_table(self.metadata.name.as_deref().unwrap_or_default())
    }
}

fn default_retain_epochs() -> i32 {
    3
}
