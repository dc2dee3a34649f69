//! The namespace of a test.

use std::fmt::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace as Object, Pod};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::process::Command;

use crate::{cache, command, poll};

/// How long one tool may take.
const TOOL: Duration = Duration::from_secs(120);
/// How long the pods of a namespace may take to end.
const DELETE: Duration = Duration::from_secs(120);
/// Number of lines of a pod's log in an error.
const LOG_LINES: &str = "--tail=60";

/// A namespace that accepts only restricted pods.
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    name: String,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.name).finish()
    }
}

impl Namespace {
    /// Creates `e2e-NAME-…`, and waits until pods can be created in it.
    pub async fn create(client: Client, name: &str) -> Result<Self> {
        let object: Object = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("e2e-{name}-"),
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }))?;
        let api: Api<Object> = Api::all(client.clone());
        let name = api.create(&PostParams::default(), &object).await?.name_any();
        let namespace = Self { client, name };
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = namespace.api();
        let account = || async { Ok(accounts.get_opt("default").await?) };
        poll::until("the namespace has its service account", TOOL, account).await?;
        Ok(namespace)
    }

    /// Name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client with all permissions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Cluster-scoped objects of a kind.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// Runs `kubectl --namespace NAME ...` and returns its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::success(self.tool("kubectl", arguments)?, TOOL).await
    }

    /// Runs `helm --namespace NAME ...` and returns its output.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        command::success(self.tool("helm", arguments)?, 3 * TOOL).await
    }

    /// Runs `kubectl apply` with a manifest, as a user would.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let kubectl = self.tool("kubectl", &["apply", "--filename", "-"])?;
        command::with_input(kubectl, manifest, TOOL).await
    }

    /// Waits until a pod is Ready. Returns the time that it took.
    pub async fn ready(&self, pod: &str, limit: Duration) -> Result<Duration> {
        self.ready_as(pod, limit, |_| true).await
    }

    /// Waits until a pod is Ready and fulfils a condition, such as having another uid than before.
    pub async fn ready_as(
        &self,
        pod: &str,
        limit: Duration,
        wanted: impl Fn(&Pod) -> bool,
    ) -> Result<Duration> {
        let pods: Api<Pod> = self.api();
        let find = || async {
            let found = pods.get_opt(pod).await?;
            Ok(found.filter(|pod| is_ready(pod) && wanted(pod)))
        };
        let (_, time) = poll::until(&format!("pod {pod} is Ready"), limit, find).await?;
        Ok(time)
    }

    /// The data that a person would look at: objects, events, and the logs of all containers.
    pub async fn dump(&self) -> String {
        let mut text = format!("\n======== namespace {}\n", self.name);
        for arguments in [
            &["get", "opaqueclusters,opaquetables,opaqueshardmaps", "--output=yaml"][..],
            &["get", "all,secrets,configmaps,leases,pdb,networkpolicies", "--output=wide"],
            &["describe", "pods"],
            &["get", "events", "--sort-by=.lastTimestamp"],
        ] {
            let _ = writeln!(text, "==== kubectl {}", arguments.join(" "));
            text.push_str(&self.try_kubectl(arguments).await);
        }
        let pods: Api<Pod> = self.api();
        for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
            for previous in ["--previous=false", "--previous=true"] {
                let name = pod.name_any();
                let logs = ["logs", &name, "--all-containers", "--prefix", LOG_LINES, previous];
                let _ = writeln!(text, "==== kubectl {}", logs.join(" "));
                text.push_str(&self.try_kubectl(&logs).await);
            }
        }
        text
    }

    /// Deletes the namespace and waits until its pods are gone. The rest is removed half a minute
    /// later, since Kubernetes checks again only when the pods' grace period is over.
    pub async fn delete(&self) -> Result<()> {
        let api: Api<Object> = Api::all(self.client.clone());
        let delete = || async {
            match api.delete(&self.name, &DeleteParams::default()).await {
                Ok(_) => Ok(Some(())),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Some(())),
                // The namespace is already being deleted.
                Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Some(())),
                Err(error) => Err(error.into()),
            }
        };
        poll::until("the namespace is being deleted", DELETE, delete).await?;
        let pods: Api<Pod> = self.api();
        // The pods need not finish their work.
        let (soon, all) = (DeleteParams::default().grace_period(1), ListParams::default());
        let end =
            || async { pods.delete_collection(&soon, &all).await.map(Some).map_err(Into::into) };
        poll::until("the namespace's pods are being deleted", DELETE, end).await?;
        let gone = || async { Ok(pods.list(&all).await?.items.is_empty().then_some(())) };
        poll::until("the namespace's pods are gone", DELETE, gone).await.map(drop)
    }

    /// A tool that uses this namespace by default.
    pub(super) fn tool(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let program = match cache::server(program) {
            Ok(path) => path.into_os_string(),
            // In another cluster than ours, there may be no cache.
            Err(_) => program.into(),
        };
        let mut command = Command::new(program);
        command.args(["--namespace", &self.name]).args(arguments);
        Ok(command)
    }

    async fn try_kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).await.unwrap_or_else(|error| format!("{error:#}\n"))
    }
}

/// The runtime's id of a pod's running container.
pub(super) fn container_id(pod: &Pod, container: &str) -> Result<String> {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    let mut ids = statuses.filter(|s| s.name == container).filter_map(|s| s.container_id.clone());
    let Some(id) = ids.next() else {
        bail!("pod {} runs no container {container}", pod.name_any())
    };
    let (_, id) = id.split_once("://").context("a container id without a runtime")?;
    Ok(id.to_owned())
}

/// How often a pod's containers were restarted.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    statuses.map(|status| status.restart_count).sum()
}

/// Whether a pod is Ready and not being deleted.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}
