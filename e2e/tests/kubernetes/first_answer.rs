//! From `helm install` to the first private answer, and every resource that the operator creates.

use std::time::Duration;

use anyhow::{Result, ensure};
use opaque_e2e::harness::{self, measured, product};
use tokio::time::Instant;

use crate::support::{ANSWER, SQL};

const LIMIT: Duration = Duration::from_secs(240);

/// The objects that the operator creates for cluster `demo` with three shards and table `weather`.
const RESOURCES: [&str; 30] = [
    "statefulset/demo-shard-0",
    "statefulset/demo-shard-1",
    "statefulset/demo-shard-2",
    "pod/demo-shard-0-0",
    "pod/demo-shard-0-1",
    "pod/demo-shard-1-0",
    "pod/demo-shard-1-1",
    "pod/demo-shard-2-0",
    "pod/demo-shard-2-1",
    "poddisruptionbudget/demo-shard-0",
    "poddisruptionbudget/demo-shard-1",
    "poddisruptionbudget/demo-shard-2",
    "service/demo-query",
    "service/demo-peers",
    "serviceaccount/demo-node",
    "role/demo-node",
    "rolebinding/demo-node",
    "secret/demo-peer-ca",
    "secret/demo-server-ca",
    "secret/demo-server-tls",
    "secret/demo-shard-0-tls",
    "secret/demo-shard-1-tls",
    "secret/demo-shard-2-tls",
    "configmap/demo-trust",
    "opaqueshardmap/demo",
    "lease/demo-leader",
    "lease/demo-shard-0-0",
    "lease/demo-shard-2-1",
    "lease/weather-prepare",
    "lease/opaque-operator",
];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn helm_install_and_two_manifests_make_a_private_answer() -> Result<()> {
    harness::run("answer", async |namespace| {
        let start = Instant::now();
        product::install(namespace, &[]).await?;
        product::apply_cluster(namespace).await?;
        product::apply_weather(namespace).await?;
        product::condition(namespace, "opaquecluster/demo", "Available", "True", LIMIT).await?;
        measured("helm install to cluster Available", start.elapsed());
        product::condition(namespace, "opaquetable/weather", "Available", "True", LIMIT).await?;
        measured("helm install to table Available", start.elapsed());
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        product::ask(&question).await?;
        measured("helm install to first private answer, 3 shards of 2", start.elapsed());

        for resource in RESOURCES {
            namespace.kubectl(&["get", resource]).await?;
        }
        let policies = namespace.kubectl(&["get", "networkpolicies", "--output=name"]).await?;
        ensure!(policies.contains("networkpolicy.networking.k8s.io/demo"), "{policies}");
        println!("{}", namespace.kubectl(&["get", "opaqueclusters,opaquetables"]).await?);
        Ok(())
    })
    .await
}
