//! A table that cannot be loaded affects no other table, even if every pod restarts. It is served
//! again, without a restart, when its object is back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use opaque_crds::OpaqueTable;
use opaque_e2e::harness::{self, Containers, Faults, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::support::{ANSWER, SQL, queries};
use crate::tables::same_weather;

const LIMIT: Duration = Duration::from_secs(240);
/// How long a table may stay unavailable once its object is back: five times the longest pause
/// between two tries.
const BACK: Duration = Duration::from_secs(300);
const PODS: [&str; 2] = ["demo-shard-0-0", "demo-shard-1-0"];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_table_without_manifest_takes_no_other_out() -> Result<()> {
    harness::run("missing", async |namespace| {
        // Only in our own cluster, since the test accesses the store.
        Faults::new()?;
        let bucket = Bucket::new()?;
        product::serve(namespace, 2, 1, &["replicas=1"]).await?;
        namespace.apply(&same_weather("more")).await?;
        product::condition(namespace, "opaquetable/more", "Available", "True", LIMIT).await?;
        let status = namespace.api::<OpaqueTable>().get("more").await?.status;
        let epoch = status.and_then(|status| status.active_epoch).context("no active epoch")?;
        let (path, manifest) = bucket.take_manifest(namespace.name(), "more", epoch).await?;

        let pods = namespace.api::<Pod>();
        let mut before = Vec::new();
        for pod in PODS {
            before.push(pods.get(pod).await?.metadata.uid);
        }
        let start = Instant::now();
        namespace.kubectl(&["delete", "pods", "--selector", product::NODES]).await?;
        for (name, uid) in PODS.into_iter().zip(&before) {
            namespace.ready_as(name, LIMIT, |pod| pod.metadata.uid != *uid).await?;
        }
        measured("all pods deleted to all Ready without one table", start.elapsed());
        let containers = Containers::of(namespace, product::NODES).await?;
        let (mut queries, _folder) = queries(namespace).await?;

        for (object, words) in
            [("opaquetable/more", &["manifest"][..]), ("opaquecluster/demo", &["more"])]
        {
            let degraded = ("Degraded", "True");
            product::condition_says(namespace, object, degraded, words, LIMIT).await?;
        }
        let sql = SQL.replace("weather", "more");
        let (more, _more) = product::question(namespace, &sql, &[ANSWER]).await?;
        let refused = more.ask().await.err().context("a missing table is answered")?;
        let refused = format!("{refused:#}");
        // The table exists but its data is missing. A client that received "unknown" would load it
        // again.
        ensure!(refused.contains("more") && !refused.contains("no table"), "{refused}");
        queries.answers(5, LIMIT).await?;

        bucket.put(&path, manifest).await?;
        let answered = || async { product::ask(&more).await.map(Some) };
        let (_, time) = poll::until("the table is answered again", BACK, answered).await?;
        measured("manifest back to the table's first answer", time);
        for object in ["opaquetable/more", "opaquecluster/demo"] {
            product::condition(namespace, object, "Degraded", "False", LIMIT).await?;
        }
        queries.finish(5, LIMIT).await?;
        containers.check(namespace).await
    })
    .await
}
