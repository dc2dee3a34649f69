//! The candidate in elections for the operator's Leases.

use std::collections::BTreeMap;

use kube::Client;
use opaque_election::{Election, Policy};

use super::Times;
use crate::kube::Events;
use crate::labels::{MANAGED_BY, NAME, OPERATOR, PRODUCT, RELEASE, labels};
use crate::metrics::Metrics;
use crate::release::Release;

/// A candidate for Leases.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// The client must not retry requests by itself.
    pub(crate) client: Client,
    /// Publishes the candidate's events.
    pub(crate) events: Events,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// The candidate's release.
    pub(crate) release: Release,
    /// Its name in Leases, unique among running processes.
    pub(crate) identity: String,
    /// Durations of its Leases.
    pub(crate) times: Times,
}

impl Candidate {
    /// Stands for a Lease. The labels are added to those that all of the operator's Leases have.
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
