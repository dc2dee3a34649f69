//! Pods of a StatefulSet become Ready, run commands, keep logs, and are reachable by name and
//! address.

use std::time::Duration;

use anyhow::Result;
use opaque_e2e::harness::{self, measured};
use opaque_e2e::poll;

use crate::support::web;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn pods_become_ready_and_reach_each_other() -> Result<()> {
    harness::run("pods", async |namespace| {
        namespace.apply(&web(2)).await?;
        let time = namespace.ready("web-0", LIMIT).await?;
        namespace.ready("web-1", LIMIT).await?;
        measured("StatefulSet applied to its first pod Ready", time);

        let logs = namespace.kubectl(&["logs", "web-0"]).await?;
        assert_eq!(logs, "serving on port 8080\n");

        // By the name of a pod, and by that of the Service, whose address kube-proxy provides.
        let other = format!("web-1.web.{}.svc.cluster.local:8080", namespace.name());
        for host in [other.as_str(), "vip:80"] {
            let get = ["exec", "web-0", "--", "/usr/bin/e2e-pod", "get", host, "/"];
            // A pod is Ready a moment before kube-proxy knows.
            let answers = async || namespace.kubectl(&get).await.map(Some);
            let (answer, _) = poll::until(&format!("{host} answers"), LIMIT, answers).await?;
            assert_eq!(answer, "HTTP/1.1 200 OK\n", "{host}");
        }
        Ok(())
    })
    .await
}
