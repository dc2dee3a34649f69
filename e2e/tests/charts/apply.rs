//! Applies objects of any kind.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Api, Client, ResourceExt};
use opaque_e2e::control_plane::FIELD_MANAGER;
use opaque_e2e::poll;
use serde_json::{Value, json};

/// How long the API server may take to recognize what was just applied.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Applies an object. Fields that its kind does not have are refused.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().context("no kind")?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
        (Scope::Namespaced, Some(namespace)) => {
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let name = object.name_any();
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.with_context(|| format!("applying {} {name}", types.kind))
}

/// Creates a namespace that accepts only restricted pods, with the account that a controller would
/// create.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    });
    apply(client, &namespace).await?;
    for account in ["default", super::helm::OPERATOR] {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": name},
        });
        apply(client, &account).await?;
    }
    Ok(())
}

/// Whether admission would accept the pods of a Deployment.
pub(crate) async fn admit(client: &Client, deployment: &Value) -> Result<()> {
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = deployment["metadata"]["name"].clone();
    let namespace = deployment["metadata"]["namespace"].as_str().context("no namespace")?;
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &serde_json::from_value(pod)?).await?;
    Ok(())
}

/// Repeats a request until it returns something. `what` is as in [`poll::until`].
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    Ok(poll::until(what, LIMIT, || look()).await?.0)
}

pub(crate) fn role(namespace: &str, name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": namespace}, "rules": rules,
    })
}

/// Gives the role `role` to a service account.
pub(crate) fn binding(namespace: &str, role: (&str, &str), account: &str) -> Value {
    let (kind, name) = role;
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
}
