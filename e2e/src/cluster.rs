//! A whole Kubernetes cluster on this machine, in separate namespaces.
//!
//! **Flow.** [`files`] writes configuration and certificates into a new folder. [`janitor`] creates
//! the namespaces, whose first process (`cluster/inside.sh`) starts servers by name and restarts
//! them when they end. [`network`] connects the machine to them. Then [`Cluster::start`] waits
//! until everything is ready.
//!
//! **Guarantees.** A machine runs one cluster at a time; a second one waits. However this process
//! ends, the janitor ends the namespaces with everything in them, and removes the folder, the link
//! and the control groups.
//!
//! **Assumptions.** The process runs as root, with control groups of version 1, and with the
//! packages and binaries of `scripts/setup.sh --kubernetes`. Elsewhere, the tests run on any
//! cluster (`e2e/kind.sh`).
//!
//! **Limits.** There is one node. NetworkPolicies are stored but not enforced, since CNI's bridge
//! does not support them.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::janitor::Janitor;
use crate::{cache, command, image, poll};

pub mod files;
pub mod janitor;
pub mod network;

/// How long all servers together may take to start on a busy machine.
const START: Duration = Duration::from_secs(180);
/// How long one tool may take.
const TOOL: Duration = Duration::from_secs(60);
/// The address of node, API server, DNS and object store.
pub const NODE: &str = "10.250.0.1";
/// The node's name.
pub const NODE_NAME: &str = "node1";
/// Root of the pods' control groups.
pub const CGROUP: &str = "opaque-e2e";
/// Credentials of the object store. They are not secret, and the same as in
/// `examples/kubernetes/minio.yaml`, so that tests do not depend on which store they use.
pub const S3_USER: &str = "demo-access-key";
/// See [`S3_USER`].
pub const S3_PASSWORD: &str = "demo-secret-key";
/// The bucket that exists from the start.
pub const BUCKET: &str = "opaque";
/// Variable with a cluster's folder. The janitor also recognizes the processes of a run by it.
pub const FOLDER_VARIABLE: &str = "OPAQUE_E2E_FOLDER";
/// Variable with the process id of the namespaces' first process.
pub const INIT_VARIABLE: &str = "OPAQUE_E2E_INIT";

/// A running cluster. Dropping it ends the cluster and waits until nothing is left.
#[derive(Debug)]
pub struct Cluster {
    janitor: Janitor,
    init: u32,
    folder: PathBuf,
}

impl Cluster {
    /// Starts a cluster with images (tar files of `e2e-images`), and waits until its node is Ready.
    pub async fn start(images: &[PathBuf]) -> Result<Self> {
        check_machine()?;
        let folder = tempfile::Builder::new().prefix("opaque-e2e-").tempdir()?;
        files::write(folder.path())?;
        let janitor = Janitor::start(folder).await?;
        let folder = janitor.folder().to_path_buf();
        let init = janitor.init(START).await?;
        let cluster = Self { janitor, init, folder };
        match cluster.bring_up(images).await {
            Ok(()) => Ok(cluster),
            Err(error) => Err(error.context(cluster.logs())),
        }
    }

    /// The folder with everything that the servers write.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Process id of the namespaces' first process. All other processes of the cluster are its
    /// descendants.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Process id that holds the namespaces. All processes of the cluster end with it.
    pub fn holder(&self) -> u32 {
        self.janitor.holder()
    }

    /// Path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("pki/admin.json")
    }

    /// A client with all permissions.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Variables that describe this cluster to a test.
    pub fn environment(&self) -> Result<Vec<(&'static str, OsString)>> {
        Ok(vec![
            ("KUBECONFIG", self.kubeconfig().into()),
            (FOLDER_VARIABLE, self.folder.clone().into()),
            (INIT_VARIABLE, self.init.to_string().into()),
            ("HELM_CACHE_HOME", self.folder.join("helm/cache").into()),
            ("HELM_CONFIG_HOME", self.folder.join("helm/config").into()),
            ("HELM_DATA_HOME", self.folder.join("helm/data").into()),
            ("PATH", cache::path()?),
        ])
    }

    async fn bring_up(&self, images: &[PathBuf]) -> Result<()> {
        network::link(self.init).await?;
        for server in ["etcd", "containerd", "kube-apiserver", "minio"] {
            self.start_server(server)?;
        }
        let client = self.client().await?;
        tokio::try_join!(self.import(images), self.control(&client))?;
        // The kubelet starts only now: without the sandbox image it would wait before it tries
        // again.
        self.start_server("kubelet")?;
        self.wait_for_services(&client).await?;
        let manifest = self.folder.join("minio.yaml").display().to_string();
        let config = self.kubeconfig().display().to_string();
        let kubectl = cache::server("kubectl")?.display().to_string();
        let apply = ["--kubeconfig", &config, "apply", "--filename", &manifest];
        command::run(&kubectl, &apply, TOOL).await.map(drop)
    }

    async fn control(&self, client: &Client) -> Result<()> {
        let ready = || async {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(Some(client.request_text(request).await?))
        };
        poll::until("the API server is ready", START, ready).await?;
        for server in ["kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"] {
            self.start_server(server)?;
        }
        Ok(())
    }

    async fn wait_for_services(&self, client: &Client) -> Result<()> {
        let nodes: Api<Node> = Api::all(client.clone());
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        let ready = || async { Ok(nodes.get_opt(NODE_NAME).await?.filter(is_ready)) };
        let account = || async { Ok(accounts.get_opt("default").await?) };
        poll::until("the node is Ready", START, ready).await?;
        poll::until("the controllers work", START, account).await?;
        // The first address of Services belongs to the API server. It answers once kube-proxy
        // works.
        for (what, address) in [
            ("Services have addresses", ("10.96.0.1", 443)),
            ("DNS answers", (NODE, 53)),
            ("the object store listens", (NODE, 9000)),
        ] {
            let connect = || async { Ok(Some(TcpStream::connect(address).await?)) };
            poll::until(what, START, connect).await?;
        }
        Ok(())
    }

    /// Makes the namespaces' first process start a server, and restart it whenever it ends.
    fn start_server(&self, name: &str) -> Result<()> {
        start_server(&self.folder, name)
    }

    async fn import(&self, images: &[PathBuf]) -> Result<()> {
        let socket = self.folder.join("run/containerd.sock").display().to_string();
        let answers = || async {
            command::run("ctr", &["--address", &socket, "version"], TOOL).await.map(Some)
        };
        poll::until("containerd answers", START, answers).await?;
        for image in images {
            let path = image.to_str().context("an image's path is not text")?;
            let arguments =
                ["--address", &socket, "--namespace", "k8s.io", "image", "import", path];
            command::run("ctr", &arguments, TOOL).await?;
        }
        Ok(())
    }

    /// The last lines of every server's log.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for name in files::SERVERS.iter().chain(&["inside"]) {
            let log = fs::read_to_string(self.folder.join(format!("log/{name}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default();
            text.push_str(&format!("== {name}\n{}\n", last.join("\n")));
        }
        text
    }

    /// Copies all logs, including the audit log.
    pub fn save_logs(&self, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(self.folder.join("log"))? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Ends the cluster and waits until nothing is left.
    pub fn stop(self) -> Result<Duration> {
        let start = Instant::now();
        self.janitor.stop()?;
        Ok(start.elapsed())
    }
}

/// Starts a server of the cluster in `folder`, as [`Cluster`] does. Tests use it for servers that
/// are not always needed.
pub fn start_server(folder: &Path, name: &str) -> Result<()> {
    let mut pipe = fs::OpenOptions::new().append(true).open(folder.join("run/start"))?;
    writeln!(pipe, "{name}")?;
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Reports what this machine lacks, before anything is started.
fn check_machine() -> Result<()> {
    const INSTEAD: &str = "or give a cluster: KUBECONFIG and --existing (e2e/kind.sh makes one)";
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self")?.uid() != 0 {
        bail!("a private cluster needs root; {INSTEAD}");
    }
    if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        bail!("a private cluster needs control groups of version 1; {INSTEAD}");
    }
    let folders = std::env::split_paths(&cache::path()?).collect::<Vec<_>>();
    for tool in ["containerd", "ctr", "runc", "ip", "nft", "conntrack", "unshare", "setpriv"] {
        if !folders.iter().any(|folder| folder.join(tool).is_file()) {
            bail!("{tool} is missing: run `make kubernetes`; {INSTEAD}");
        }
    }
    for server in ["kube-apiserver", "kubelet", "kube-proxy", "coredns", "minio", "kubectl", "helm"]
    {
        cache::server(server)?;
    }
    Ok(())
}

/// Name of the image for pods' sandboxes, which tests of the harness also run.
pub fn pod_image() -> String {
    image::reference("opaque-e2e-pod")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_like_that_of_the_examples() {
        let example = include_str!("../../examples/kubernetes/minio.yaml");
        for expected in [
            format!("MINIO_ROOT_USER, value: {S3_USER}}}"),
            format!("MINIO_ROOT_PASSWORD, value: {S3_PASSWORD}}}"),
            format!("mkdir -p /data/{BUCKET} "),
        ] {
            assert!(example.contains(&expected), "{expected}");
        }
    }
}
