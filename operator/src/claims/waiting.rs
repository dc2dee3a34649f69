//! Reports that a release waits for a namespace on which another release acts.
//!
//! **Flow.** The reporter stands for a Lease that is named after the release, so that only one of
//! the release's replicas reports. The holder publishes one event for each cluster of the
//! namespace, and periodically looks for new clusters. The active operator reads the Lease and
//! reports it in the status. When the Lease is released or expires, the report disappears.

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

/// Interval at which new clusters are looked for.
const AGAIN: Duration = Duration::from_secs(60);

/// The message for the clusters of `namespace` about other releases that wait; `None` if none
/// waits.
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
    /// The election for the Lease that reports the waiting.
    election: Election,
    held: Option<Held>,
    /// UIDs of clusters for which an event was published, each with the release that was active.
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

    /// Reports the waiting whenever another release holds the claim. The future may be dropped.
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

    /// Releases the Lease that reports the waiting.
    pub(super) async fn withdraw(&mut self) {
        if let Some(held) = self.held.take()
            && let Err(error) = held.release().await
        {
            let namespace = &self.namespace;
            tracing::warn!(namespace, %error, "the report of this waiting release was not withdrawn; it expires by itself");
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
        // The election is gone, and so is the caller.
        std::future::pending().await
    }
}
