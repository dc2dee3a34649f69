//! Standing for a Lease, and saying so where another release holds it.

use std::collections::BTreeMap;

use opaque_election::{Election, Held, Policy};

use super::LEASE;
use super::candidate::Candidate;
use super::clusters::Clusters;
use super::waiting::Waiting;

impl Candidate {
    /// Stands for the lead of a release for all namespaces. Its Lease is named after the release:
    /// `opaque-operator` is the claim on the namespace that it is in.
    pub fn lead(&self, clusters: Clusters) -> Standing {
        let name = format!("{}-all", self.release.name());
        let namespace = self.release.namespace();
        let election = self.election(namespace, &name, self.times.lead, BTreeMap::new());
        Standing { election, namespace: namespace.to_owned(), clusters, waiting: None }
    }

    /// Stands for the claim on a namespace, with these times.
    pub fn claim(&self, namespace: &str, policy: Policy, clusters: Clusters) -> Standing {
        let election = self.election(namespace, LEASE, policy, BTreeMap::new());
        let waiting = Some(Waiting::new(self, namespace, clusters.clone()));
        Standing { election, namespace: namespace.to_owned(), clusters, waiting }
    }
}

/// A candidate for one Lease.
#[derive(Debug)]
pub struct Standing {
    election: Election,
    namespace: String,
    clusters: Clusters,
    waiting: Option<Waiting>,
}

impl Standing {
    /// Waits for the Lease, for as long as it takes, and says so while another release holds it.
    /// Safe to drop.
    ///
    /// Where an operator has reported on a cluster and there is no Lease, somebody has deleted it:
    /// its holder may not know yet. So it is made after the duration that the holder would have
    /// had.
    pub async fn acquire(&mut self) -> Held {
        // On the heap: there may be hundreds, and most of the time none of them is awaited.
        let earlier = u64::from(self.clusters.are_reported(&self.namespace).await);
        let acquire = Box::pin(self.election.acquire_above(earlier));
        let Some(waiting) = &mut self.waiting else { return acquire.await };
        let speak = Box::pin(waiting.speak(self.election.holder()));
        tokio::select! {
            held = acquire => held,
            never = speak => match never {},
        }
    }

    /// Takes back that it waits, when it does not any more.
    pub async fn withdraw(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.withdraw().await;
        }
    }
}
