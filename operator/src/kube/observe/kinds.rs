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

/// Name under which changes of ConfigMaps are told of which only metadata is watched.
pub(crate) const FOREIGN_CONFIG_MAP: &str = "ConfigMap (metadata)";

/// Kinds that a controller reconciles.
pub(crate) const ROOTS: [&str; 3] = ["OpaqueCluster", "OpaqueTable", "OpaqueShardMap"];

/// Objects that the operator made.
const MADE_BY_OPERATOR: &str = "app.kubernetes.io/managed-by=opaque-operator";
/// Leases are also made by nodes.
const OF_OPAQUE: &str = "app.kubernetes.io/name=opaque";

/// A kind that is watched.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) resource: ApiResource,
    /// Labels that objects must have to be seen.
    pub(super) selector: Option<&'static str>,
    /// A digest of what controllers react to.
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

/// Every kind that is watched as a whole.
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

/// What people write: not status.
fn of_spec(object: &DynamicObject) -> u64 {
    let meta = &object.metadata;
    digest(|hasher| {
        (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(hasher);
        meta.deletion_timestamp.is_some().hash(hasher);
    })
}

/// A cluster as its tables see it: what people write, whether it serves, and what its pods lack.
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

/// A table as its cluster's shard map sees it: what people write, and its epochs.
fn of_table(object: &DynamicObject) -> u64 {
    let epochs = object.data.pointer("/status/epochs").map(ToString::to_string);
    digest(|hasher| (of_spec(object), epochs).hash(hasher))
}

/// Everything.
fn of_version(object: &DynamicObject) -> u64 {
    let meta = &object.metadata;
    digest(|hasher| (&meta.uid, &meta.resource_version).hash(hasher))
}

/// Who holds it and what is said in it: not that it was renewed.
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

/// A member's record without the time of its renewal; one that is no record, as it is.
fn without_heartbeat(member: &str) -> String {
    let Ok(mut record) = serde_json::from_str::<Value>(member) else { return member.into() };
    if let Some(fields) = record.as_object_mut() {
        fields.remove("heartbeat");
    }
    record.to_string()
}

/// Within one process only: the hash is not stable.
pub(super) fn digest(feed: impl FnOnce(&mut std::hash::DefaultHasher)) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    feed(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(version: &str, renewed: &str, holder: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "uid": "1", "resourceVersion": version},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 1},
        }))
        .unwrap()
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
            let lease: DynamicObject = serde_json::from_value(json!({"metadata": {
                "name": "a", "uid": "1", "annotations": {"opaque.dev/member": text},
            }}))
            .unwrap();
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
            serde_json::from_value(json!({"metadata": {
                "name": "a", "uid": "1", "generation": generation, "resourceVersion": version,
                "annotations": {"opaque.dev/rotate-ca": value},
            }}))
            .unwrap()
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
