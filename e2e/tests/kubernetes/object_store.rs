//! A pod reaches MinIO under the name that examples use.

use std::time::Duration;

use anyhow::Result;
use opaque_e2e::harness;

use crate::support::web;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_pod_reaches_the_object_store() -> Result<()> {
    harness::run("store", async |namespace| {
        namespace.apply(&web(1)).await?;
        namespace.ready("web-0", Duration::from_secs(60)).await?;
        for (path, status) in [("/minio/health/live", "200 OK"), ("/opaque", "403 Forbidden")] {
            let get = ["exec", "web-0", "--", "/usr/bin/e2e-pod", "get", "minio.minio:9000", path];
            assert_eq!(namespace.kubectl(&get).await?, format!("HTTP/1.1 {status}\n"), "{path}");
        }
        Ok(())
    })
    .await
}
