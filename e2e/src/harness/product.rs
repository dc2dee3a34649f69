//! Opaque in a test's namespace, installed like by a user.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Namespace, PORT, Question, Way};
use crate::cluster::{BUCKET, S3_PASSWORD, S3_USER};
use crate::poll;

/// The release of the kinds. It is installed once for all tests, since kinds are cluster-scoped.
static KINDS: OnceCell<()> = OnceCell::const_new();
/// Selects the pods of cluster `demo`.
pub const NODES: &str = "opaque.dev/cluster=demo,opaque.dev/shard";
/// The memory of a pod in the example. [`memory`] replaces it.
pub const MEMORY: &str = "memory: 512Mi}\n            limits: {memory: 1Gi}";
/// How long a cluster may take from its manifests to its first answer, on a busy machine.
const SERVES: Duration = Duration::from_secs(240);

/// Root folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Installs both charts: the kinds once, the operator in this namespace. Returns when Helm does,
/// before the operator's pods are Ready.
pub async fn install(namespace: &Namespace, values: &[&str]) -> Result<()> {
    let charts = root().join("charts");
    let (kinds, operator) = (path(&charts.join("opaque-crds"))?, path(&charts.join("opaque"))?);
    let release = ["upgrade", "--install", "opaque-crds", &kinds, "--create-namespace"];
    let release = [&release[..], &["--namespace", "opaque-crds"]].concat();
    KINDS.get_or_try_init(async || namespace.helm(&release).await.map(drop)).await?;
    let mut arguments = vec!["install", "opaque", &operator];
    for value in values {
        arguments.extend(["--set", value]);
    }
    namespace.helm(&arguments).await.map(drop)
}

/// Applies the Secret of the object store, and `examples/kubernetes/cluster.yaml` with this test's
/// folder in the store and with resource requests that fit this machine.
pub async fn apply_cluster(namespace: &Namespace) -> Result<()> {
    apply_cluster_of(namespace, 3, 2).await
}

/// Like [`apply_cluster`], with another size than in the example.
pub async fn apply_cluster_of(namespace: &Namespace, shards: u32, replicas: u32) -> Result<()> {
    apply_cluster_with(namespace, shards, replicas, &[]).await
}

/// Like [`apply_cluster_of`], with texts of the manifest replaced, such as `("mode: none", "mode:
/// token")`.
pub async fn apply_cluster_with(
    namespace: &Namespace,
    shards: u32,
    replicas: u32,
    changes: &[(&str, &str)],
) -> Result<()> {
    storage_secret(namespace, "demo-storage").await?;
    let mut manifest = fs::read_to_string(root().join("examples/kubernetes/cluster.yaml"))?;
    let url = format!("s3://{BUCKET}/{}", namespace.name());
    let (shards, replicas) = (format!("shards: {shards}"), format!("replicasPerShard: {replicas}"));
    let always = [
        ("s3://opaque/demo", url.as_str()),
        ("cpu: 500m", "cpu: 50m"),
        ("shards: 3", &shards),
        ("replicasPerShard: 2", &replicas),
    ];
    for (from, to) in always.iter().chain(changes) {
        ensure!(manifest.contains(from), "the example's manifest has no {from:?}");
        manifest = manifest.replace(from, to);
    }
    namespace.apply(&manifest).await.map(drop)
}

/// A replacement for [`MEMORY`]: pods with this limit, such as `192Mi`, and with variables for
/// container `node`.
pub fn memory(limit: &str, variables: &[(&str, &str)]) -> String {
    let variable = |(name, value): &(&str, &str)| format!("{{name: {name}, value: \"{value}\"}}");
    let variables: Vec<_> = variables.iter().map(variable).collect();
    format!(
        "memory: 64Mi}}\n            limits: {{memory: {limit}}}\n          env: [{}]",
        variables.join(", ")
    )
}

/// Applies a Secret.
pub async fn secret(namespace: &Namespace, name: &str, data: Value) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
    });
    namespace.apply(&secret.to_string()).await.map(drop)
}

/// Applies a Secret with the keys of the cluster's object store.
pub async fn storage_secret(namespace: &Namespace, name: &str) -> Result<()> {
    let keys = json!({"AWS_ACCESS_KEY_ID": S3_USER, "AWS_SECRET_ACCESS_KEY": S3_PASSWORD});
    secret(namespace, name, keys).await
}

/// UIDs of the cluster's pods, by name.
pub async fn nodes(namespace: &Namespace) -> Result<BTreeMap<String, Option<String>>> {
    let pods = namespace.api::<Pod>().list(&ListParams::default().labels(NODES)).await?;
    Ok(pods.iter().map(|pod| (pod.name_any(), pod.uid())).collect())
}

/// Applies `examples/kubernetes/weather.yaml`.
pub async fn apply_weather(namespace: &Namespace) -> Result<()> {
    let manifest = fs::read_to_string(root().join("examples/kubernetes/weather.yaml"))?;
    namespace.apply(&manifest).await.map(drop)
}

/// Installs Opaque, and waits until cluster `demo` of this size answers queries about `weather`.
pub async fn serve(
    namespace: &Namespace,
    shards: u32,
    replicas: u32,
    values: &[&str],
) -> Result<()> {
    install(namespace, values).await?;
    apply_cluster_of(namespace, shards, replicas).await?;
    serves_weather(namespace).await
}

/// Applies table `weather` to a cluster that was applied before, and waits until both are
/// Available.
pub async fn serves_weather(namespace: &Namespace) -> Result<()> {
    apply_weather(namespace).await?;
    for object in ["opaquecluster/demo", "opaquetable/weather"] {
        condition(namespace, object, "Available", "True", SERVES).await?;
    }
    Ok(())
}

/// Waits until a condition of an object, such as `opaquetable/weather`, has a status.
pub async fn condition(
    namespace: &Namespace,
    object: &str,
    condition: &str,
    status: &str,
    limit: Duration,
) -> Result<Duration> {
    condition_says(namespace, object, (condition, status), &[], limit).await
}

/// Like [`condition`], and until reason and message of the condition contain these words. An error
/// shows the actual text.
pub async fn condition_says(
    namespace: &Namespace,
    object: &str,
    (condition, status): (&str, &str),
    words: &[&str],
    limit: Duration,
) -> Result<Duration> {
    let find = || async {
        let text = namespace.kubectl(&["get", object, "--output=json"]).await?;
        let object: Value = serde_json::from_str(&text)?;
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let text = |c: &Value, field| c.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let found = conditions.into_iter().flatten().find(|c| text(c, "type") == condition);
        let found = found.context("there is no such condition yet")?;
        let is = text(found, "status");
        let said = format!("{}: {}", text(found, "reason"), text(found, "message"));
        let says = words.iter().all(|words| said.contains(words));
        ensure!(is == status && says, "it is {is}: {said}");
        Ok(Some(()))
    };
    let what = match words {
        [] => format!("{object} is {condition}={status}"),
        words => format!("{object} is {condition}={status} and says {words:?}"),
    };
    Ok(poll::until(&what, limit, find).await?.1)
}

/// A query to cluster `demo` through its Service. The folder holds the client's keys and the file
/// with the authority that it trusts.
pub async fn question(
    namespace: &Namespace,
    sql: &str,
    right: &[&str],
) -> Result<(Question, TempDir)> {
    let trust = namespace.api::<ConfigMap>().get("demo-trust").await?;
    let authority = trust.data.and_then(|mut data| data.remove("server-ca.crt"));
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("server-ca.crt");
    fs::write(&ca, authority.context("ConfigMap demo-trust has no server-ca.crt")?)?;
    let url = format!("https://demo-query.{}.svc.cluster.local:{PORT}", namespace.name());
    let home = folder.path().join("home");
    let right = right.iter().map(|&answer| answer.into()).collect();
    let way = Way::to(namespace)?;
    let options = Vec::new();
    Ok((Question { way, url, ca, home, options, sql: sql.into(), right }, folder))
}

/// Sends the query once and compares the answer.
pub async fn ask(question: &Question) -> Result<()> {
    let answer = question.ask().await?;
    ensure!(question.right.contains(&answer), "wrong answer: {answer}");
    Ok(())
}

fn path(path: &Path) -> Result<String> {
    Ok(path.to_str().context("the clone's path is not text")?.to_owned())
}
