//! A replacement for scheduler and kubelet: without them, the API server deletes pods immediately,
//! which does not happen with real ones.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Polling interval. An ending pod lasts for two of them.
const LOOK: Duration = Duration::from_millis(300);

/// Places pods on a machine, and removes those that are ending. Stops when dropped.
pub(super) struct Kubelet(JoinHandle<()>);

impl Kubelet {
    pub(super) fn start(client: Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        Self(tokio::spawn(async move {
            let mut ending = Vec::new();
            loop {
                // After a conflict, or after the end of the API server, the next poll shows the
                // state.
                if let Ok(now) = look(&pods, &ending).await {
                    ending = now;
                }
                tokio::time::sleep(LOOK).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the UIDs of the pods that are ending. Removes those that were ending before.
async fn look(pods: &Api<Pod>, before: &[Option<String>]) -> Result<Vec<Option<String>>> {
    let mut ending = Vec::new();
    for pod in pods.list(&ListParams::default()).await? {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() {
            if before.contains(&pod.uid()) {
                pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            }
            ending.push(pod.uid());
        } else if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": "machine"},
            });
            let params = PostParams::default();
            let _: Value = pods.create_subresource("binding", &name, &params, &binding).await?;
        }
    }
    Ok(ending)
}
