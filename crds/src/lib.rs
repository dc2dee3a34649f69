//! Opaque's custom resources, group `opaque.dev`, version `v1alpha1`.
//!
//! **What.** [`OpaqueCluster`] and [`OpaqueTable`] are what people write; [`OpaqueShardMap`] is where
//! the operator and a cluster's nodes agree who serves what. Doc comments of fields become
//! `kubectl explain`, rules become CEL in the CRD, and both are generated into
//! `charts/opaque-crds` (`make crds`).
//!
//! **Why rules are CEL.** The API server refuses a bad object when it is written, with no webhook that
//! could be down, and `validate_cel` runs the same rules in the operator, where an object may come
//! from a time before the rule. Bounds that merely limit the cost of a rule are in the schema; a
//! bound that a person may hit is a rule, since a rule can say what to do.
//!
//! **Map.**
//! - [`cluster`], [`table`], [`shard_map`]: the three kinds;
//! - [`status`]: conditions and operations, which all kinds report;
//! - [`reference`](mod@reference): how one object names another;
//! - [`names`]: names of the objects made for a cluster, which bound the name of the cluster itself.
//!
//! **Limits.** Pure data: no client, no async runtime, no engine. Integers are signed and at most
//! 2^53, and there are no floats, as Kubernetes' API conventions ask.
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

/// The definitions of all kinds, in the order in which they are to be applied.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [OpaqueCluster::crd(), OpaqueTable::crd(), OpaqueShardMap::crd()]
}
