//! The second operator continues where the active one ends, and no query is affected.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use opaque_e2e::harness::{self, Faults, Lead, Namespace, lead, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::support::{queries, service_is_back};

const LIMIT: Duration = Duration::from_secs(90);
/// How long the handover of the Lease may take when an operator receives SIGTERM.
const HANDOVER: Duration = Duration::from_secs(3);
/// An object that the operator must create again. Queries do not use it.
const SERVICE: &str = "demo-peers";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_second_operator_takes_over() -> Result<()> {
    harness::run("operators", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 1, 2, &["replicas=2"]).await?;
        two_operators(namespace).await?;
        let (queries, _folder) = queries(namespace).await?;

        let first = Lead::of(namespace, lead::OPERATOR).await?;
        let start = Instant::now();
        faults.signal(namespace, &first.pod, "operator", "KILL").await?;
        let (second, _) = follows(namespace, &first, start, "operator killed").await?;
        two_operators(namespace).await?;

        let start = Instant::now();
        namespace.kubectl(&["delete", "pod", &second.pod, "--wait=false"]).await?;
        let (third, time) = follows(namespace, &second, start, "operator stopped").await?;
        ensure!(time < HANDOVER, "{} took {time:?} to follow {}", third.pod, second.pod);
        queries.finish(1, LIMIT).await
    })
    .await
}

/// Waits until another operator holds the Lease and works. Returns that operator, and the time from
/// `start` until it held the Lease.
async fn follows(
    namespace: &Namespace,
    before: &Lead,
    start: Instant,
    what: &str,
) -> Result<(Lead, Duration)> {
    let services = namespace.api::<Service>();
    let deleted = services.get(SERVICE).await?.metadata.uid;
    services.delete(SERVICE, &DeleteParams::default()).await?;
    let other = |lead: &Lead| lead.pod != before.pod && lead.token > before.token;
    let (after, _) = Lead::until(namespace, lead::OPERATOR, LIMIT, other).await?;
    let time = start.elapsed();
    measured(&format!("{what} to the other active"), time);
    service_is_back(namespace, SERVICE, deleted).await?;
    measured(&format!("{what} to a deleted Service made again"), start.elapsed());
    Ok((after, time))
}

/// Waits until both operators are Ready: an active one, and one that waits.
async fn two_operators(namespace: &Namespace) -> Result<()> {
    let pods = namespace.api::<Pod>();
    let params = ListParams::default().labels("app.kubernetes.io/component=operator");
    let two = || async {
        let found: Vec<_> = pods.list(&params).await?.into_iter().collect();
        let present = found.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let names: Vec<String> = present.map(ResourceExt::name_any).collect();
        Ok((names.len() == 2).then_some(names))
    };
    let (names, _) = poll::until("there are two operators", LIMIT, two).await?;
    for name in names {
        namespace.ready(&name, LIMIT).await?;
    }
    Ok(())
}
