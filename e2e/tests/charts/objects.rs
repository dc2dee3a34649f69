//! A real API server accepts everything that the charts and examples contain.

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use opaque_e2e::{ControlPlane, schemas};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::apply::{admit, apply, namespace, until};
use super::helm::{NAMESPACE, conform, objects, rendered, root, template, value_sets};

/// Namespaces that the value sets name.
const NAMESPACES: [&str; 5] = [
    NAMESPACE,
    "data",
    "opaque-one",
    "opaque-two",
    "a-namespace-whose-name-is-nearly-as-long-as-a-label-may-become",
];

#[tokio::test]
async fn every_object_is_valid_and_every_pod_restricted() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut definitions = opaque_crds::definitions().to_vec();
    definitions.push(service_monitor()?);
    control_plane.establish(&definitions).await?;
    let client = control_plane.client()?;
    for name in NAMESPACES {
        namespace(&client, name).await?;
    }
    let folder = published_schemas(&client).await?;

    for values in value_sets()? {
        let text = rendered(&values, &[])?;
        conform(&text, folder.path()).with_context(|| format!("{}", values.display()))?;
        let mut objects = objects(&text)?;
        // In Helm's order: objects that a pod needs come before it.
        objects.sort_by_key(|object| object["kind"] == "Pod");
        for object in &objects {
            apply(&client, object).await.with_context(|| format!("{}", values.display()))?;
            if object["kind"] == "Deployment" {
                admit(&client, object).await.with_context(|| format!("{}", values.display()))?;
            }
        }
        println!("{}: {} objects", values.display(), objects.len());
        assert!(objects.iter().any(|object| object["kind"] == "Deployment"));
    }
    assert_checks_can_fail(&client, &folder).await
}

#[tokio::test]
async fn every_example_is_valid() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&opaque_crds::definitions()).await?;
    let client = control_plane.client()?;
    namespace(&client, "default").await?;
    namespace(&client, "minio").await?;
    let folder = published_schemas(&client).await?;
    for example in std::fs::read_dir(root().join("examples/kubernetes"))? {
        let path = example?.path();
        let text = std::fs::read_to_string(&path)?;
        conform(&text, folder.path()).with_context(|| format!("{}", path.display()))?;
        for object in objects(&text)? {
            apply(&client, &object).await.with_context(|| format!("{}", path.display()))?;
            if object["kind"] == "Deployment" {
                admit(&client, &object).await.with_context(|| format!("{}", path.display()))?;
            }
        }
    }
    for entry in std::fs::read_dir(root().join("charts/opaque-crds/templates"))? {
        conform(&std::fs::read_to_string(entry?.path())?, folder.path())?;
    }
    Ok(())
}

#[test]
fn a_namespaced_operator_needs_no_cluster_wide_object() -> Result<()> {
    for values in value_sets()? {
        let text = rendered(&values, &["--set", "nodePolicy.enabled=false"])?;
        let kinds: Vec<Value> =
            objects(&text)?.iter().map(|object| object["kind"].clone()).collect();
        let wide = kinds.iter().any(|kind| kind.as_str().is_some_and(|k| k.starts_with("Cluster")));
        assert_eq!(wide, values.ends_with("all.yaml"), "{}: {kinds:?}", values.display());
    }
    Ok(())
}

#[test]
fn bad_values_are_refused_by_name() -> Result<()> {
    let cases = [
        ("replica=3", "replica"),
        ("replicas=0", "replicas"),
        ("replicas=two", "replicas"),
        ("watch.namespaces={Upper}", "watch/namespaces/0"),
        ("watch.all=true,watch.namespaces={one}", "watch"),
        ("watch.al=true", "al"),
        ("images.pullPolicy=Sometimes", "images/pullPolicy"),
        ("images.node.digest=sha256:1234", "images/node/digest"),
        ("images.registry=https://registry.example", "images/registry"),
        ("logging.level=verbose", "logging/level"),
        ("nodePolicy.enable=true", "nodePolicy"),
        ("networkPolicy.apiServerCidrs={10.0.0.1}", "networkPolicy/apiServerCidrs/0"),
        ("networkPolicy.apiServerPorts={}", "networkPolicy/apiServerPorts"),
        ("serviceMonitor.interval=30", "serviceMonitor/interval"),
        ("test.cluster=Demo", "test/cluster"),
        ("test.tokenSecretRef.name=tokens", "test/tokenSecretRef"),
        ("resources.limit.cpu=1", "resources"),
    ];
    let values = root().join("charts/opaque/values.yaml");
    for (case, named) in cases {
        let output = template(&values, &["--set", case])?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{case} was taken");
        assert!(text.contains("schema") && text.contains(named), "{case}: {text}");
    }
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_workspace() -> Result<()> {
    for chart in ["opaque", "opaque-crds"] {
        let text = std::fs::read_to_string(root().join("charts").join(chart).join("Chart.yaml"))?;
        let metadata: Value = serde_saphyr::from_str(&text)?;
        assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(metadata["appVersion"], env!("CARGO_PKG_VERSION"), "{chart}");
    }
    Ok(())
}

/// The same checks refuse wrong objects.
async fn assert_checks_can_fail(client: &kube::Client, folder: &TempDir) -> Result<()> {
    let values = root().join("charts/opaque/values.yaml");
    let text = rendered(&values, &[])?;
    let deployment = objects(&text)?.into_iter().find(|object| object["kind"] == "Deployment");
    let good = deployment.context("no Deployment")?;

    let mut unknown = good.clone();
    unknown["spec"]["replica"] = json!(1);
    let error = conform(&serde_json::to_string(&unknown)?, folder.path()).unwrap_err();
    assert!(error.to_string().contains("replica"), "{error}");
    let error = apply(client, &unknown).await.unwrap_err();
    assert!(format!("{error:#}").contains("replica"), "{error:#}");

    let mut root_user = good;
    root_user["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let error = admit(client, &root_user).await.unwrap_err();
    assert!(error.to_string().contains("restricted"), "{error}");
    Ok(())
}

/// Schemas of everything that the server serves, including our kinds, which it publishes a moment
/// later.
async fn published_schemas(client: &kube::Client) -> Result<TempDir> {
    let document = until("the schemas of our kinds are published", async || {
        let request = http::Request::get("/openapi/v2").body(Vec::new())?;
        let document: Value = client.request(request).await?;
        let ours = ["dev.opaque.v1alpha1.OpaqueCluster", "dev.opaque.v1alpha1.OpaqueTable"];
        let served = ours.iter().all(|name| document["definitions"].get(name).is_some());
        Ok(served.then_some(document))
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let written = schemas::write(&document, folder.path())?;
    anyhow::ensure!(written > 50, "only {written} schemas");
    Ok(folder)
}

/// The Prometheus operator's kind, reduced to the fields that the chart uses.
fn service_monitor() -> Result<CustomResourceDefinition> {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let endpoint = json!({
        "type": "object",
        "properties": {
            "port": {"type": "string"}, "path": {"type": "string"},
            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
        },
    });
    let spec = json!({
        "type": "object",
        "required": ["endpoints", "selector"],
        "properties": {
            "endpoints": {"type": "array", "items": endpoint},
            "selector": {"type": "object", "properties": {"matchLabels": strings}},
        },
    });
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": "servicemonitors.monitoring.coreos.com",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    }))?)
}
