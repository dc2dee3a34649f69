//! Kubernetes refuses to create pods: the status quotes the reason, and a sufficient change fixes
//! it.

use std::time::Duration;

use anyhow::Result;
use opaque_e2e::harness::{self, measured, product};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_quota_is_quoted_for_nodes_and_for_jobs() -> Result<()> {
    harness::run("quota", async |namespace| {
        product::install(namespace, &[]).await?;
        // The operator's pods are created first, since they are not under test.
        let deployment =
            ["wait", "deployment", "--all", "--for=condition=Available", "--timeout=240s"];
        namespace.kubectl(&deployment).await?;
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "spec": {"hard": {"limits.cpu": "16", "limits.memory": "4Gi"}},
        });
        namespace.apply(&quota.to_string()).await?;
        // The example limits only memory.
        product::apply_cluster_of(namespace, 1, 2).await?;
        let words = ["cannot be created: pods", "must specify limits.cpu for: node"];
        let degraded = ("Degraded", "True");
        let cluster = "opaquecluster/demo";
        let time = product::condition_says(namespace, cluster, degraded, &words, LIMIT).await?;
        measured("cluster applied to its quota quoted", time);
        let limited = ("limits: {memory: 1Gi}", "limits: {memory: 1Gi, cpu: \"2\"}");
        product::apply_cluster_with(namespace, 1, 2, &[limited]).await?;
        product::condition(namespace, cluster, "Available", "True", LIMIT).await?;

        product::apply_weather(namespace).await?;
        let table = "opaquetable/weather";
        let words = ["Job weather-prepare-1 cannot create its pod: pods", "exceeded quota: small"];
        let time = product::condition_says(namespace, table, degraded, &words, LIMIT).await?;
        measured("table applied to its quota quoted", time);
        let less = json!({"spec": {"prepare": {"resources": {"limits": {"memory": "1Gi"}}}}});
        let patch = ["patch", table, "--type=merge", "--patch", &less.to_string()];
        namespace.kubectl(&patch).await?;
        product::condition(namespace, table, "Available", "True", LIMIT).await?;
        product::condition(namespace, cluster, "Ready", "True", LIMIT).await.map(drop)
    })
    .await
}
