//! Tables that a pod lacks are reported, and no rollout proceeds past such a pod.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use opaque_crds::{OpaqueCluster, names};
use serde_json::{Value, json};

use super::harness::{COMPLETE, Test, WELL, operation, truth};

impl Test {
    /// Writes a pod's record like its node would.
    async fn record(&self, shard: i32, replica: i32, missing: &Value) -> Result<()> {
        let pod = names::pod("demo", shard, replica);
        let record = json!({
            "node": pod, "shard": shard, "active_generation": 1, "message": "",
            "resident_bytes": 1, "missing": missing,
        });
        self.lease(&pod, json!({"opaque.dev/member": record.to_string()}), &pod).await
    }
}

#[tokio::test]
async fn no_rollout_passes_a_pod_that_lacks_a_table() -> Result<()> {
    let test = Test::serving("lacks").await?;
    for (shard, replica) in [(0, 0), (0, 1), (1, 0)] {
        test.record(shard, replica, &json!({})).await?;
    }
    let damaged = json!({"weather": "store: plane-0 is damaged"});
    test.record(1, 1, &damaged).await?;
    let status = test.conditions(&[("Degraded", "True", "TablesMissing")]).await?;
    let entry = status.missing_tables.first().context("no missing table")?;
    ensure!((entry.table.as_str(), entry.pod.as_str()) == ("weather", "demo-shard-1-1"));
    ensure!(entry.elsewhere && entry.reason.contains("plane-0"), "{entry:?}");
    ensure!(truth(&status, "Available") == Some(("True", "Serving")), "{status:?}");
    test.event("TablesMissing").await?;
    // A new template may fix this pod, so it is replaced first.
    let before = test.pods().await?;
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "node:5"}})).await?;
    let before = test.goes_alone(before, "demo-shard-1-1").await?;
    test.set_ready("demo-shard-1-1", true).await?;
    test.status("it waits, and says why", |status| {
        operation(status, "Rollout").is_some_and(|by| by.contains("demo-shard-1-1"))
    })
    .await?;
    test.settle().await?;
    ensure!(test.pods().await? == before, "a rollout passed a pod that lacks a table");
    // Once the table is loaded, the rollout continues.
    test.record(1, 1, &json!({})).await?;
    test.all_are_replaced(&before, &["demo-shard-1-1"]).await?;
    let status = test.conditions(&[COMPLETE, WELL]).await?;
    ensure!(status.missing_tables.is_empty());

    // A table that no pod of a shard can load blocks nothing, since a new template may fix it.
    for replica in 0..2 {
        test.record(1, replica, &damaged).await?;
    }
    let lost = test
        .status("no pod has it", |status| {
            let missing = &status.missing_tables;
            missing.len() == 2 && missing.first().is_some_and(|first| !first.elsewhere)
        })
        .await?;
    ensure!(truth(&lost, "Available") == Some(("True", "Serving")), "the others are served");
    let before = test.pods().await?;
    test.merge::<OpaqueCluster>("demo", &json!({"spec": {"image": "node:2"}})).await?;
    test.all_are_replaced(&before, &[]).await?;
    for (shard, replica) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let name = names::pod("demo", shard, replica);
        test.delete::<Lease>(&name).await?;
    }
    test.conditions(&[COMPLETE, WELL]).await.map(drop)
}
