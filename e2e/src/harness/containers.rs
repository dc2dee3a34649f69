//! Detects whether containers kept running.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use kube::api::ListParams;

use super::Namespace;

/// The containers of some pods at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    selector: String,
    /// By pod and container.
    runs: BTreeMap<(String, String), Run>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    /// Uid of the pod. A replaced pod has a different one.
    uid: String,
    restarts: i32,
    /// Why the container ended the last time, such as `OOMKilled`.
    ended: Option<String>,
}

impl Containers {
    /// The containers of the pods that a label selector matches, such as [`super::product::NODES`].
    pub async fn of(namespace: &Namespace, selector: &str) -> Result<Self> {
        let pods = ListParams::default().labels(selector);
        let pods = namespace.api::<Pod>().list(&pods).await?;
        Ok(Self { selector: selector.to_owned(), runs: pods.iter().flat_map(runs).collect() })
    }

    /// Fails if a container was restarted or its pod replaced since then. The error names it and
    /// the reason.
    pub async fn check(&self, namespace: &Namespace) -> Result<()> {
        let now = Self::of(namespace, &self.selector).await?;
        let changes = self.changes(&now);
        if !changes.is_empty() {
            bail!("containers did not go on running: {}", changes.join("; "));
        }
        Ok(())
    }

    fn changes(&self, now: &Self) -> Vec<String> {
        let changed = |((pod, container), before): (&(String, String), &Run)| {
            let after = now.runs.get(&(pod.clone(), container.clone()));
            let after = match after {
                Some(after) if after.uid == before.uid && after.restarts == before.restarts => {
                    return None;
                }
                Some(after) if after.uid == before.uid => after.to_string(),
                Some(_) => "another pod of this name".to_owned(),
                None => "gone".to_owned(),
            };
            Some(format!("{container} of {pod} was {before} and is {after}"))
        };
        self.runs.iter().filter_map(changed).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid: _, restarts, ended } = self;
        write!(f, "restarted {restarts} times")?;
        ended.iter().try_for_each(|reason| write!(f, ", ended last as {reason}"))
    }
}

fn runs(pod: &Pod) -> Vec<((String, String), Run)> {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    let run = |status: &ContainerStatus| Run {
        uid: pod.uid().unwrap_or_default(),
        restarts: status.restart_count,
        ended: status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .map(|end| end.reason.clone().unwrap_or_else(|| format!("code {}", end.exit_code))),
    };
    statuses.map(|status| ((pod.name_any(), status.name.clone()), run(status))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn containers(uid: &str, restarts: i32, ended: Option<&str>) -> Containers {
        let mut status = json!({
            "name": "node", "restartCount": restarts, "ready": true, "image": "", "imageID": "",
        });
        if let (Some(reason), Some(status)) = (ended, status.as_object_mut()) {
            let end = json!({"terminated": {"exitCode": 137, "reason": reason}});
            status.insert("lastState".to_owned(), end);
        }
        let pod = json!({
            "metadata": {"name": "demo-0", "uid": uid},
            "status": {"containerStatuses": [status]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        Containers { selector: String::new(), runs: runs(&pod).into_iter().collect() }
    }

    #[test]
    fn a_restart_and_another_pod_are_noticed() {
        let before = containers("a", 0, None);
        assert_eq!(before.changes(&before), Vec::<String>::new());
        assert_eq!(
            before.changes(&containers("a", 2, Some("OOMKilled"))),
            [
                "node of demo-0 was restarted 0 times and is restarted 2 times, ended last as OOMKilled"
            ]
        );
        assert_eq!(
            before.changes(&containers("b", 0, None)),
            ["node of demo-0 was restarted 0 times and is another pod of this name"]
        );
        let gone = Containers { selector: String::new(), runs: BTreeMap::new() };
        assert_eq!(before.changes(&gone), ["node of demo-0 was restarted 0 times and is gone"]);
    }
}
