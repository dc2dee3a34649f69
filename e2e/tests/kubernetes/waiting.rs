//! `kubectl describe` says why something waits, and it continues by itself once the cause is fixed.
//!
//! All causes exist at the same time, each on a separate object, and are fixed together, since most
//! of the time is spent waiting.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use opaque_e2e::cluster::{FOLDER_VARIABLE, NODE, S3_PASSWORD, S3_USER};
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tables::{file_server, weather_table};

const LIMIT: Duration = Duration::from_secs(240);
const WHERE: &str = "id,city,country,conditions,temperature,humidity\n1,Oslo,NO,Rain,7,80\n";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn whatever_waits_says_why_and_goes_on_once_that_is_mended() -> Result<()> {
    harness::run("waiting", async |namespace| {
        // Only in our own cluster: the test reads the store's folder, and uses an address where
        // nothing listens.
        Faults::new()?;
        product::install(namespace, &[]).await?;
        namespace.apply(&file_server(WHERE)).await?;
        let bucket = format!("late-{}", namespace.name());
        break_everything(namespace, &bucket).await?;
        secret(namespace).await?;
        unschedulable(namespace).await?;
        sources(namespace).await?;
        storage(namespace).await?;
        at_a_glance(namespace).await?;
        mend(namespace, &bucket).await
    })
    .await
}

async fn break_everything(namespace: &Namespace, bucket: &str) -> Result<()> {
    let prefix = namespace.name();
    let good = format!("s3://opaque/{prefix}");
    let minio = "http://minio.minio:9000";
    for (name, url, endpoint, secret, cpu) in [
        ("keyless", format!("{good}/keyless"), minio, "lacking", "50m"),
        ("vast", format!("{good}/vast"), minio, "demo-storage", "1000"),
        ("demo", format!("{good}/demo"), minio, "demo-storage", "50m"),
        ("late", format!("s3://{bucket}/late"), minio, "demo-storage", "50m"),
        // The discard port, where nothing listens.
        ("silent", format!("{good}/silent"), &format!("http://{NODE}:9"), "demo-storage", "50m"),
    ] {
        namespace.apply(&cluster(name, &url, endpoint, secret, cpu)).await?;
    }
    storage_secret(namespace, "demo-storage", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
        .await?;
    let good = json!({"configMapRef": {"name": "where", "key": "where.csv"}});
    let bad = json!({"configMapRef": {"name": "misfit", "key": "where.csv"}});
    let missing = json!({"url": "http://files/wether.csv"});
    for (name, cluster, source) in [
        ("secretless", "keyless", &good),
        ("misfit", "demo", &bad),
        ("missing", "demo", &missing),
        ("homeless", "late", &good),
        ("unheard", "silent", &good),
    ] {
        namespace.apply(&weather_table(name, cluster, source)).await?;
    }
    rows(namespace, "where", WHERE).await?;
    rows(namespace, "misfit", &WHERE.replace(",7,", ",warm,")).await
}

/// A cluster of one pod.
fn cluster(name: &str, url: &str, endpoint: &str, secret: &str, cpu: &str) -> String {
    let requests = json!({"cpu": cpu, "memory": "64Mi"});
    let node = json!({"name": "node", "resources": {"requests": requests}});
    json!({
        "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster", "metadata": {"name": name},
        "spec": {
            "shards": 1, "replicasPerShard": 1, "clientAuth": {"mode": "none"},
            "storage": {
                "url": url, "endpoint": endpoint, "region": "us-east-1",
                "secretRef": {"name": secret},
            },
            "podTemplate": {"spec": {"containers": [node]}},
        },
    })
    .to_string()
}

async fn storage_secret(namespace: &Namespace, name: &str, keys: &[&str]) -> Result<()> {
    let value = |key| if key == "AWS_ACCESS_KEY_ID" { S3_USER } else { S3_PASSWORD };
    let data: serde_json::Map<String, Value> =
        keys.iter().map(|&key| (key.to_owned(), value(key).into())).collect();
    product::secret(namespace, name, data.into()).await
}

async fn rows(namespace: &Namespace, name: &str, rows: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"where.csv": rows},
    });
    namespace.apply(&map.to_string()).await.map(drop)
}

/// Waits until `kubectl describe` contains each of these texts. The alignment of columns does not
/// matter.
async fn described(namespace: &Namespace, object: &str, words: &[&str]) -> Result<String> {
    let look = || async {
        let text = namespace.kubectl(&["describe", object]).await?;
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let text = lines.collect::<Vec<_>>().join("\n");
        for words in words {
            ensure!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        Ok(Some(text))
    };
    Ok(poll::until(&format!("{object} says why it waits"), LIMIT, look).await?.0)
}

async fn secret(namespace: &Namespace) -> Result<()> {
    let missing = "Secret lacking does not exist: create it, or correct spec.storage.secretRef";
    let text = described(
        namespace,
        "opaquecluster/keyless",
        &[missing, &format!("Blocked By: {missing}"), "Warning SecretNotUsable"],
    )
    .await?;
    ensure!(text.contains("opaque-operator"), "the event does not say who tells it:\n{text}");
    let of_table =
        "Secret lacking, the secretRef of spec.storage of OpaqueCluster keyless, does not exist";
    described(namespace, "opaquetable/secretless", &[of_table, "Reason: SecretMissing"]).await?;

    storage_secret(namespace, "lacking", &["AWS_ACCESS_KEY_ID"]).await?;
    let lacks = "Secret lacking has no key AWS_SECRET_ACCESS_KEY, which spec.storage.secretRef needs: add it";
    described(namespace, "opaquecluster/keyless", &[lacks]).await.map(drop)
}

async fn unschedulable(namespace: &Namespace) -> Result<()> {
    let words =
        ["pod vast-shard-0-0 cannot be scheduled: 0/1 nodes are available", "Insufficient cpu"];
    described(namespace, "opaquecluster/vast", &words).await.map(drop)
}

async fn sources(namespace: &Namespace) -> Result<()> {
    let words =
        "http://files/wether.csv answered 404 Not Found: check spec.source; tried again at 20";
    described(namespace, "opaquetable/missing", &[words, "Warning SourceNotFound"]).await?;
    let words = "line 2, column temperature: expected a whole number of 64 bits";
    described(
        namespace,
        "opaquetable/misfit",
        &[words, "correct the source or spec.schema", "Warning SchemaMismatch"],
    )
    .await
    .map(drop)
}

async fn storage(namespace: &Namespace) -> Result<()> {
    let words = ["store: the bucket does not exist", "create it, or correct the store's URL"];
    described(namespace, "opaquetable/homeless", &words).await?;
    let words = ["store: it cannot be reached", &format!("{NODE}:9"), "check the endpoint"];
    described(namespace, "opaquetable/unheard", &words).await.map(drop)
}

/// A one-line summary says that each waits, and for what.
async fn at_a_glance(namespace: &Namespace) -> Result<()> {
    let all = namespace.kubectl(&["get", "opaqueclusters,opaquetables", "--output=wide"]).await?;
    println!("{all}");
    let line = |object: &str| {
        let line = all.lines().find(|line| {
            line.split('/')
                .nth(1)
                .is_some_and(|rest| rest.split_whitespace().next() == Some(object))
        });
        line.with_context(|| format!("no {object} in:\n{all}"))
    };
    for (object, words) in [
        ("keyless", &["False", "ShardsNotReady", "Secret lacking has no key"][..]),
        ("vast", &["False", "ShardsNotReady", "Insufficient cpu"]),
        ("secretless", &["keyless", "False", "SecretMissing"]),
        ("missing", &["demo", "False", "SourceNotFound", "404 Not Found"]),
        ("misfit", &["demo", "False", "SchemaMismatch", "column temperature"]),
        ("homeless", &["late", "False", "the bucket does not exist"]),
        ("unheard", &["silent", "False", "it cannot be reached"]),
    ] {
        let line = line(object)?;
        for words in words {
            ensure!(line.contains(words), "{object} does not show {words:?}: {line}");
        }
    }
    Ok(())
}

async fn mend(namespace: &Namespace, bucket: &str) -> Result<()> {
    storage_secret(namespace, "lacking", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]).await?;
    rows(namespace, "misfit", WHERE).await?;
    let right = json!({"spec": {"source": {"url": "http://files/weather.csv"}}}).to_string();
    let patch = ["patch", "opaquetable/missing", "--type=merge", "--patch", &right];
    namespace.kubectl(&patch).await?;
    // MinIO stores a bucket as a folder.
    let folder = std::env::var_os(FOLDER_VARIABLE).context("not the cluster of make e2e")?;
    fs::create_dir(PathBuf::from(folder).join("lib/minio").join(bucket))?;
    let url = format!("s3://opaque/{}/vast", namespace.name());
    let minio = "http://minio.minio:9000";
    namespace.apply(&cluster("vast", &url, minio, "demo-storage", "50m")).await?;
    let url = format!("s3://opaque/{}/silent", namespace.name());
    namespace.apply(&cluster("silent", &url, minio, "demo-storage", "50m")).await?;
    let start = Instant::now();
    for (object, what) in [
        ("opaquetable/misfit", "ConfigMap corrected to table Available"),
        ("opaquetable/missing", "URL corrected to table Available"),
        ("opaquecluster/keyless", "Secret completed to cluster Available"),
        ("opaquetable/secretless", "Secret completed to table Available"),
        ("opaquecluster/vast", "requests corrected to cluster Available"),
        ("opaquetable/unheard", "endpoint corrected to table Available"),
        ("opaquetable/homeless", "bucket created to table Available"),
    ] {
        product::condition(namespace, object, "Available", "True", LIMIT).await?;
        measured(what, start.elapsed());
    }
    for object in ["opaquetable/misfit", "opaquetable/missing", "opaquecluster/keyless"] {
        product::condition(namespace, object, "Degraded", "False", LIMIT).await?;
    }
    Ok(())
}
