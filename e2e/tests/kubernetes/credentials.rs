//! A store whose certificate is from a private authority. Wrong credentials are corrected, and
//! valid ones are rotated in the store. The status reports the problem, and the same processes
//! continue once the Secret is correct.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use opaque_e2e::authority::{Authority, Identity};
use opaque_e2e::cluster::NODE;
use opaque_e2e::harness::namespace::restarts;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::{cache, poll};
use serde_json::json;
use tokio::process::Child;
use tokio::time::Instant;

use crate::epochs::{SQL, answer, change};
use crate::tables::same_weather;

const LIMIT: Duration = Duration::from_secs(300);
const PORT: u16 = 9100;
const USER: &str = "credentials-key";
const REFUSED: &str = "the store refuses access (403 Forbidden";
const SECRET: &str = "Secret demo-storage, which pods read again within two minutes";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn credentials_are_mended_and_exchanged_under_running_pods() -> Result<()> {
    harness::run("credentials", async |namespace| {
        let store = OwnStore::new()?;
        let mut serving = store.start("first-secret").await?;
        product::install(namespace, &[]).await?;
        secret(namespace, "wrong-secret").await?;
        let authority = json!({"ca.crt": store.authority.pem()});
        product::secret(namespace, "store-authority", authority).await?;
        change(namespace, 0).await?;
        namespace.apply(&cluster(namespace.name())).await?;
        namespace.apply(&same_weather("weather")).await?;
        let (table, degraded) = ("opaquetable/weather", ("Degraded", "True"));
        let words = &["StoreUnavailable", "access to", "was refused (403 Forbidden"];
        product::condition_says(namespace, table, degraded, words, LIMIT).await?;
        told(namespace).await?;
        let pods = pods(namespace).await?;

        let start = Instant::now();
        secret(namespace, "first-secret").await?;
        product::condition(namespace, "opaquetable/weather", "Available", "True", LIMIT).await?;
        measured("Secret of the store corrected to table Available", start.elapsed());
        product::condition(namespace, "opaquecluster/demo", "Degraded", "False", LIMIT).await?;

        // From now on, the store accepts other keys. Tables are still served, and the cluster
        // reports the problem before the next epoch is needed.
        serving.kill().await?;
        let _serving = store.start("second-secret").await?;
        told(namespace).await?;
        let (question, _folder) =
            product::question(namespace, SQL, &[&answer(0), &answer(1)]).await?;
        product::ask(&question).await?;
        // The Job reads the new Secret when it starts. The kubelet updates the nodes' files later,
        // and until then their requests are refused.
        let start = Instant::now();
        secret(namespace, "second-secret").await?;
        change(namespace, 1).await?;
        let served = || async {
            let line = namespace.kubectl(&["get", "opaquetable/weather", "--no-headers"]).await?;
            ensure!(line.split_whitespace().nth(2) == Some("2"), "{line}");
            Ok(Some(()))
        };
        poll::until("the next epoch is served", LIMIT, served).await?;
        measured("keys exchanged to next epoch served", start.elapsed());
        product::condition(namespace, "opaquecluster/demo", "Degraded", "False", LIMIT).await?;
        ensure!(pods == self::pods(namespace).await?, "pods were replaced or restarted");
        Ok(())
    })
    .await
}

/// Waits until the cluster reports that its pods cannot read the store, and still serves.
async fn told(namespace: &Namespace) -> Result<()> {
    let words = &["StoreUnavailable: pod demo-shard-0-0", REFUSED, SECRET];
    product::condition_says(namespace, "opaquecluster/demo", ("Degraded", "True"), words, LIMIT)
        .await?;
    product::condition(namespace, "opaquecluster/demo", "Available", "True", LIMIT).await.map(drop)
}

/// Each pod of the cluster, with its UID and the number of restarts of its container.
async fn pods(namespace: &Namespace) -> Result<BTreeMap<String, (Option<String>, i32)>> {
    let of_cluster = ListParams::default().labels(product::NODES);
    let pods = namespace.api::<Pod>().list(&of_cluster).await?.items;
    ensure!(pods.len() == 2, "{} pods", pods.len());
    Ok(pods.iter().map(|pod| (pod.name_any(), (pod.uid(), restarts(pod)))).collect())
}

fn cluster(prefix: &str) -> String {
    json!({
        "apiVersion": "opaque.dev/v1alpha1", "kind": "OpaqueCluster", "metadata": {"name": "demo"},
        "spec": {
            "shards": 2, "replicasPerShard": 1, "clientAuth": {"mode": "none"},
            "storage": {
                "url": format!("s3://credentials/{prefix}"),
                "endpoint": format!("https://{NODE}:{PORT}"),
                "region": "us-east-1",
                "secretRef": {"name": "demo-storage"},
                "caSecretRef": {"name": "store-authority"},
            },
            "podTemplate": {"spec": {"containers": [{
                "name": "node", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            }]}},
        },
    })
    .to_string()
}

async fn secret(namespace: &Namespace, secret: &str) -> Result<()> {
    let keys = json!({"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": secret});
    product::secret(namespace, "demo-storage", keys).await
}

/// A separate object store whose keys this test may rotate, with a certificate from a separate
/// authority.
struct OwnStore {
    authority: Authority,
    faults: Faults,
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl OwnStore {
    fn new() -> Result<Self> {
        let (faults, folder) = (Faults::new()?, tempfile::tempdir()?);
        // MinIO stores a bucket as a folder.
        fs::create_dir_all(folder.path().join("data/credentials"))?;
        let authority = Authority::new()?;
        let Identity { certificate, key } = authority.server(&[NODE])?;
        let certificates = folder.path().join("certificates");
        fs::create_dir(&certificates)?;
        fs::write(certificates.join("public.crt"), certificate)?;
        fs::write(certificates.join("private.key"), key)?;
        // The program has another name than the cluster's store, for which other tests look.
        let program = folder.path().join("own-store");
        fs::copy(cache::server("minio")?, &program)?;
        Ok(Self { authority, faults, folder, program })
    }

    /// Starts the store with one pair of keys. Dropping the result ends it.
    async fn start(&self, secret: &str) -> Result<Child> {
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path is no text");
        let log = fs::File::create(self.folder.path().join(format!("{secret}.log")))?;
        let mut command = self.faults.in_network(&self.program);
        command
            .args(["server", &path(&self.folder.path().join("data"))?, "--quiet"])
            .args(["--address", &format!("{NODE}:{PORT}")])
            .args(["--certs-dir", &path(&self.folder.path().join("certificates"))?])
            .envs([("MINIO_ROOT_USER", USER), ("MINIO_ROOT_PASSWORD", secret)])
            .envs([("MINIO_UPDATE", "off"), ("MINIO_BROWSER", "off"), ("MINIO_CI_CD", "1")])
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let health = format!("https://{NODE}:{PORT}/minio/health/live");
        let answers = || async {
            let mut get = self.faults.in_network(Path::new("/usr/bin/curl"));
            let get = get.args(["--silent", "--fail", "--insecure", &health]).status().await?;
            ensure!(get.success(), "{health} does not answer");
            Ok(Some(()))
        };
        poll::until("the store answers", LIMIT, answers).await?;
        Ok(child)
    }
}
