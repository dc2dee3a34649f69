//! A container that is killed comes back, and one that hangs is detected.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use opaque_e2e::harness::namespace::restarts;
use opaque_e2e::harness::{self, Faults, measured};
use opaque_e2e::poll;

use crate::support::web;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_killed_container_comes_back() -> Result<()> {
    harness::run("killed", async |namespace| {
        let faults = Faults::new()?;
        namespace.apply(&web(1)).await?;
        namespace.ready("web-0", LIMIT).await?;
        faults.signal(namespace, "web-0", "web", "KILL").await?;
        let time = namespace.ready_as("web-0", LIMIT, |pod| restarts(pod) == 1).await?;
        measured("container killed to Ready", time);

        faults.signal(namespace, "web-0", "web", "STOP").await?;
        let pods = namespace.api::<Pod>();
        let unready = || async {
            let pod = pods.get("web-0").await?;
            let statuses = pod.status.and_then(|status| status.container_statuses);
            let ready = statuses.into_iter().flatten().any(|status| status.ready);
            Ok((!ready).then_some(()))
        };
        let (_, time) = poll::until("the hanging pod is not Ready", LIMIT, unready).await?;
        measured("container stopped to not Ready", time);
        faults.signal(namespace, "web-0", "web", "CONT").await?;
        let time = namespace.ready_as("web-0", LIMIT, |pod| restarts(pod) == 1).await?;
        measured("container continued to Ready", time);
        Ok(())
    })
    .await
}
