//! RBAC of the nodes: their Leases and their cluster's shard map.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use opaque_crds::names;

use super::Blueprint;
use crate::labels;

/// Maximum names in a rule. With more, the object would be too large for etcd.
const MAX_NAMES: i32 = 1000;

/// The nodes' ServiceAccount.
pub(in crate::cluster) fn account(blueprint: &Blueprint<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(blueprint),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The nodes' permissions. They are limited by name: the Lease of each pod, the leader's Lease,
/// which is never deleted while the cluster exists, and the map. Names cannot limit `create`, nor
/// list and watch by label. The chart's policies (`charts/opaque/templates/nodepolicy.yaml`) limit
/// what nodes create, and which parts of the map they change.
pub(in crate::cluster) fn role(blueprint: &Blueprint<'_>) -> Role {
    let leases = ["coordination.k8s.io"];
    let own = ["opaque.dev"];
    let map = Some(vec![blueprint.name()]);
    let leader = Some(vec![names::leader_lease(&blueprint.name())]);
    let rules = vec![
        rule(leases, &["leases"], &["list", "watch", "create"], None),
        rule(leases, &["leases"], &["get", "update", "patch"], leader),
        rule(leases, &["leases"], &["get", "update", "patch", "delete"], member_names(blueprint)),
        rule(own, &["opaqueshardmaps"], &["list", "watch"], None),
        rule(own, &["opaqueshardmaps", "opaqueshardmaps/status"], &["get", "update", "patch"], map),
    ];
    Role { metadata: metadata(blueprint), rules: Some(rules) }
}

/// Binds the role to the nodes' ServiceAccount.
pub(in crate::cluster) fn role_binding(blueprint: &Blueprint<'_>) -> RoleBinding {
    let name = names::node_account(&blueprint.name());
    RoleBinding {
        metadata: metadata(blueprint),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name,
            namespace: Some(blueprint.namespace()),
            api_group: None,
        }]),
    }
}

fn metadata(
    blueprint: &Blueprint<'_>,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let labels: BTreeMap<_, _> = labels::of_cluster(&blueprint.name());
    labels::owned(blueprint.cluster, names::node_account(&blueprint.name()), labels)
}

fn member_names(blueprint: &Blueprint<'_>) -> Option<Vec<String>> {
    let size = blueprint.size;
    if size.shards.saturating_mul(size.replicas) > MAX_NAMES {
        return None;
    }
    let name = blueprint.name();
    let mut leases = Vec::new();
    for shard in 0..size.shards {
        leases.extend((0..size.replicas).map(|replica| names::pod(&name, shard, replica)));
    }
    Some(leases)
}

fn rule(
    groups: [&str; 1],
    resources: &[&str],
    verbs: &[&str],
    names: Option<Vec<String>>,
) -> PolicyRule {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(own(&groups)),
        resources: Some(own(resources)),
        verbs: own(verbs),
        resource_names: names,
        ..PolicyRule::default()
    }
}
