//! Standing for a Lease, and saying so where another release holds it.

use std::collections::BTreeMap;

use opaque_ops::election::{Election, Held, Policy};

use super::LEASE;
use super::candidate::Candidate;
use super::waiting::{Clusters, Waiting};

impl Candidate {
    /// Stands for the lead of a release for all namespaces. Its Lease is named after the release:
    /// `opaque-operator` is the claim on the namespace that it is in.
    pub fn lead(&self) -> Standing {
        let name = format!("{}-all", self.release.name());
        let namespace = self.release.namespace();
        let election = self.election(namespace, &name, self.times.lead, BTreeMap::new());
        Standing { election, waiting: None }
    }

    /// Stands for the claim on a namespace, with these times.
    pub fn claim(&self, namespace: &str, policy: Policy, clusters: Clusters) -> Standing {
        let election = self.election(namespace, LEASE, policy, BTreeMap::new());
        let waiting = Some(Waiting::new(self, namespace, clusters));
        Standing { election, waiting }
    }
}

/// A candidate for one Lease.
#[derive(Debug)]
pub struct Standing {
    election: Election,
    waiting: Option<Waiting>,
}

impl Standing {
    /// Waits for the Lease, for as long as it takes, and says so while another release holds it.
    /// Safe to drop.
    pub async fn acquire(&mut self) -> Held {
        // On the heap: there may be hundreds, and most of the time none of them is awaited.
        let acquire = Box::pin(self.election.acquire());
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
