//! Neither a user nor a node can change the accepted size of a cluster. Messages of nodes cost the
//! operator few requests.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Patch, PatchParams};
use opaque_crds::{OpaqueCluster, OpaqueShardMap};
use serde_json::{Value, json};

use super::harness::{COMPLETE, Test, WELL, degraded, operation};

/// How often a node reports its progress.
const WORDS: usize = 15;
/// Reads that may happen in that time: the Secret's minute is over, and watches start again.
const READS: u64 = 4;

impl Test {
    async fn has_its_size(&self) -> Result<()> {
        let sets = self.list::<StatefulSet>().await?;
        let replicas: Vec<_> = sets.iter().map(|set| set.spec.as_ref()?.replicas).collect();
        ensure!(replicas == [Some(2), Some(2)], "{replicas:?}");
        let status = self.get::<OpaqueCluster>("demo").await?.status.context("no status")?;
        ensure!((status.shards, status.replicas_per_shard) == (2, 2), "{status:?}");
        Ok(())
    }
}

/// Also through `kubectl scale`.
#[tokio::test]
async fn another_size_is_refused_at_admission() -> Result<()> {
    let test = Test::serving("size").await?;
    let api = test.api::<OpaqueCluster>();
    let params = PatchParams::default();
    for (field, number) in [("shards", 3), ("replicasPerShard", 1)] {
        let patch = Patch::Merge(json!({"spec": {field: number}}));
        let refused = api.patch("demo", &params, &patch).await.err().context("it is taken")?;
        let words = format!("spec.{field} of a cluster that runs cannot change yet");
        ensure!(refused.to_string().contains(&words), "{refused}");
    }
    let scaled = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let refused = api.patch_scale("demo", &params, &scaled).await.err().context("it is taken")?;
    ensure!(refused.to_string().contains("create a new OpaqueCluster"), "{refused}");
    ensure!(api.get("demo").await?.spec.shards == 2);
    Ok(())
}

/// Changes that any node could write into the map.
#[tokio::test]
async fn a_map_resizes_no_cluster() -> Result<()> {
    let test = Test::serving("map-size").await?;
    let before = test.get::<OpaqueShardMap>("demo").await?.spec.map;
    let shards = |count: i32| -> Vec<Value> {
        (0..count).map(|id| json!({"id": id, "weight": 1})).collect()
    };
    let write = |generation: i64, count: i32| {
        json!({
            "metadata": {"annotations": {"opaque.dev/replicas-per-shard": "5"}},
            "spec": {"map": {"generation": generation, "shards": shards(count)}},
        })
    };
    test.merge::<OpaqueShardMap>("demo", &write(before.generation + 1, 7)).await?;
    let status = test.conditions(&[("Degraded", "True", "ShardMapContradicts")]).await?;
    let words = degraded(&status);
    ensure!(words.contains("has 7 shards, and the cluster has 2"), "{words}");
    test.settle().await?;
    test.has_its_size().await?;

    // Without the numbers in the status, the sets determine the size.
    let lost = json!({"status": {"shards": 0, "replicasPerShard": 0}});
    test.patch_status::<OpaqueCluster>("demo", &lost).await?;
    test.status("the numbers are found again", |status| {
        (status.shards, status.replicas_per_shard) == (2, 2)
    })
    .await?;
    test.has_its_size().await?;

    test.merge::<OpaqueShardMap>("demo", &write(before.generation + 2, 2)).await?;
    let map = test.get::<OpaqueShardMap>("demo").await?.spec.map;
    test.patch_status::<OpaqueShardMap>("demo", &json!({"status": {"active": map}})).await?;
    test.conditions(&[WELL, COMPLETE]).await.map(drop)
}

/// Each message is shown, at the cost of one write of the status. It reads no Secret, and does not
/// change the state of the operation.
#[tokio::test]
async fn a_nodes_words_read_no_secret() -> Result<()> {
    let test = Test::serving("words").await?;
    let pod = "demo-shard-0-1";
    test.set_ready(pod, false).await?;
    let word = async |number: usize| {
        let record = json!({"node": pod, "shard": 0, "message": format!("{number} of 90 MiB")});
        let record = json!({"opaque.dev/member": record.to_string()});
        test.lease(pod, record, pod).await?;
        let wanted = format!("{number} of 90 MiB");
        let told = test.status("the message is shown", |status| {
            operation(status, "Rollout").is_some_and(|by| by.contains(&wanted))
        });
        let status = told.await?;
        let rollout = status.operations.into_iter().find(|one| one.name == "Rollout");
        anyhow::Ok(rollout.context("no operation")?.since)
    };
    let since = word(0).await?;
    let (reads, reconciles) = (test.metrics.requests().0, test.metrics.reconciles());
    for number in 1..=WORDS {
        // The API's times have whole seconds.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = word(number).await?;
        ensure!(now == since, "word {number} set the time from {since:?} to {now:?}");
    }
    let reconciles = test.metrics.reconciles() - reconciles;
    ensure!(reconciles >= WORDS as u64, "{reconciles} reconciles: nothing was to be seen");
    let reads = test.metrics.requests().0 - reads;
    println!("measured: {reads} reads by the operator over {WORDS} words of a node");
    ensure!(reads <= READS, "{reads} reads over {WORDS} words");

    test.lease(pod, json!({}), pod).await?;
    test.set_ready(pod, true).await?;
    test.status("it is complete", |status| status.operations.is_empty()).await.map(drop)
}
