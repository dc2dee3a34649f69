//! Says that a release waits for a namespace on which another one acts.
//!
//! **Flow.** It stands for a Lease that is named after the release: of its replicas one speaks. The
//! holder publishes one event about each cluster of the namespace, and looks for new clusters once
//! in a while. The operator that acts reads the Lease and says so in status; when it is released or
//! no longer renewed, that vanishes.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use opaque_election::{Election, Held, Holder};
use tokio::sync::watch;
use tokio::time::sleep;

use super::candidate::Candidate;
use super::clusters::Clusters;
use super::decision::{self, spread};
use crate::kube::{Events, Observed};
use crate::labels;
use crate::metrics::Metrics;
use crate::release::Release;

/// When it looks for clusters that were not told of yet.
const AGAIN: Duration = Duration::from_secs(60);

/// What the clusters of `namespace` are told of other releases that wait for it; none if none does.
pub(crate) fn contested(observed: &Observed, own: &Release, namespace: &str) -> Option<String> {
    let leases = observed.list::<Lease>(namespace, labels::LEASE, labels::WAITING);
    decision::words_of_waiting(&decision::waiting(own, &leases, Timestamp::now()))
}

/// A release that may have to wait for a namespace.
#[derive(Debug)]
pub(super) struct Waiting {
    namespace: String,
    release: Release,
    events: Events,
    metrics: Metrics,
    clusters: Clusters,
    /// For the Lease that says that it waits.
    election: Election,
    held: Option<Held>,
    /// UIDs of clusters that were told of, and the release that acted.
    told: HashSet<(Option<String>, String)>,
}

impl Waiting {
    pub(super) fn new(candidate: &Candidate, namespace: &str, clusters: Clusters) -> Self {
        let Candidate { release, events, metrics, times, .. } = candidate;
        let digest = blake3::hash(release.to_string().as_bytes()).to_hex();
        let name = format!("{}-waiting-{}", super::LEASE, digest.split_at(8).0);
        let waiting = BTreeMap::from([(labels::LEASE.to_owned(), labels::WAITING.to_owned())]);
        let policy = spread(times.claim, namespace);
        Self {
            namespace: namespace.to_owned(),
            release: release.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            clusters,
            election: candidate.election(namespace, &name, policy, waiting),
            held: None,
            told: HashSet::new(),
        }
    }

    /// Says that it waits whenever another release holds the claim. Safe to drop.
    pub(super) async fn speak(
        &mut self,
        mut holder: watch::Receiver<Option<Holder>>,
    ) -> Infallible {
        loop {
            let other = decision::rival(&self.release, holder.borrow_and_update().as_ref());
            let Some(other) = other else {
                self.withdraw().await;
                changed(&mut holder).await;
                continue;
            };
            let namespace = &self.namespace;
            tracing::warn!(namespace, other, "another release of the operator acts here: waiting");
            let _counted = self.metrics.waits();
            tokio::select! {
                never = self.tell(&other) => match never {},
                () = changed(&mut holder) => {}
            }
        }
    }

    /// Releases the Lease that says that it waits.
    pub(super) async fn withdraw(&mut self) {
        if let Some(held) = self.held.take()
            && let Err(error) = held.release().await
        {
            let namespace = &self.namespace;
            tracing::warn!(namespace, %error, "that this release waits is told until it ends by itself");
        }
    }

    async fn tell(&mut self, other: &str) -> Infallible {
        loop {
            if !self.held.as_ref().is_some_and(Held::is_held) {
                self.held = Some(self.election.acquire().await);
            }
            for cluster in self.clusters.references(&self.namespace).await {
                if self.told.insert((cluster.uid.clone(), other.to_owned())) {
                    let note = decision::words_of_acting(&self.release, other);
                    let (type_, reason) = (EventType::Warning, "AnotherOperatorActs");
                    self.events.publish(&cluster, type_, reason, &note).await;
                }
            }
            sleep(AGAIN).await;
        }
    }
}

/// Resolves when the holder of the claim changes.
async fn changed(holder: &mut watch::Receiver<Option<Holder>>) {
    if holder.changed().await.is_err() {
        // The election is gone, and with it the caller.
        std::future::pending().await
    }
}
