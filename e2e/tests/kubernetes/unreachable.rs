//! `Available` and `Degraded` show whether nodes reach each other, not only whether their pods are
//! Ready.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use opaque_e2e::harness::namespace::is_ready;
use opaque_e2e::harness::{self, Block, Containers, Faults, Namespace, measured, product};
use opaque_e2e::poll;

use crate::support::queries;
use crate::tls::PEERS;

const LIMIT: Duration = Duration::from_secs(240);
/// How long the cluster's status may take to change: five times as long as an idle machine needs.
const TOLD: Duration = Duration::from_secs(150);
const CLUSTER: &str = "opaquecluster/demo";
/// The pod that is cut off from every pod of the other shard.
const ALONE: &str = "demo-shard-0-0";
const OTHER_SHARD: [&str; 2] = ["demo-shard-1-0", "demo-shard-1-1"];
const PODS: [&str; 4] = ["demo-shard-0-0", "demo-shard-0-1", "demo-shard-1-0", "demo-shard-1-1"];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_status_reports_shards_that_are_not_reached() -> Result<()> {
    harness::run("unreachable", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 2, 2, &["replicas=1"]).await?;
        product::condition(namespace, CLUSTER, "Degraded", "False", LIMIT).await?;
        let containers = Containers::of(namespace, product::NODES).await?;
        one_pod_reaches_not_all(namespace, &faults).await?;
        no_pod_reaches_all(namespace, &faults).await?;
        containers.check(namespace).await
    })
    .await
}

/// Some pods reach everything: clients use them, and the status names the other.
async fn one_pod_reaches_not_all(namespace: &Namespace, faults: &Faults) -> Result<()> {
    let mut cuts = Vec::new();
    for other in OTHER_SHARD {
        cuts.push(faults.partition(namespace, ALONE, other).await?);
    }
    let words = [ALONE, "shard 1"];
    let degraded = ("Degraded", "True");
    let time = product::condition_says(namespace, CLUSTER, degraded, &words, TOLD).await?;
    measured("pod cut off from a shard to Degraded", time);
    product::condition(namespace, CLUSTER, "Available", "True", TOLD).await?;
    let pods = namespace.api::<Pod>();
    let turns_away = || async { Ok((!is_ready(&pods.get(ALONE).await?)).then_some(())) };
    let (_, time) = poll::until("the pod is not Ready", TOLD, turns_away).await?;
    measured("from then until it is not Ready", time);
    let (mut queries, _folder) = queries(namespace).await?;
    queries.answers(10, LIMIT).await?;

    drop(cuts);
    let time = product::condition(namespace, CLUSTER, "Degraded", "False", LIMIT).await?;
    measured("pod reaches all shards again to Degraded no more", time);
    namespace.ready(ALONE, LIMIT).await?;
    queries.finish(10, LIMIT).await
}

/// Each pod is Ready and answers its probes, but no query could be answered.
async fn no_pod_reaches_all(namespace: &Namespace, faults: &Faults) -> Result<()> {
    let mut blocks = Vec::new();
    for pod in PODS {
        blocks.push(faults.block_port(namespace, pod, PEERS, Block::Drop).await?);
    }
    let time = product::condition(namespace, CLUSTER, "Available", "False", TOLD).await?;
    measured("peer ports blocked to not Available", time);

    drop(blocks);
    let time = product::condition(namespace, CLUSTER, "Available", "True", LIMIT).await?;
    measured("peer ports open again to Available", time);
    product::condition(namespace, CLUSTER, "Degraded", "False", LIMIT).await?;
    for pod in PODS {
        namespace.ready(pod, LIMIT).await?;
    }
    let (queries, _folder) = queries(namespace).await?;
    queries.finish(10, LIMIT).await
}
