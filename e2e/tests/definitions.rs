//! The definitions as a real API server serves them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic of a helper is a failed test"
)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::discovery;
use kube::{Api, Client, ResourceExt};
use opaque_crds::{OpaqueCluster, OpaqueTable, definitions};
use opaque_e2e::ControlPlane;
use opaque_e2e::control_plane::FIELD_MANAGER;
use opaque_e2e::poll::until;
use serde_json::{Value, json};

#[tokio::test]
async fn the_chart_serves_every_kind() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&committed()?).await?;
    let client = control_plane.client()?;

    assert_names(&client).await?;
    assert_scale(&client).await?;
    assert_conditions_have_an_owner_each(&client).await?;
    assert_defaults(&client).await?;
    assert_table_of_clusters(&client).await?;
    assert_explained(&client).await?;
    // Helm applies the same templates again at each upgrade.
    control_plane.establish(&definitions()).await?;
    assert_eq!(clusters(&client).list(&ListParams::default()).await?.items.len(), 1);
    Ok(())
}

/// The definitions in the chart.
fn committed() -> Result<Vec<CustomResourceDefinition>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/opaque-crds/templates");
    let mut definitions = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // The chart also contains roles.
        if path.to_string_lossy().ends_with(".opaque.dev.yaml") {
            definitions.push(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?);
        }
    }
    Ok(definitions)
}

async fn assert_names(client: &Client) -> Result<()> {
    let group = discovery::group(client, opaque_crds::GROUP).await?;
    let mut plurals: Vec<_> =
        group.recommended_resources().into_iter().map(|(resource, _)| resource.plural).collect();
    plurals.sort();
    assert_eq!(plurals, ["opaqueclusters", "opaqueshardmaps", "opaquetables"]);
    Ok(())
}

/// `kubectl scale opaquecluster demo --replicas 5` is refused once the cluster runs.
async fn assert_scale(client: &Client) -> Result<()> {
    let api = clusters(client);
    apply(&api, &example("cluster")?).await?;
    let status = json!({"status": {"shards": 3, "selector": "app=demo"}});
    api.patch_status("demo", &PatchParams::default(), &Patch::Merge(status)).await?;
    let scale = api.get_scale("demo").await?;
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(3));
    let state = scale.status.context("no status of the scale")?;
    assert_eq!((state.replicas, state.selector.as_deref()), (3, Some("app=demo")));

    let wanted = json!({"spec": {"replicas": 5}});
    let error = api.patch_scale("demo", &PatchParams::default(), &Patch::Merge(wanted)).await;
    assert!(error.unwrap_err().to_string().contains("cannot change yet"));
    let refused = json!({"spec": {"replicas": 0}});
    let error = api.patch_scale("demo", &PatchParams::default(), &Patch::Merge(refused)).await;
    assert!(error.unwrap_err().to_string().contains("must be between 1 and 1024"));
    assert_eq!(api.get("demo").await?.spec.shards, 3);
    Ok(())
}

/// Two writers of different conditions do not undo each other's changes.
async fn assert_conditions_have_an_owner_each(client: &Client) -> Result<()> {
    let api = clusters(client);
    for (manager, condition) in [("one", "Available"), ("two", "Paused")] {
        let status = json!({
            "apiVersion": "opaque.dev/v1alpha1",
            "kind": "OpaqueCluster",
            "status": {"conditions": [{
                "type": condition, "status": "True", "reason": "Tested", "message": "",
                "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        api.patch_status("demo", &PatchParams::apply(manager), &Patch::Apply(status)).await?;
    }
    let conditions = api.get("demo").await?.status.context("no status")?.conditions;
    let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Available", "Paused"]);
    Ok(())
}

async fn assert_defaults(client: &Client) -> Result<()> {
    let cluster = clusters(client).get("demo").await?;
    assert_eq!(cluster.spec.tls.duration, "2160h");
    assert_eq!(cluster.spec.placement.imbalance_threshold, "20%");
    let api: Api<OpaqueTable> = Api::default_namespaced(client.clone());
    apply(&api, &example("weather")?).await?;
    let table = api.get("weather").await?;
    assert_eq!(table.spec.retain_epochs, 3);
    assert_eq!(table.sql_name(), "weather");
    Ok(())
}

/// The output of `kubectl get opaqueclusters`.
async fn assert_table_of_clusters(client: &Client) -> Result<()> {
    let request = http::Request::get("/apis/opaque.dev/v1alpha1/opaqueclusters")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())?;
    let table: Value = client.request(request).await?;
    let columns = table["columnDefinitions"].as_array().context("no columns")?;
    let shown: Vec<_> =
        columns.iter().filter(|column| column["priority"] == 0).map(|c| &c["name"]).collect();
    assert_eq!(shown, ["Name", "Shards", "Ready", "Available", "Reason", "Generation", "Age"]);
    assert_eq!(table["rows"][0]["cells"][3], "True");
    Ok(())
}

/// The source of `kubectl explain opaquecluster.spec.shards`.
async fn assert_explained(client: &Client) -> Result<()> {
    // The server publishes it a moment after it serves the kinds.
    let look = || async {
        let request = http::Request::get("/openapi/v3/apis/opaque.dev/v1alpha1").body(Vec::new())?;
        Ok(Some(client.request(request).await?))
    };
    let (document, _): (Value, _) =
        until("kinds are explained", Duration::from_secs(60), look).await?;
    let cluster = &document["components"]["schemas"]["dev.opaque.v1alpha1.OpaqueCluster"];
    let shards = &cluster["properties"]["spec"]["properties"]["shards"]["description"];
    assert!(
        shards.as_str().unwrap_or_default().starts_with("Number of shards that hold the tables")
    );
    Ok(())
}

fn clusters(client: &Client) -> Api<OpaqueCluster> {
    Api::default_namespaced(client.clone())
}

/// The first object of an example.
fn example<K: serde::de::DeserializeOwned>(name: &str) -> Result<K> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes");
    let text = std::fs::read_to_string(folder.join(format!("{name}.yaml")))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(serde_json::from_value(objects.into_iter().next().context("an empty example")?)?)
}

async fn apply<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let params = PatchParams::apply(FIELD_MANAGER);
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await?;
    Ok(())
}
