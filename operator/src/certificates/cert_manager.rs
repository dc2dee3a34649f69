//! `Certificate` objects of cert-manager, without its types, because the kind may not exist.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use opaque_crds::cluster::IssuerReference;
use opaque_crds::{OpaqueCluster, names};
use serde_json::{Value, json};
use time::Duration;

use super::leaf::Request;
use super::model::{Issuance, Wanted};
use crate::error::Error;
use crate::kube::Context;
use crate::labels;

/// Prefix of the annotations that cert-manager writes on its Secrets.
pub(super) const ANNOTATIONS: &str = "cert-manager.io/";
/// Minimum duration that cert-manager accepts.
const SHORTEST: Duration = Duration::HOUR;

/// Whether cert-manager wrote a Secret.
pub(crate) fn is_of_cert_manager(secret: &ObjectMeta) -> bool {
    secret.annotations.iter().flatten().any(|(key, _)| key.starts_with(ANNOTATIONS))
}

/// The cluster's `Certificate`s by name; `None` if their kind does not exist. Without an issuer
/// they are listed only while some may remain, which is the case while a Secret still has
/// cert-manager's annotations.
pub(super) async fn list(
    context: &Context,
    wanted: &Wanted,
) -> Result<Option<BTreeMap<String, Issuance>>, Error> {
    if wanted.issuer.is_none() && !may_be_left(context, wanted) {
        return Ok(None);
    }
    let api = api(context, &wanted.namespace);
    let selector = labels::selector(&labels::of_cluster(&wanted.cluster));
    match api.list(&ListParams::default().labels(&selector)).await {
        Ok(found) => {
            let found = found.items.iter().map(|object| (object.name_any(), read(object)));
            Ok(Some(found.collect()))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        // With `rbac.certManager=false` the operator has no permission to list them. The setting
        // means that cert-manager is gone, and with it any remaining objects.
        Err(kube::Error::Api(status)) if status.code == 403 && wanted.issuer.is_none() => Ok(None),
        Err(error) => Err(Error::api("listing Certificates of cert-manager")(error)),
    }
}

/// Applies one `Certificate`.
pub(super) async fn apply(
    context: &Context,
    cluster: &OpaqueCluster,
    name: &str,
    spec: &Value,
) -> Result<(), Error> {
    let labels = labels::of_cluster(&cluster.name_any());
    let resource = resource();
    let object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": labels::owned(cluster, name.to_owned(), labels),
        "spec": spec,
    });
    context.apply_raw(&resource, object).await.map(drop)
}

/// Deletes one `Certificate`; cert-manager leaves its Secret.
pub(super) async fn delete(context: &Context, namespace: &str, name: &str) -> Result<(), Error> {
    match api(context, namespace).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::api(format!("deleting Certificate {name}"))(error)),
    }
}

/// Whether cert-manager has written a Secret of the cluster, according to annotations.
fn may_be_left(context: &Context, wanted: &Wanted) -> bool {
    use k8s_openapi::api::core::v1::Secret;
    let secrets =
        context.observed.list::<Secret>(&wanted.namespace, labels::CLUSTER, &wanted.cluster);
    secrets.iter().any(|secret| {
        secret.annotations().keys().any(|annotation| annotation.starts_with(ANNOTATIONS))
    })
}

fn read(object: &DynamicObject) -> Issuance {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let text = |condition: &Value, field: &str| {
        condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let condition =
        conditions.into_iter().flatten().find(|condition| text(condition, "type") == "Ready");
    let facts = condition.and_then(|condition| condition.get("observedGeneration")?.as_i64());
    // Old versions of cert-manager do not set it.
    let current = facts.is_none() || facts == object.metadata.generation;
    Issuance {
        spec: object.data.get("spec").cloned().unwrap_or_default(),
        ready: current && condition.is_some_and(|condition| text(condition, "status") == "True"),
        message: condition
            .map(|condition| text(condition, "message"))
            .unwrap_or_else(|| "cert-manager has not processed it yet; is it running?".into()),
    }
}

fn api(context: &Context, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &resource())
}

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"))
}

/// The `Certificate` of a shard or of the server.
pub(super) fn spec(wanted: &Wanted, issuer: &IssuerReference, request: &Request) -> Value {
    let mut usages = vec!["digital signature", "server auth"];
    if request.is_client() {
        usages.push("client auth");
    }
    let uris: Vec<&String> = request.uri.iter().collect();
    let mut spec = json!({
        "secretName": request.secret,
        "secretTemplate": { "labels": labels::of_cluster(&wanted.cluster) },
        "duration": seconds(wanted.schedule.duration),
        "renewBefore": seconds(wanted.schedule.renew_before),
        "dnsNames": request.names,
        "usages": usages,
        "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always" },
        "issuerRef": { "name": issuer.name, "kind": issuer.kind, "group": issuer.group },
    });
    if let Some(spec) = spec.as_object_mut() {
        if !uris.is_empty() {
            spec.insert("uris".into(), json!(uris));
        }
        if !request.addresses.is_empty() {
            spec.insert("ipAddresses".into(), json!(request.addresses));
        }
    }
    spec
}

/// The `Certificate` that reveals which authority the issuer signs with.
pub(super) fn probe_spec(wanted: &Wanted, issuer: &IssuerReference) -> Value {
    let duration = (wanted.schedule.duration / 2_i32).max(SHORTEST);
    let name = format!("probe.{}.{}.peers.opaque.internal", wanted.cluster, wanted.namespace);
    json!({
        "secretName": names::issuer_probe(&wanted.cluster),
        "secretTemplate": { "labels": labels::of_cluster(&wanted.cluster) },
        "duration": seconds(duration),
        "renewBefore": seconds(duration / 3_i32),
        "dnsNames": [name],
        "usages": ["digital signature"],
        "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always" },
        "issuerRef": { "name": issuer.name, "kind": issuer.kind, "group": issuer.group },
    })
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.whole_seconds())
}
