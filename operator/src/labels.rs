//! Labels and owner references of the operator's objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// The field manager of applies, in `metadata.managedFields`. It must not be renamed: fields owned
/// under another name would stay forever.
pub(crate) const FIELD_MANAGER: &str = "opaque-operator";
/// The field manager of status.
pub(crate) const STATUS_MANAGER: &str = "opaque-operator-status";

/// Key of the product's name.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
/// Key of the component to which an object belongs: `node`, `prepare`.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
/// Key of the instance: the cluster.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// Key of the program that manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`NAME`].
pub(crate) const PRODUCT: &str = "opaque";
/// Value of [`MANAGED_BY`]. Watches select by it, most importantly the watch of Secrets.
pub(crate) const OPERATOR: &str = "opaque-operator";
/// Value of [`MANAGED_BY`] for objects that nodes create.
pub(crate) const NODE: &str = "opaque-node";
/// Key of the OpaqueCluster to which an object belongs.
pub(crate) const CLUSTER: &str = "opaque.dev/cluster";
/// Key of a shard's number.
pub(crate) const SHARD: &str = "opaque.dev/shard";
/// Key of the OpaqueTable to which an object belongs.
pub(crate) const TABLE: &str = "opaque.dev/table";
/// Key of a Lease's purpose: `member`, `leader`, or [`WAITING`].
pub(crate) const LEASE: &str = "opaque.dev/lease";
/// Value of [`LEASE`] if the holder is an operator that waits for the namespace.
pub(crate) const WAITING: &str = "waiting";

/// Annotation of an applied object: its digest.
pub(crate) const APPLIED: &str = "opaque.dev/applied";
/// Annotation of an operator's Lease: the holder's release.
pub(crate) const RELEASE: &str = "opaque.dev/release";
/// Annotation of a member's Lease: the node's report, as JSON.
pub(crate) const MEMBER: &str = "opaque.dev/member";
/// Annotation of a shard map: the SQL names of the tables that the operator owns, as a JSON array.
pub(crate) const TABLES: &str = "opaque.dev/tables";

/// Labels of an object that belongs to a cluster as a whole.
pub(crate) fn of_cluster(cluster: &str) -> BTreeMap<String, String> {
    labels([(NAME, PRODUCT), (INSTANCE, cluster), (MANAGED_BY, OPERATOR), (CLUSTER, cluster)])
}

/// Labels of an object that belongs to one shard.
pub(crate) fn of_shard(cluster: &str, shard: i32) -> BTreeMap<String, String> {
    let mut labels = of_cluster(cluster);
    labels.insert(SHARD.into(), shard.to_string());
    labels
}

/// Labels that select a cluster's node pods. They are immutable in a StatefulSet.
pub(crate) fn select_nodes(cluster: &str) -> BTreeMap<String, String> {
    labels([(NAME, PRODUCT), (COMPONENT, "node"), (CLUSTER, cluster)])
}

/// Labels from pairs.
pub(crate) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A selector in the format of the API's list requests.
pub(crate) fn selector(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Metadata of an object that `owner` controls, so that it is removed with the owner.
pub(crate) fn owned<K>(owner: &K, name: String, labels: BTreeMap<String, String>) -> ObjectMeta
where
    K: Resource<DynamicType = ()>,
{
    ObjectMeta {
        name: Some(name),
        namespace: owner.meta().namespace.clone(),
        labels: Some(labels),
        owner_references: owner.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The reference to the controlling owner, if there is one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
