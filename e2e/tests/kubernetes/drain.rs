//! The disruption budgets allow a drain, one pod of a shard at a time.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::EvictParams;
use kube::{Api, Config};
use opaque_e2e::cluster::BUCKET;
use opaque_e2e::harness::namespace::is_ready;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use opaque_election::without_retries;
use tokio::time::Instant;

use crate::support::queries;

const LIMIT: Duration = Duration::from_secs(90);
const FIRST: &str = "demo-shard-0-0";
const SECOND: &str = "demo-shard-0-1";
const ONLY: &str = "single-shard-0-0";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_drain_takes_one_pod_of_a_shard_after_the_other() -> Result<()> {
    harness::run("drain", async |namespace| {
        // Only in our own cluster: from outside, a query would end with the pod that forwards it.
        Faults::new()?;
        product::serve(namespace, 1, 2, &["replicas=1"]).await?;
        let (queries, _folder) = queries(namespace).await?;

        let first = uid(namespace, FIRST).await?;
        let second = uid(namespace, SECOND).await?;
        let start = Instant::now();
        allowed(namespace, FIRST).await?;
        ensure!(!evict(namespace, SECOND).await?, "both pods of a shard may be evicted at a time");

        // Like `kubectl drain`, the test retries until the eviction is allowed.
        allowed(namespace, SECOND).await?;
        let now = namespace.api::<Pod>().get(FIRST).await?;
        ensure!(
            now.metadata.uid != first && is_ready(&now),
            "{SECOND} may be evicted while {FIRST} is not Ready: {now:?}"
        );
        measured("first pod evicted to the second allowed", start.elapsed());
        namespace.ready_as(SECOND, LIMIT, |pod| pod.metadata.uid != second).await?;
        measured("both pods of a shard drained, one after the other", start.elapsed());
        queries.finish(5, LIMIT).await?;

        // With one replica, a drain interrupts answers, but it completes.
        let url = format!("s3://{BUCKET}/{}", namespace.name());
        let other = format!("{url}/single");
        let changes = [("name: demo\n", "name: single\n"), (&url, &other)];
        product::apply_cluster_with(namespace, 1, 1, &changes).await?;
        product::condition(namespace, "opaquecluster/single", "Available", "True", LIMIT).await?;
        let only = uid(namespace, ONLY).await?;
        let start = Instant::now();
        allowed(namespace, ONLY).await?;
        namespace.ready_as(ONLY, LIMIT, |pod| pod.metadata.uid != only).await?;
        measured("the only pod of a shard evicted to its successor Ready", start.elapsed());
        Ok(())
    })
    .await
}

/// Waits until a pod may be evicted, and evicts it.
async fn allowed(namespace: &Namespace, pod: &str) -> Result<()> {
    let look = || async { Ok(evict(namespace, pod).await?.then_some(())) };
    poll::until(&format!("pod {pod} may be evicted"), LIMIT, look).await.map(drop)
}

/// Requests the eviction of a pod once. Returns `false` if its disruption budget refuses.
async fn evict(namespace: &Namespace, pod: &str) -> Result<bool> {
    // The usual client would retry by itself.
    let client = without_retries(&Config::infer().await?)?;
    let pods: Api<Pod> = Api::namespaced(client, namespace.name());
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 429 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn uid(namespace: &Namespace, pod: &str) -> Result<Option<String>> {
    Ok(namespace.api::<Pod>().get(pod).await?.metadata.uid)
}
