//! Standing for a Lease, and saying so where another release holds it.

use std::collections::BTreeMap;

use kube::Client;
use opaque_ops::election::{Election, Held, Policy};

use super::waiting::{Clusters, Waiting};
use super::{LEASE, Times};
use crate::events::Events;
use crate::labels::{MANAGED_BY, NAME, OPERATOR, PRODUCT, RELEASE, labels};
use crate::metrics::Metrics;
use crate::release::Release;

/// Who stands for Leases.
#[derive(Clone)]
pub struct Candidate {
    /// It must not repeat requests by itself.
    pub client: Client,
    /// Publishes what it has to say.
    pub events: Events,
    /// Counters.
    pub metrics: Metrics,
    /// Its release.
    pub release: Release,
    /// Its name in Leases, which no other that runs has.
    pub identity: String,
    /// For how long it holds them.
    pub times: Times,
}

impl Candidate {
    /// Stands for the lead of a release for all namespaces. Its Lease is named after the release: `opaque-operator`
    /// is the claim on the namespace that it is in.
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

    /// Stands for a Lease, with labels beside those of all Leases of the operator.
    pub(super) fn election(
        &self,
        namespace: &str,
        name: &str,
        policy: Policy,
        mut all: BTreeMap<String, String>,
    ) -> Election {
        all.extend(labels([(NAME, PRODUCT), (MANAGED_BY, OPERATOR)]));
        let (client, identity) = (self.client.clone(), self.identity.clone());
        let release = BTreeMap::from([(RELEASE.to_owned(), self.release.to_string())]);
        Election::new(client, namespace, name, identity, all, policy).annotated(release)
    }
}

/// A candidate for one Lease.
#[derive(Debug)]
pub struct Standing {
    election: Election,
    waiting: Option<Waiting>,
}

impl Standing {
    /// Waits for the Lease, for as long as it takes, and says so while another release holds it. Safe to drop.
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
