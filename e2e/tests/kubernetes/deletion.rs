//! A deleted table is no longer served. A deleted cluster is removed together with everything that
//! was created for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::PostParams;
use opaque_crds::{OpaqueCluster, OpaqueClusterSpec, OpaqueShardMap};
use opaque_e2e::harness::{self, Namespace, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn what_is_deleted_goes_with_all_that_was_made_for_it() -> Result<()> {
    harness::run("deletion", async |namespace| {
        product::serve(namespace, 2, 1, &[]).await?;
        let sql = "SELECT country FROM weather WHERE city = 'Santiago'";
        let (question, _folder) = product::question(namespace, sql, &["country\nCL\n"]).await?;
        product::ask(&question).await?;
        let cluster = namespace.api::<OpaqueCluster>().get("demo").await?;
        ensure!(cluster.metadata.finalizers.is_none(), "{:?}", cluster.metadata.finalizers);

        deleted_alone_and_made_again(namespace, cluster.spec).await?;
        product::ask(&question).await?;

        namespace.kubectl(&["delete", "opaquetable", "weather"]).await?;
        let refused = || async { Ok(question.ask().await.err().map(|error| format!("{error:#}"))) };
        let (words, time) = poll::until("the question is refused", LIMIT, refused).await?;
        measured("table deleted to a question about it refused", time);
        // This must be the first refusal. No query in between failed in another way.
        ensure!(words.contains("error: no table \"weather\" in this cluster"), "{words}");
        ensure!(words.contains("`opaque tables` lists them"), "{words}");
        let map = namespace.api::<OpaqueShardMap>().get("demo").await?;
        let active = map.status.and_then(|status| status.active).context("no active map")?;
        ensure!(active.tables.is_empty(), "{active:?}");
        gone(namespace, "weather", &["configmap/weather"]).await?;

        namespace.kubectl(&["delete", "opaquecluster", "demo", "--wait=false"]).await?;
        let time = gone(namespace, "demo", &["secret/demo-storage"]).await?;
        measured("cluster deleted to its last object gone", time);
        Ok(())
    })
    .await
}

/// `--cascade=orphan`, and the same cluster again: it adopts the existing objects, and no pod is
/// replaced.
async fn deleted_alone_and_made_again(
    namespace: &Namespace,
    spec: OpaqueClusterSpec,
) -> Result<()> {
    let before = product::nodes(namespace).await?;
    namespace.kubectl(&["delete", "opaquecluster", "demo", "--cascade=orphan"]).await?;
    let again = OpaqueCluster::new("demo", spec);
    namespace.api::<OpaqueCluster>().create(&PostParams::default(), &again).await?;
    let start = Instant::now();
    for (condition, status) in
        [("Available", "True"), ("Degraded", "False"), ("Progressing", "False")]
    {
        product::condition(namespace, "opaquecluster/demo", condition, status, LIMIT).await?;
    }
    measured("cluster deleted with orphans and created again, to all adopted", start.elapsed());
    let after = product::nodes(namespace).await?;
    ensure!(before == after, "pods were replaced: {before:?} {after:?}");
    Ok(())
}

/// Waits until no object of any kind has a name that begins with `name`, except those that a person
/// created.
async fn gone(namespace: &Namespace, name: &str, except: &[&str]) -> Result<Duration> {
    let kinds = ["api-resources", "--namespaced", "--verbs=list", "--output=name"];
    let kinds = namespace.kubectl(&kinds).await?;
    // Events remain after their objects are gone.
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let kinds = kinds.join(",");
    let look = || async {
        let all = namespace.kubectl(&["get", &kinds, "--output=name"]).await?;
        let left = all.lines().filter(|object| {
            let of_name = object.split_once('/').is_some_and(|(_, of)| {
                of.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            });
            of_name && !except.contains(object)
        });
        let left: Vec<&str> = left.collect();
        ensure!(left.is_empty(), "{left:?}");
        for object in except {
            ensure!(all.lines().any(|line| line == *object), "{object} is gone");
        }
        Ok(Some(()))
    };
    Ok(poll::until(&format!("everything of {name} is gone"), LIMIT, look).await?.1)
}
