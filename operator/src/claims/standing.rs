//! Stands for a Lease, and reports it if another release holds the Lease.

use std::collections::BTreeMap;

use opaque_election::{Election, Held, Policy};

use super::LEASE;
use super::candidate::Candidate;
use super::clusters::Clusters;
use super::waiting::Waiting;

impl Candidate {
    /// Stands for the lead of a release for all namespaces. Its Lease is named after the release,
    /// because `opaque-operator` is the claim on the namespace that contains it.
    pub(crate) fn lead(&self, clusters: Clusters) -> Standing {
        let name = format!("{}-all", self.release.name());
        let namespace = self.release.namespace();
        let election = self.election(namespace, &name, self.times.lead, BTreeMap::new());
        Standing { election, namespace: namespace.to_owned(), clusters, waiting: None }
    }

    /// Stands for the claim on a namespace, with these times.
    pub(crate) fn claim(&self, namespace: &str, policy: Policy, clusters: Clusters) -> Standing {
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
    /// Waits for the Lease without a time limit, and reports it while another release holds the
    /// Lease. The future may be dropped.
    ///
    /// If an operator has reported on a cluster but there is no Lease, a person has deleted it, and
    /// its holder may not know yet. The Lease is then created only after the duration for which
    /// that holder may lead.
    pub async fn acquire(&mut self) -> Held {
        // The future is boxed, because there may be hundreds and most are idle.
        let earlier = u64::from(self.clusters.are_reported(&self.namespace).await);
        let acquire = Box::pin(self.election.acquire_above(earlier));
        let Some(waiting) = &mut self.waiting else { return acquire.await };
        let speak = Box::pin(waiting.speak(self.election.holder()));
        tokio::select! {
            held = acquire => held,
            never = speak => match never {},
        }
    }

    /// Withdraws the report, when the candidate no longer waits.
    pub async fn withdraw(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.withdraw().await;
        }
    }
}
