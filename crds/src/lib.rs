//! Opaque's custom resources, group `opaque.dev`, version `v1alpha1`.
//!
//! **What.** Users write [`OpaqueCluster`] and [`OpaqueTable`]. The operator and the nodes of a
//! cluster agree in [`OpaqueShardMap`] on which shards serve which epochs. `kubectl explain` shows
//! the doc comments of fields, and rules become CEL in the CRD. `make crds` generates both into
//! `charts/opaque-crds`.
//!
//! **Why rules are CEL.** The API server refuses an invalid object when it is written, without a
//! webhook that could be unavailable. `validate_cel` runs the same rules in the operator, because
//! an object may be older than a rule. Bounds that only limit the cost of a rule are in the schema.
//! A bound that users may reach is a rule, because a rule has a message that says what to do.
//!
//! **Map.**
//! - [`cluster`], [`table`], [`shard_map`]: the three kinds;
//! - [`status`]: conditions and operations, which all kinds report;
//! - [`reference`](mod@reference): how one object names another;
//! - [`names`]: names of the objects that the operator creates. They limit the length of a
//!   cluster's name.
//!
//! **Limits.** The crate has no client, no async runtime and no engine. Integers are signed and at
//! most 2^53, and there are no floats, as the Kubernetes API conventions require.
#![forbid(unsafe_code)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema derives from a copy of each struct inside a function"
)]

pub mod cluster;
pub mod names;
pub mod reference;
pub mod shard_map;
pub mod status;
pub mod table;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use cluster::{OpaqueCluster, OpaqueClusterSpec};
pub use shard_map::{OpaqueShardMap, OpaqueShardMapSpec};
pub use table::{OpaqueTable, OpaqueTableSpec};

/// API group of every kind here.
pub const GROUP: &str = "opaque.dev";

/// The definitions of all kinds, in the order in which to apply them.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [OpaqueCluster::crd(), OpaqueTable::crd(), OpaqueShardMap::crd()]
}
