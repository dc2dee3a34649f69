//! A crash of a node, a crash of the leader, and the deletion of a pod interrupt no query.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use opaque_e2e::harness::namespace::restarts;
use opaque_e2e::harness::{self, Faults, Lead, Namespace, lead, measured, product};
use tokio::time::Instant;

use crate::support::queries;

const LIMIT: Duration = Duration::from_secs(90);
const PODS: [&str; 4] = ["demo-shard-0-0", "demo-shard-0-1", "demo-shard-1-0", "demo-shard-1-1"];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn no_query_fails_when_a_node_dies() -> Result<()> {
    harness::run("kill-node", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 2, 2, &["replicas=1"]).await?;
        let (queries, _folder) = queries(namespace).await?;

        let before = Lead::of(namespace, lead::NODES).await?;
        let follower = PODS.into_iter().find(|pod| *pod != before.pod).context("only one pod")?;
        let time = killed_to_ready(namespace, &faults, follower).await?;
        measured("node killed to Ready", time);

        let (ready, led) = tokio::try_join!(
            killed_to_ready(namespace, &faults, &before.pod),
            Lead::until(namespace, lead::NODES, LIMIT, |lead| lead.token > before.token),
        )?;
        measured("leader killed to Ready", ready);
        measured("leader killed to the next leader", led.1);
        println!("led by {} before and by {} after", before.pod, led.0.pod);
        all_ready(namespace).await?;

        let time = deleted_to_ready(namespace, follower).await?;
        measured("pod deleted to its successor Ready", time);
        // The successor has another address, which clients and peers have to learn.
        queries.finish(5, LIMIT).await
    })
    .await
}

/// Crashes a node. Returns the time until its pod has restarted and is Ready.
async fn killed_to_ready(namespace: &Namespace, faults: &Faults, name: &str) -> Result<Duration> {
    let before = restarts(&namespace.api::<Pod>().get(name).await?);
    faults.signal(namespace, name, "node", "KILL").await?;
    namespace.ready_as(name, LIMIT, |pod| restarts(pod) > before).await
}

/// Deletes a pod like a person does. Returns the time until another pod of this name is Ready.
async fn deleted_to_ready(namespace: &Namespace, name: &str) -> Result<Duration> {
    let before = namespace.api::<Pod>().get(name).await?.metadata.uid;
    let start = Instant::now();
    namespace.kubectl(&["delete", "pod", name, "--wait=false"]).await?;
    namespace.ready_as(name, LIMIT, |pod| pod.metadata.uid != before).await?;
    Ok(start.elapsed())
}

async fn all_ready(namespace: &Namespace) -> Result<()> {
    for pod in PODS {
        namespace.ready(pod, LIMIT).await?;
    }
    Ok(())
}
