//! Watched kinds, their selectors, and which changes trigger a reconcile.

use std::hash::{Hash, Hasher};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DynamicObject};
use kube::core::Resource;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable};
use serde_json::Value;

use crate::labels;

/// The kind under which changes of ConfigMaps are reported if only their metadata is watched.
pub(crate) const FOREIGN_CONFIG_MAP: &str = "ConfigMap (metadata)";

/// Kinds that a controller reconciles.
pub(crate) const ROOTS: [&str; 3] = ["OpaqueCluster", "OpaqueTable", "OpaqueShardMap"];

/// Selects objects that the operator created.
const MADE_BY_OPERATOR: &str = "app.kubernetes.io/managed-by=opaque-operator";
/// Selects Leases, which nodes create too.
const OF_OPAQUE: &str = "app.kubernetes.io/name=opaque";

/// A watched kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) resource: ApiResource,
    /// Label selector of the watched objects.
    pub(super) selector: Option<&'static str>,
    /// A digest of the parts to which controllers react.
    pub(super) digest: fn(&DynamicObject) -> u64,
}

impl Kind {
    fn new<K: Resource<DynamicType = ()>>(
        name: &'static str,
        selector: Option<&'static str>,
        digest: fn(&DynamicObject) -> u64,
    ) -> Self {
        Self { name, resource: ApiResource::erase::<K>(&()), selector, digest }
    }
}

/// Every kind that is watched as whole objects.
pub(super) fn all() -> Vec<Kind> {
    let made = Some(MADE_BY_OPERATOR);
    vec![
        Kind::new::<OpaqueCluster>("OpaqueCluster", None, of_cluster),
        Kind::new::<OpaqueTable>("OpaqueTable", None, of_table),
        Kind::new::<OpaqueShardMap>("OpaqueShardMap", None, of_version),
        Kind::new::<StatefulSet>("StatefulSet", made, of_version),
        Kind::new::<Pod>("Pod", made, of_version),
        Kind::new::<Job>("Job", made, of_version),
        Kind::new::<Service>("Service", made, of_version),
        Kind::new::<ServiceAccount>("ServiceAccount", made, of_version),
        Kind::new::<Role>("Role", made, of_version),
        Kind::new::<RoleBinding>("RoleBinding", made, of_version),
        Kind::new::<PodDisruptionBudget>("PodDisruptionBudget", made, of_version),
        Kind::new::<NetworkPolicy>("NetworkPolicy", made, of_version),
        Kind::new::<ConfigMap>("ConfigMap", made, of_version),
        Kind::new::<Secret>("Secret", made, of_version),
        Kind::new::<Lease>("Lease", Some(OF_OPAQUE), of_lease),
    ]
}

/// The parts that users write, without status.
fn of_spec(object: &DynamicObject) -> u64 {
    let meta = &object.metadata;
    digest(|hasher| {
        (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(hasher);
        meta.deletion_timestamp.is_some().hash(hasher);
    })
}

/// The parts of a cluster that its tables depend on: what users write, whether it serves, and what
/// its pods lack.
fn of_cluster(object: &DynamicObject) -> u64 {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let available = conditions
        .into_iter()
        .flatten()
        .find(|one| one.get("type").is_some_and(|it| it == "Available"));
    let word = |name: &str| available.and_then(|one| one.get(name)).map(ToString::to_string);
    let missing = object.data.pointer("/status/missingTables").map(ToString::to_string);
    digest(|hasher| {
        (of_spec(object), word("status"), word("reason"), word("message"), missing).hash(hasher);
    })
}

/// The parts of a table that its cluster's shard map depends on: what users write, and its epochs.
fn of_table(object: &DynamicObject) -> u64 {
    let epochs = object.data.pointer("/status/epochs").map(ToString::to_string);
    digest(|hasher| (of_spec(object), epochs).hash(hasher))
}

/// The whole object.
fn of_version(object: &DynamicObject) -> u64 {
    let meta = &object.metadata;
    digest(|hasher| (&meta.uid, &meta.resource_version).hash(hasher))
}

/// The holder and the annotations, without the time of renewal.
fn of_lease(object: &DynamicObject) -> u64 {
    let meta = &object.metadata;
    let spec = object.data.get("spec");
    let field = |name: &str| spec.and_then(|spec| spec.get(name)).map(ToString::to_string);
    let mut annotations = meta.annotations.clone();
    if let Some(member) = annotations.iter_mut().find_map(|all| all.get_mut(labels::MEMBER)) {
        *member = without_heartbeat(member);
    }
    digest(|hasher| {
        (&meta.uid, &meta.labels, annotations).hash(hasher);
        (field("holderIdentity"), field("leaseTransitions")).hash(hasher);
    })
}

/// A member's report without the time of its renewal. A malformed report is returned unchanged.
fn without_heartbeat(member: &str) -> String {
    let Ok(mut record) = serde_json::from_str::<Value>(member) else { return member.into() };
    if let Some(fields) = record.as_object_mut() {
        fields.remove("heartbeat");
    }
    record.to_string()
}

/// The digest is valid within one process only, because the hash is not stable.
pub(super) fn digest(feed: impl FnOnce(&mut std::hash::DefaultHasher)) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    feed(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {

    use super::*;

    fn lease(version: &str, renewed: &str, holder: &str) -> DynamicObject {
        object!({
            "metadata": {"name": "a", "uid": "1", "resourceVersion": version},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 1},
        })
    }

    #[test]
    fn a_renewal_of_a_lease_does_not_matter_but_its_holder_does() {
        let before = of_lease(&lease("1", "2026-01-01T00:00:00.000000Z", "a"));
        assert_eq!(before, of_lease(&lease("2", "2026-01-01T00:00:02.000000Z", "a")));
        assert_ne!(before, of_lease(&lease("3", "2026-01-01T00:00:02.000000Z", "b")));
    }

    #[test]
    fn a_members_heartbeat_does_not_matter_but_what_it_says_does() {
        let record = |text: &str| -> u64 {
            let lease: DynamicObject = object!({"metadata": {
                "name": "a", "uid": "1", "annotations": {"opaque.dev/member": text},
            }});
            of_lease(&lease)
        };
        let before = record(r#"{"node":"a","trust":"x","heartbeat":1}"#);
        assert_eq!(before, record(r#"{"node":"a","trust":"x","heartbeat":2}"#));
        assert_ne!(before, record(r#"{"node":"a","trust":"y","heartbeat":1}"#));
        assert_ne!(record("{damaged"), record("{damaged too"));
    }

    #[test]
    fn a_status_does_not_matter_but_a_spec_and_an_annotation_do() {
        let object = |generation: i64, version: &str, value: &str| -> DynamicObject {
            object!({"metadata": {
                "name": "a", "uid": "1", "generation": generation, "resourceVersion": version,
                "annotations": {"opaque.dev/rotate-ca": value},
            }})
        };
        let before = of_spec(&object(1, "1", "x"));
        assert_eq!(before, of_spec(&object(1, "2", "x")));
        assert_ne!(before, of_spec(&object(2, "3", "x")));
        assert_ne!(before, of_spec(&object(1, "3", "y")));
    }

    #[test]
    fn secrets_are_selected_by_the_operators_label() {
        let kinds = all();
        let secret = kinds.iter().find(|kind| kind.name == "Secret").unwrap();
        assert_eq!(secret.selector, Some("app.kubernetes.io/managed-by=opaque-operator"));
        for kind in &kinds {
            assert_eq!(kind.name, kind.resource.kind);
        }
    }
}
