//! A cluster is created, kept unchanged, and explained.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use opaque_crds::{OpaqueCluster, OpaqueShardMap, names};
use serde_json::json;

use super::harness::{QUIET, Test, WELL, operation, truth};

impl Test {
    async fn every_set_exists(&self) -> Result<()> {
        self.until("every set exists", async || Ok(self.list::<StatefulSet>().await?.len() == 2))
            .await
    }
}

#[tokio::test]
async fn a_missing_secret_is_named() -> Result<()> {
    let test = Test::start("secret").await?;
    test.create_cluster().await?;
    let status = test.conditions(&[("Degraded", "True", "SecretNotUsable")]).await?;
    let blocked = operation(&status, "Secrets").context("no operation Secrets")?;
    ensure!(blocked.contains("Secret store does not exist"), "{blocked}");
    ensure!(test.list::<StatefulSet>().await?.is_empty(), "pods would start without a Secret");

    test.create_secret(json!({"AWS_ACCESS_KEY_ID": "a"})).await?;
    test.status("the missing key is named", |status| {
        operation(status, "Secrets").is_some_and(|by| by.contains("AWS_SECRET_ACCESS_KEY"))
    })
    .await?;
    let both = json!({"stringData": {"AWS_SECRET_ACCESS_KEY": "b"}});
    test.merge::<Secret>("store", &both).await?;
    test.every_set_exists().await
}

#[tokio::test]
async fn every_object_appears() -> Result<()> {
    let test = Test::start("objects").await?;
    test.create_secret(json!({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})).await?;
    test.create_cluster().await?;
    test.every_set_exists().await?;
    test.get::<ServiceAccount>("demo-node").await?;
    test.get::<Role>("demo-node").await?;
    test.get::<RoleBinding>("demo-node").await?;
    test.get::<Service>("demo-query").await?;
    test.get::<Service>("demo-peers").await?;
    test.get::<NetworkPolicy>("demo").await?;
    test.get::<ConfigMap>(&names::trust("demo")).await?;
    let map = test.get::<OpaqueShardMap>("demo").await?;
    ensure!(map.spec.map.generation == 1 && map.spec.map.shards.len() == 2);
    for shard in 0..2 {
        test.get::<PodDisruptionBudget>(&names::shard("demo", shard)).await?;
        test.get::<Secret>(&names::shard_certificate("demo", shard)).await?;
    }
    let status = test
        .status("certificates are ready", |status| {
            truth(status, "CertificatesReady").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    ensure!(status.selector.is_some() && status.certificates_not_after.is_some());
    // A revocation list is never the first to expire.
    let ends = (&status.certificates_not_after, &status.revocation_lists_not_after);
    ensure!(ends.0 <= ends.1 && ends.1.is_some(), "{ends:?}");
    ensure!(truth(&status, "Available") == Some(("False", "ShardsNotReady")));
    test.everything_is_owned().await
}

#[tokio::test]
async fn pods_explain_themselves() -> Result<()> {
    let test = Test::start("explain").await?;
    test.create_secret(json!({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})).await?;
    test.create_cluster().await?;
    test.pods_are_placed().await?;
    let pod = names::pod("demo", 1, 0);
    let unscheduled = json!({"status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }]}});
    test.patch_status::<Pod>(&pod, &unscheduled).await?;
    let status = test
        .status("the scheduler is quoted", |status| {
            operation(status, "Rollout").is_some_and(|by| by.contains("Insufficient cpu"))
        })
        .await?;
    ensure!(truth(&status, "Degraded") == Some(("True", "PodsNotStarting")), "{status:?}");

    let status = test.serve().await?;
    ensure!(status.leader.as_deref() == Some("demo-shard-0-0"), "{status:?}");
    ensure!((status.ready_shards, status.ready_replicas) == (2, 4), "{status:?}");
    ensure!(status.active_generation == Some(1) && status.operations.is_empty(), "{status:?}");
    ensure!(truth(&status, "Degraded") == Some(("False", "AsExpected")));
    Ok(())
}

#[tokio::test]
async fn a_quiet_cluster_is_not_written_to() -> Result<()> {
    let test = Test::serving("quiet").await?;
    test.settle().await?;
    let (before, versions) = (test.metrics.requests().1, test.versions().await?);
    // Events that trigger a reconcile but change nothing: a renewal, a foreign object.
    test.lease("demo-leader", json!({"seen": "x"}), "demo-shard-0-0").await?;
    tokio::time::sleep(QUIET).await;
    ensure!(test.metrics.requests().1 == before, "a quiet cluster was written to");
    ensure!(test.versions().await? == versions);
    Ok(())
}

/// Another operator that finds these objects has nothing to do.
#[tokio::test]
async fn a_restarted_operator_writes_nothing() -> Result<()> {
    let mut test = Test::serving("restarted").await?;
    test.settle().await?;
    test.stop_operator().await;
    let before = test.versions().await?;
    test.start_operator()?;
    test.settle().await?;
    ensure!(test.versions().await? == before, "a restarted operator has written");
    test.everything_is_owned().await
}

#[tokio::test]
async fn what_somebody_deletes_or_changes_is_restored() -> Result<()> {
    let test = Test::serving("restored").await?;
    test.delete::<Service>("demo-query").await?;
    test.merge::<NetworkPolicy>("demo", &json!({"spec": {"ingress": []}})).await?;
    test.until("both are restored", async || {
        let service = test.api::<Service>().get_opt("demo-query").await?;
        let policy = test.get::<NetworkPolicy>("demo").await?;
        let ingress = policy.spec.and_then(|spec| spec.ingress).unwrap_or_default();
        Ok(service.is_some() && ingress.len() == 3)
    })
    .await
}

#[tokio::test]
async fn paused_changes_nothing() -> Result<()> {
    let test = Test::serving("paused").await?;
    let paused = json!({"spec": {"paused": true, "image": "node:3"}});
    test.merge::<OpaqueCluster>("demo", &paused).await?;
    test.paused("True").await?;
    test.set_ready("demo-shard-1-1", false).await?;
    test.status("events are still reported", |status| status.ready_replicas == 3).await?;
    ensure!(test.image(0).await? == "node:1");
    test.set_ready("demo-shard-1-1", true).await?;
    let resumed = json!({"spec": {"paused": false, "image": null}});
    test.merge::<OpaqueCluster>("demo", &resumed).await?;
    test.paused("False").await?;
    test.status("all are ready", |status| status.ready_replicas == 4).await.map(drop)
}

#[tokio::test]
async fn damaged_records_and_foreign_objects_break_nothing() -> Result<()> {
    let test = Test::serving("damaged").await?;
    let member = json!({"opaque.dev/member": "{not JSON"});
    test.lease("demo-shard-0-0", member, "demo-shard-0-0").await?;
    // Foreign Secrets are not watched. The operator's are.
    for number in 0..20 {
        let name = format!("foreign-{number}");
        let secret = json!({"metadata": {"name": name}, "stringData": {"a": "b"}});
        test.create::<Secret>(secret).await?;
    }
    test.delete::<Service>("demo-query").await?;
    test.until("it still reconciles", async || {
        Ok(test.api::<Service>().get_opt("demo-query").await?.is_some())
    })
    .await
}

/// `serviceAccount` is the old name of a protected field, which no CEL rule knows.
#[tokio::test]
async fn an_invalid_object_is_left_alone() -> Result<()> {
    let test = Test::serving("invalid").await?;
    let overlay = json!({"spec": {"podTemplate": {"spec": {"serviceAccount": "admin"}}}});
    test.merge::<OpaqueCluster>("demo", &overlay).await?;
    let status = test.conditions(&[("Degraded", "True", "InvalidSpec")]).await?;
    ensure!(truth(&status, "Available") == Some(("True", "Serving")), "{status:?}");
    test.settle().await?;
    let (before, reconciles) = (test.metrics.requests(), test.metrics.reconciles());
    tokio::time::sleep(QUIET).await;
    // Watches that end are started again. These are only a few reads.
    let after = test.metrics.requests();
    ensure!(after.1 == before.1, "an invalid object was written to");
    ensure!(after.0 - before.0 <= 2, "{} reads of an invalid object", after.0 - before.0);
    ensure!(test.metrics.reconciles() == reconciles, "an invalid object was tried again");
    // Certificates expire whether or not the spec is valid.
    let name = names::shard_certificate("demo", 0);
    test.delete::<Secret>(&name).await?;
    test.until("the certificate is issued again", async || {
        Ok(test.api::<Secret>().get_opt(&name).await?.is_some())
    })
    .await?;
    let none = json!({"spec": {"podTemplate": {"spec": {"serviceAccount": null}}}});
    test.merge::<OpaqueCluster>("demo", &none).await?;
    test.conditions(&[WELL]).await.map(drop)
}
