//! The status of a table through a real API server: which epochs leave the list before a Job may
//! remove them.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use opaque_crds::OpaqueTable;
use opaque_crds::table::{Epoch, OpaqueTableStatus};
use opaque_e2e::ControlPlane;
use opaque_operator::Category;
use opaque_operator::args::Scope;
use opaque_operator::kube::{Claimed, Context, Events, Installed, Observed};
use opaque_operator::metrics::Metrics;
use prometheus_client::registry::Registry;
use serde_json::json;

const NAMESPACE: &str = "default";

fn status(epochs: &[i64]) -> OpaqueTableStatus {
    let entry = |epoch: &i64| Epoch {
        epoch: *epoch,
        digest: format!("digest-{epoch}"),
        rows: 9,
        bytes: 100,
        published: Time(Timestamp::UNIX_EPOCH),
        rejected: None,
    };
    OpaqueTableStatus { epochs: epochs.iter().map(entry).collect(), ..OpaqueTableStatus::default() }
}

#[tokio::test]
async fn epochs_leave_a_status_and_no_pin_slips_in_before() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&opaque_crds::definitions()).await?;
    let client = control_plane.client()?;
    let metrics = Metrics::new(&mut Registry::default());
    let scope = Scope::Namespace(NAMESPACE.into());
    let (observed, _watches) = Observed::start(&client, &scope, &metrics);
    let context = Context::new(
        [client.clone(), client.clone()],
        observed,
        metrics,
        Installed {
            node_image: "node:1".into(),
            cluster_domain: "cluster.local".into(),
            allow_local_sources: false,
        },
        "test/operator".parse()?,
        Claimed::new(&scope),
        Events::new(client.clone(), "test".into()),
    );
    let tables: Api<OpaqueTable> = Api::namespaced(client, NAMESPACE);
    let table = serde_json::from_value(json!({
        "metadata": {"name": "weather"},
        "spec": {
            "clusterRef": {"name": "demo"},
            "schema": {"columns": [{"name": "city", "type": "TEXT", "role": "key"}]},
            "source": {"configMapRef": {"name": "weather", "key": "weather.csv"}},
        },
    }))?;
    let seen = tables.create(&PostParams::default(), &table).await?;
    let epochs = async || -> Result<Vec<i64>> {
        let status = tables.get("weather").await?.status.unwrap_or_default();
        Ok(status.epochs.iter().map(|entry| entry.epoch).collect())
    };

    context.write_status(&seen, None, &status(&[3, 2, 1]), seen.resource_version()).await?;
    ensure!(epochs().await? == [3, 2, 1]);
    let seen = tables.get("weather").await?;
    let pin = Patch::Merge(json!({"spec": {"epoch": 1}}));
    tables.patch("weather", &PatchParams::default(), &pin).await?;
    let late = context.write_status(&seen, None, &status(&[3, 2]), seen.resource_version()).await;
    let error = late.err().context("the pin was overlooked")?;
    ensure!(error.category() == Category::Conflict, "{error}");
    ensure!(epochs().await? == [3, 2, 1]);

    let seen = tables.get("weather").await?;
    context.write_status(&seen, None, &status(&[3, 2]), seen.resource_version()).await?;
    ensure!(epochs().await? == [3, 2]);
    Ok(())
}
