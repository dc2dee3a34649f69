//! The operator's permissions: exactly those in decision 009 in the namespaces that it watches, and
//! none elsewhere.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use opaque_e2e::ControlPlane;
use serde_json::json;

use super::apply::{apply, binding, namespace, role, until};
use super::helm::{NAMESPACE, OPERATOR, objects, rendered, root};

const READ: &[&str] = &["get", "list", "watch"];
const OWN: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
const STATUS: &[&str] = &["get", "update", "patch"];

/// Group, resources, verbs: everything that the operator does in a namespace.
const NEEDED: &[(&str, &[&str], &[&str])] = &[
    ("opaque.dev", &["opaqueclusters", "opaquetables"], READ),
    ("opaque.dev", &["opaqueclusters/status", "opaquetables/status"], STATUS),
    ("opaque.dev", &["opaqueclusters/finalizers", "opaquetables/finalizers"], &["update"]),
    ("opaque.dev", &["opaqueshardmaps"], OWN),
    ("opaque.dev", &["opaqueshardmaps/status"], STATUS),
    ("", &["pods"], READ),
    ("", &["pods/eviction"], &["create"]),
    ("", &["events"], &["list"]),
    ("", &["secrets", "services", "configmaps", "serviceaccounts"], OWN),
    ("apps", &["statefulsets"], OWN),
    ("batch", &["jobs"], OWN),
    ("policy", &["poddisruptionbudgets"], OWN),
    ("networking.k8s.io", &["networkpolicies"], OWN),
    ("rbac.authorization.k8s.io", &["roles", "rolebindings"], OWN),
    ("coordination.k8s.io", &["leases"], OWN),
    ("events.k8s.io", &["events"], &["create", "patch"]),
    ("cert-manager.io", &["certificates"], OWN),
    ("monitoring.coreos.com", &["servicemonitors", "prometheusrules"], OWN),
];

#[tokio::test]
async fn the_operator_may_do_what_it_does_and_no_more() -> Result<()> {
    let control_plane = installed(&["watch.namespaces={watched}"]).await?;
    let operator = control_plane.client_as(NAMESPACE, OPERATOR)?;
    assert_eq!(some_rights(&operator, "watched").await?, needed());
    for elsewhere in [NAMESPACE, "foreign", "kube-system"] {
        assert_eq!(rights(&operator, elsewhere).await?, BTreeSet::new(), "{elsewhere}");
    }
    for (namespace, group, resource, verb) in [
        ("", "", "secrets", "list"),
        ("", "", "secrets", "watch"),
        ("", "opaque.dev", "opaqueclusters", "list"),
        ("foreign", "", "secrets", "get"),
        ("foreign", "", "configmaps", "get"),
        ("foreign", "", "pods", "list"),
        ("watched", "", "pods", "create"),
        ("watched", "", "pods/exec", "create"),
        ("watched", "rbac.authorization.k8s.io", "roles", "escalate"),
        ("watched", "rbac.authorization.k8s.io", "roles", "bind"),
        ("watched", "opaque.dev", "opaqueclusters", "update"),
        ("watched", "opaque.dev", "opaquetables", "delete"),
        ("", "", "nodes", "get"),
        ("", "rbac.authorization.k8s.io", "clusterroles", "create"),
    ] {
        let allowed = may(&operator, namespace, group, resource, verb).await?;
        assert!(!allowed, "may {verb} {resource} in {namespace:?}");
    }
    assert!(may(&operator, "watched", "", "secrets", "list").await?);
    assert_reads(&operator).await
}

#[tokio::test]
async fn a_cluster_wide_operator_has_the_same_rights_everywhere() -> Result<()> {
    let control_plane = installed(&["watch.all=true"]).await?;
    let operator = control_plane.client_as(NAMESPACE, OPERATOR)?;
    for name in ["watched", "foreign"] {
        assert_eq!(some_rights(&operator, name).await?, needed(), "{name}");
    }
    assert!(!may(&operator, "", "", "nodes", "get").await?);
    assert!(!may(&operator, "", "rbac.authorization.k8s.io", "clusterroles", "create").await?);
    Ok(())
}

#[tokio::test]
async fn rights_on_kinds_of_other_operators_can_be_left_out() -> Result<()> {
    let without = ["watch.namespaces={watched}", "rbac.certManager=false", "rbac.monitoring=false"];
    let control_plane = installed(&without).await?;
    let operator = control_plane.client_as(NAMESPACE, OPERATOR)?;
    let found = some_rights(&operator, "watched").await?;
    let left_out = |right: &String| {
        right.contains(".cert-manager.io") || right.contains(".monitoring.coreos.com")
    };
    assert_eq!(found, needed().into_iter().filter(|right| !left_out(right)).collect());
    Ok(())
}

#[tokio::test]
async fn the_operator_grants_what_nodes_and_jobs_need_and_nothing_it_lacks() -> Result<()> {
    let control_plane = installed(&["watch.namespaces={watched}"]).await?;
    let operator = control_plane.client_as(NAMESPACE, OPERATOR)?;
    until("the operator's rights are known", async || {
        Ok(may(&operator, "watched", "", "secrets", "list").await?.then_some(()))
    })
    .await?;

    let node = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": OWN},
        {"apiGroups": ["opaque.dev"], "resources": ["opaqueshardmaps"],
         "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": ["opaque.dev"], "resources": ["opaqueshardmaps/status"], "verbs": STATUS},
    ]);
    let job = json!([{
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "resourceNames": ["weather-prepare"], "verbs": ["get", "patch"],
    }]);
    for (name, rules) in [("demo-node", node), ("weather-prepare", job)] {
        apply(&operator, &role("watched", name, rules)).await?;
        apply(&operator, &binding("watched", ("Role", name), name)).await?;
    }

    let more = json!([{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]);
    let error = apply(&operator, &role("watched", "more", more)).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("is attempting to grant RBAC permissions not currently held")
    );
    Ok(())
}

/// A control plane with the chart installed and some Secrets.
async fn installed(values: &[&str]) -> Result<ControlPlane> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&opaque_crds::definitions()).await?;
    let client = control_plane.client()?;
    for name in [NAMESPACE, "watched", "foreign"] {
        namespace(&client, name).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "secret", "namespace": name}, "stringData": {"key": "value"},
        });
        apply(&client, &secret).await?;
    }
    let options: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let text = rendered(&root().join("charts/opaque/values.yaml"), &options)?;
    for object in objects(&text)? {
        apply(&client, &object).await?;
    }
    Ok(control_plane)
}

/// Tests the requests themselves, not only the access reviews.
async fn assert_reads(operator: &Client) -> Result<()> {
    let watched: Api<Secret> = Api::namespaced(operator.clone(), "watched");
    assert_eq!(watched.list(&ListParams::default()).await?.items.len(), 1);
    let everywhere: Api<Secret> = Api::all(operator.clone());
    assert_forbidden(everywhere.list(&ListParams::default()).await);
    let foreign: Api<Secret> = Api::namespaced(operator.clone(), "foreign");
    assert_forbidden(foreign.get("secret").await);
    let maps: Api<ConfigMap> = Api::namespaced(operator.clone(), "foreign");
    assert_forbidden(maps.list(&ListParams::default()).await);
    let pods: Api<Pod> = Api::namespaced(operator.clone(), NAMESPACE);
    assert_forbidden(pods.list(&ListParams::default()).await);
    Ok(())
}

fn assert_forbidden<T>(result: kube::Result<T>) {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        Err(other) => panic!("not forbidden, but {other}"),
        Ok(_) => panic!("allowed"),
    }
}

/// `verb resource.group` of everything that the operator needs.
fn needed() -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for (group, resources, verbs) in NEEDED {
        for resource in *resources {
            needed.extend(verbs.iter().map(|verb| format!("{verb} {resource}.{group}")));
        }
    }
    needed
}

/// Like [`rights`], once the API server knows them. Its authorizer reads Roles a moment after they
/// are written.
async fn some_rights(client: &Client, namespace: &str) -> Result<BTreeSet<String>> {
    until("the operator's rights are known", async || {
        let found = rights(client, namespace).await?;
        Ok((!found.is_empty()).then_some(found))
    })
    .await
}

/// `verb resource.group` of everything that a client may do in a namespace, beyond what all clients
/// may.
async fn rights(client: &Client, namespace: &str) -> Result<BTreeSet<String>> {
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.into()) };
    let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &review).await?;
    let mut rights = BTreeSet::new();
    for rule in review.status.context("no status")?.resource_rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let own = rule.resource_names.iter().flatten().collect::<Vec<_>>();
                let which = if own.is_empty() { String::new() } else { format!(" {own:?}") };
                rights.extend(rule.verbs.iter().map(|v| format!("{v} {resource}.{group}{which}")));
            }
        }
    }
    // All clients may review their own permissions and identity.
    rights.retain(|right| {
        !right.ends_with(".authorization.k8s.io") && !right.ends_with(".authentication.k8s.io")
            || right.ends_with(".rbac.authorization.k8s.io")
    });
    Ok(rights)
}

pub(super) async fn may(
    client: &Client,
    namespace: &str,
    group: &str,
    resource: &str,
    verb: &str,
) -> Result<bool> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource,
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &review).await?;
    Ok(review.status.context("no status")?.allowed)
}
