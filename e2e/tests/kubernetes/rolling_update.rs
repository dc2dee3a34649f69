//! A changed template is rolled out to all pods, shard by shard, while queries continue.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;

use crate::support::queries;

/// How long a pod must have been ready before the other pod of its shard is replaced.
const READY_SECONDS: i64 = 3;
const LIMIT: Duration = Duration::from_secs(240);
/// An annotation of pods changes only the pods.
const CHANGE: &str =
    r#"{"spec": {"podTemplate": {"metadata": {"annotations": {"example.com/change": "1"}}}}}"#;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn every_pod_is_replaced_and_no_query_fails() -> Result<()> {
    harness::run("rolling", async |namespace| {
        // Only in our own cluster, where the test reaches every pod.
        Faults::new()?;
        product::install(namespace, &[]).await?;
        product::apply_cluster(namespace).await?;
        product::apply_weather(namespace).await?;
        product::condition(namespace, "opaquetable/weather", "Available", "True", LIMIT).await?;
        let before = pods(namespace).await?;
        ensure!(before.len() == 6, "{before:?}");
        let (queries, _folder) = queries(namespace).await?;

        let patch = ["patch", "opaquecluster", "demo", "--type=merge", "--patch", CHANGE];
        namespace.kubectl(&patch).await?;
        let faults = RefCell::new(BTreeSet::new());
        let replaced = || async {
            let now = pods(namespace).await?;
            faults.borrow_mut().extend(shards_without_ready(&now));
            faults.borrow_mut().extend(deleted_too_soon(&now));
            Ok(are_replaced(&before, &now).then_some(()))
        };
        let (_, time) = poll::until("every pod is replaced and Ready", LIMIT, replaced).await?;
        measured("template changed to all of 6 pods replaced", time);
        product::condition(namespace, "opaquecluster/demo", "Progressing", "False", LIMIT).await?;
        queries.stop().await?.check()?;
        let faults = faults.into_inner();
        ensure!(faults.is_empty(), "{faults:#?}");
        Ok(())
    })
    .await
}

/// Kubernetes refuses the tokens of the former ServiceAccount. Thus no old pod leads, and none
/// renews its Lease.
#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_account_made_again_replaces_every_pod_and_no_query_fails() -> Result<()> {
    harness::run("account", async |namespace| {
        Faults::new()?;
        product::serve(namespace, 2, 2, &[]).await?;
        let before = pods(namespace).await?;
        let (queries, _folder) = queries(namespace).await?;
        namespace.kubectl(&["delete", "serviceaccount", "demo-node"]).await?;
        let replaced =
            || async { Ok(are_replaced(&before, &pods(namespace).await?).then_some(())) };
        let (_, time) = poll::until("every pod is replaced and Ready", LIMIT, replaced).await?;
        measured("ServiceAccount deleted to all of 4 pods replaced", time);
        product::condition(namespace, "opaquecluster/demo", "Ready", "True", LIMIT).await?;
        queries.stop().await?.check()
    })
    .await
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    uid: Option<String>,
    shard: String,
    ready: bool,
    /// Second in which the pod became ready, if it is, even if it is ending.
    ready_since: Option<i64>,
    /// Second in which the pod was deleted.
    deleted: Option<i64>,
}

async fn pods(namespace: &Namespace) -> Result<BTreeMap<String, Node>> {
    let nodes = ListParams::default().labels(product::NODES);
    let pods = namespace.api::<Pod>().list(&nodes).await?;
    Ok(pods.iter().map(|pod| (pod.name_any(), node(pod))).collect())
}

/// Whether every pod was replaced by one that is ready.
fn are_replaced(before: &BTreeMap<String, Node>, now: &BTreeMap<String, Node>) -> bool {
    let is_new = |name: &String, pod: &Node| before.get(name).is_some_and(|old| old.uid != pod.uid);
    now.len() == before.len() && now.iter().all(|(name, pod)| pod.ready && is_new(name, pod))
}

fn node(pod: &Pod) -> Node {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let since = conditions.into_iter().flatten().find(|c| c.type_ == "Ready" && c.status == "True");
    // The timestamp is the end of the pod's grace period.
    let end = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0.as_second());
    Node {
        uid: pod.uid(),
        shard: pod.labels().get("opaque.dev/shard").cloned().unwrap_or_default(),
        ready: harness::namespace::is_ready(pod),
        ready_since: since.and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0.as_second()),
        deleted: end.map(|end| end - pod.metadata.deletion_grace_period_seconds.unwrap_or(0)),
    }
}

fn shards_without_ready(pods: &BTreeMap<String, Node>) -> BTreeSet<String> {
    let shards = |of: fn(&&Node) -> bool| -> BTreeSet<String> {
        pods.values().filter(of).map(|pod| pod.shard.clone()).collect()
    };
    let without = &shards(|_| true) - &shards(|pod| pod.ready);
    without.iter().map(|shard| format!("no pod of shard {shard} was ready")).collect()
}

fn deleted_too_soon(pods: &BTreeMap<String, Node>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, pod) in pods {
        let Some(deleted) = pod.deleted else { continue };
        for (other, node) in pods.iter().filter(|(o, node)| *o != name && node.shard == pod.shard) {
            let since = node.ready_since;
            if since.is_none_or(|since| deleted < since + READY_SECONDS) {
                let times =
                    format!("{name} was deleted in {deleted}, {other} ready since {since:?}");
                found.insert(times);
            }
        }
    }
    found
}
