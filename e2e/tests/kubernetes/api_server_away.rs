//! Queries do not need the API server. Operator and nodes continue when it is back.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use opaque_e2e::harness::{self, Faults, Lead, Namespace, lead, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::support::{queries, service_is_back};

const LIMIT: Duration = Duration::from_secs(90);
/// Longer than any Lease: every lead is lost in between.
const OUTAGE: Duration = Duration::from_secs(17);
/// An object that the operator must create again. Queries do not use it.
const SERVICE: &str = "demo-peers";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn no_query_fails_while_the_api_server_is_away() -> Result<()> {
    harness::run_alone("no-api", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 1, 2, &[]).await?;
        let (mut queries, _folder) = queries(namespace).await?;

        let away = faults.restart_api_server(namespace).await?;
        measured("API server killed to ready", away);
        recovers(namespace, Instant::now(), "API server ready").await?;

        let leads = [lead::NODES, lead::OPERATOR];
        let before = leads.map(|lease| Lead::of(namespace, lease));
        let before = try_join_all(before).await?;
        let start = Instant::now();
        let cut = faults.cut_all_from_api(namespace).await?;
        while start.elapsed() < OUTAGE {
            queries.answers(1, LIMIT).await?;
        }
        measured("API server out of reach, while queries were answered", start.elapsed());
        cut.heal();
        let start = Instant::now();
        // The leads were lost, or there was no outage.
        for (lease, before) in leads.into_iter().zip(before) {
            Lead::until(namespace, lease, LIMIT, |lead| lead.token > before.token).await?;
        }
        recovers(namespace, start, "API server in reach").await?;
        queries.finish(1, LIMIT).await
    })
    .await
}

/// Waits until an operator works, and a node leads and renews its lead. Prints the times since
/// `start`.
async fn recovers(namespace: &Namespace, start: Instant, what: &str) -> Result<()> {
    let services = namespace.api::<Service>();
    let found = || async { Ok(Some(services.get(SERVICE).await?)) };
    let (service, _) = poll::until("the API server answers", LIMIT, found).await?;
    services.delete(SERVICE, &DeleteParams::default()).await?;
    service_is_back(namespace, SERVICE, service.metadata.uid).await?;
    measured(&format!("{what} to a deleted Service made again"), start.elapsed());

    // A new leader's first write, and a renewal.
    let (mut lead, _) = Lead::until(namespace, lead::NODES, LIMIT, |_| true).await?;
    for _ in 0..2 {
        let written = |now: &Lead| now.version != lead.version;
        lead = Lead::until(namespace, lead::NODES, LIMIT, written).await?.0;
    }
    measured(&format!("{what} to a node leading, with a renewal"), start.elapsed());
    Ok(())
}
