//! A test's own namespace.

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
/// How much of a pod's log a failure shows.
const LOG_LINES: &str = "--tail=60";

/// A namespace that takes only restricted pods.
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
    /// Makes `e2e-NAME-…`, and waits until pods can be made in it.
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client with all rights.
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

    /// Objects of a kind that is in no namespace.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// `kubectl --namespace NAME ...`: returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::success(self.tool("kubectl", arguments)?, TOOL).await
    }

    /// `helm --namespace NAME ...`: returns what it prints.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        command::success(self.tool("helm", arguments)?, 3 * TOOL).await
    }

    /// `kubectl apply` of a manifest, as a user would.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let kubectl = self.tool("kubectl", &["apply", "--filename", "-"])?;
        command::with_input(kubectl, manifest, TOOL).await
    }

    /// Waits until a pod is Ready; returns the time that it took.
    pub async fn ready(&self, pod: &str, limit: Duration) -> Result<Duration> {
        self.ready_as(pod, limit, |_| true).await
    }

    /// Waits until a pod is Ready and as wanted, such as with another uid than before.
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

    /// What a person would look at: objects, events, and the logs of all containers.
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

    /// Deletes it and waits until its pods are gone. The rest goes by itself half a minute later: Kubernetes
    /// looks again only when pods have had their whole time to end.
    pub async fn delete(&self) -> Result<()> {
        let api: Api<Object> = Api::all(self.client.clone());
        let delete = || async {
            match api.delete(&self.name, &DeleteParams::default()).await {
                Ok(_) => Ok(Some(())),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Some(())),
                // Being deleted already.
                Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Some(())),
                Err(error) => Err(error.into()),
            }
        };
        poll::until("the namespace is being deleted", DELETE, delete).await?;
        let pods: Api<Pod> = self.api();
        // Nobody waits for what they have under way.
        let (soon, all) = (DeleteParams::default().grace_period(1), ListParams::default());
        let end =
            || async { pods.delete_collection(&soon, &all).await.map(Some).map_err(Into::into) };
        poll::until("the namespace's pods are being deleted", DELETE, end).await?;
        let gone = || async { Ok(pods.list(&all).await?.items.is_empty().then_some(())) };
        poll::until("the namespace's pods are gone", DELETE, gone).await?;
        Ok(())
    }

    /// A tool with this namespace as its own.
    pub(super) fn tool(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let program = match cache::server(program) {
            Ok(path) => path.into_os_string(),
            // With a cluster of somebody else there may be no cache.
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

/// The id of a pod's running container, as its runtime knows it.
pub(super) fn container_id(pod: &Pod, container: &str) -> Result<String> {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    let mut ids = statuses.filter(|s| s.name == container).filter_map(|s| s.container_id.clone());
    let Some(id) = ids.next() else {
        bail!("pod {} runs no container {container}", pod.name_any())
    };
    let (_, id) = id.split_once("://").context("a container id without a runtime")?;
    Ok(id.to_owned())
}

/// How often containers of a pod were started again.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    statuses.map(|status| status.restart_count).sum()
}

/// Whether a pod is Ready, and not about to be deleted.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}
