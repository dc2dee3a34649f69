//! Injects faults into processes. Faults of the network are in [`super::network`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::namespace::{Namespace, container_id};
use super::variable;
use crate::cluster::{FOLDER_VARIABLE, INIT_VARIABLE};
use crate::processes::{self, Seen};
use crate::{cluster, poll};

/// How long a server may take to come back.
const BACK: Duration = Duration::from_secs(120);

/// Access to the cluster that `e2e-cluster` has started.
#[derive(Clone, Debug)]
pub struct Faults {
    init: u32,
    folder: PathBuf,
}

impl Faults {
    /// The cluster of this run. Fails in a cluster that `e2e-cluster` did not start.
    pub fn new() -> Result<Self> {
        let init = variable(INIT_VARIABLE)?;
        let init = init.to_str().and_then(|init| init.parse().ok());
        let init = init.with_context(|| format!("{INIT_VARIABLE} is no process id"))?;
        Ok(Self { init, folder: variable(FOLDER_VARIABLE)?.into() })
    }

    /// Sends a signal to the first process of a pod's container: `KILL` crashes it, `STOP` suspends
    /// it, and `CONT` resumes it.
    pub async fn signal(
        &self,
        namespace: &Namespace,
        pod: &str,
        container: &str,
        signal: &str,
    ) -> Result<()> {
        processes::signal(self.process(namespace, pod, container).await?.id, signal).await
    }

    /// The first process of a pod's container.
    pub async fn process(&self, namespace: &Namespace, pod: &str, container: &str) -> Result<Seen> {
        let pods: Api<Pod> = namespace.api();
        let id = container_id(&pods.get(pod).await?, container)?;
        let is_first = |process: &Seen| process.is_in_group(&id) && process.inner_id() == Some(1);
        let process = processes::below(self.init)?.into_iter().find(is_first);
        process.with_context(|| format!("no process of pod {pod} runs"))
    }

    /// Crashes the API server. Returns how long it was unavailable.
    pub async fn restart_api_server(&self, namespace: &Namespace) -> Result<Duration> {
        let before = self.server("kube-apiserver")?;
        processes::signal(before, "KILL").await?;
        let client = namespace.client();
        let ready = || async {
            if processes::is_running(before) {
                return Ok(None);
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(Some(client.request_text(request).await?))
        };
        let (_, time) = poll::until("the API server is ready again", BACK, ready).await?;
        Ok(time)
    }

    /// Process id of a server of the cluster, such as `kubelet`.
    pub fn server(&self, name: &str) -> Result<u32> {
        let mut found = processes::below(self.init)?.into_iter().filter(|p| p.program() == name);
        match (found.next(), found.next()) {
            (Some(process), None) => Ok(process.id),
            (None, _) => bail!("{name} does not run"),
            (Some(_), Some(_)) => bail!("{name} runs more than once"),
        }
    }

    /// Starts a server that only some tests need, such as `cert-manager`.
    pub async fn start(&self, name: &str) -> Result<()> {
        if self.server(name).is_ok() {
            return Ok(());
        }
        cluster::start_server(&self.folder, name)?;
        let runs = || async { Ok(self.server(name).ok()) };
        poll::until(&format!("{name} runs"), BACK, runs).await.map(drop)
    }

    /// A server that shares only the cluster's network. It finds its processes in `/proc`.
    pub fn in_network(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net", "--"]).arg(program);
        command
    }

    /// A command that runs with the cluster's network and DNS, like a user's program inside it.
    pub fn inside(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        // nsenter does not enter the namespace of process ids, so it becomes the program and can be
        // killed.
        command.args(["--target", &self.init.to_string(), "--net", "--mount", "--"]).arg(program);
        command
    }
}
