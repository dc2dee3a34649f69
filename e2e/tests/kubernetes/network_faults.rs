//! The network faults that other tests use work as described, and heal.

use std::time::Duration;

use anyhow::{Result, ensure};
use opaque_e2e::harness::{self, Block, Faults, Namespace};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::support::web;

const LIMIT: Duration = Duration::from_secs(60);
/// A reset arrives immediately. A dropped call waits for its deadline of ten seconds.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn network_faults_cut_what_they_name_and_heal() -> Result<()> {
    harness::run("faults", async |namespace| {
        let faults = Faults::new()?;
        namespace.apply(&web(3)).await?;
        for pod in ["web-0", "web-1", "web-2"] {
            namespace.ready(pod, LIMIT).await?;
        }
        let (zero, one) = (host(namespace, "web-0"), host(namespace, "web-1"));
        let (api, store) = ("kubernetes.default.svc.cluster.local:443", "minio.minio:9000");
        for host in [&zero, &one] {
            answers(namespace, "web-2", host).await?;
        }
        answers(namespace, "web-1", &zero).await?;
        for server in [api, store] {
            answers(namespace, "web-0", server).await?;
        }

        let cut = faults.partition(namespace, "web-0", "web-1").await?;
        let (there, back) =
            tokio::join!(get(namespace, "web-0", &one), get(namespace, "web-1", &zero));
        ensure!(there.is_err() && back.is_err(), "{there:?}, {back:?}");
        get(namespace, "web-2", &zero).await?;
        get(namespace, "web-0", store).await?;
        cut.heal();
        answers(namespace, "web-0", &one).await?;
        answers(namespace, "web-1", &zero).await?;

        let block = faults.block_port(namespace, "web-1", 8080, Block::Reject).await?;
        let start = Instant::now();
        ensure!(get(namespace, "web-0", &one).await.is_err(), "a blocked port answers");
        ensure!(start.elapsed() < AT_ONCE, "a rejected call waited for {:?}", start.elapsed());
        get(namespace, "web-1", &zero).await?;
        drop(block);
        answers(namespace, "web-0", &one).await?;

        let block = faults.block_port(namespace, "web-1", 8080, Block::Drop).await?;
        let cuts = (
            faults.cut_from_api(namespace, "web-0").await?,
            faults.cut_from_store(namespace, "web-0").await?,
        );
        let (port, first, second) = tokio::join!(
            get(namespace, "web-2", &one),
            get(namespace, "web-0", api),
            get(namespace, "web-0", store)
        );
        ensure!(
            port.is_err() && first.is_err() && second.is_err(),
            "{port:?}, {first:?}, {second:?}"
        );
        for server in [api, store] {
            get(namespace, "web-1", server).await?;
        }
        drop((block, cuts));
        for server in [api, store, &one] {
            answers(namespace, "web-0", server).await?;
        }
        Ok(())
    })
    .await
}

fn host(namespace: &Namespace, pod: &str) -> String {
    format!("{pod}.web.{}.svc.cluster.local:8080", namespace.name())
}

/// A server's response to a pod. Any response shows that it was reached.
async fn get(namespace: &Namespace, pod: &str, host: &str) -> Result<String> {
    namespace.kubectl(&["exec", pod, "--", "/usr/bin/e2e-pod", "get", host, "/"]).await
}

/// Waits until a pod reaches a server, since names and rules take a moment.
async fn answers(namespace: &Namespace, pod: &str, host: &str) -> Result<()> {
    let look = || async { get(namespace, pod, host).await.map(Some) };
    poll::until(&format!("{host} answers {pod}"), LIMIT, look).await.map(drop)
}
