//! Who stands for Leases of the operator.

use std::collections::BTreeMap;

use kube::Client;
use opaque_election::{Election, Policy};

use super::Times;
use crate::kube::Events;
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
