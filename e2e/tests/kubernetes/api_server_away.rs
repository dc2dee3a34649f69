//! Queries do not need the API server; operator and nodes go on when it is back.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use opaque_e2e::harness::{self, Faults, Lead, Namespace, QueryLoop, lead, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::support::{ANSWER, SQL};

const LIMIT: Duration = Duration::from_secs(90);
/// Longer than any Lease: every lead is lost meanwhile.
const OUTAGE: Duration = Duration::from_secs(17);
/// What the operator is to make again: queries do not go through it.
const SERVICE: &str = "demo-peers";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn no_query_fails_while_the_api_server_is_away() -> Result<()> {
    harness::run_alone("no-api", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 1, 2, &[]).await?;
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        let mut queries = QueryLoop::start(question).await?;

        let away = faults.restart_api_server(namespace).await?;
        measured("API server killed to ready", away);
        recovers(namespace, "restart of the API server").await?;

        let start = Instant::now();
        let cut = faults.cut_from_api(namespace).await?;
        while start.elapsed() < OUTAGE {
            queries.answers(1, LIMIT).await?;
        }
        measured("API server out of reach, while queries were answered", start.elapsed());
        drop(cut);
        recovers(namespace, "outage of the API server").await?;
        queries.answers(1, LIMIT).await?;
        queries.stop().await?.check()
    })
    .await
}

/// Waits until an operator works and a node leads, and renews its lead.
async fn recovers(namespace: &Namespace, what: &str) -> Result<()> {
    let start = Instant::now();
    let services = namespace.api::<Service>();
    let found = || async { Ok(Some(services.get(SERVICE).await?)) };
    let (service, _) = poll::until("the API server answers", LIMIT, found).await?;
    let deleted = service.metadata.uid;
    services.delete(SERVICE, &DeleteParams::default()).await?;
    let back = || async {
        let found = services.get_opt(SERVICE).await?;
        Ok(found.filter(|service| service.metadata.uid != deleted))
    };
    poll::until("the deleted Service is back", LIMIT, back).await?;
    measured(&format!("{what} to a deleted Service made again"), start.elapsed());

    let (lead, _) = Lead::until(namespace, lead::NODES, LIMIT, |_| true).await?;
    // Twice: the first may have been on its way before.
    let renewed = |now: &Lead| now.identity == lead.identity && now.version != lead.version;
    let (next, _) = Lead::until(namespace, lead::NODES, LIMIT, renewed).await?;
    let renewed = |now: &Lead| now.identity == next.identity && now.version != next.version;
    Lead::until(namespace, lead::NODES, LIMIT, renewed).await?;
    measured(&format!("{what} to a node leading, with two renewals"), start.elapsed());
    Ok(())
}
