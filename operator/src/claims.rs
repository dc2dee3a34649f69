//! Claims: at most one operator acts on a namespace, determined by the Lease `opaque-operator`
//! there.
//!
//! **Flow.** A release for one namespace elects its active replica by that Lease (`standing`), as
//! every release did in earlier versions. The replicas of a release for all namespaces elect theirs
//! by a separate Lease in the release's namespace. The active replica then stands for the claim on
//! each namespace that contains one of our objects (`keep`), under the name `NAMESPACE/NAME` of the
//! release. Its controllers check [`Claimed`](crate::kube::Claimed) before each reconcile.
//!
//! **Waiting is visible** (`waiting`). While another release holds the claim, one replica of the
//! waiting release publishes an event for each cluster and holds a separate Lease in the namespace.
//! The active operator finds that Lease and reports it in the clusters' status, so that only the
//! active operator writes there.
//!
//! **Guarantees.** An operator reconciles objects of a namespace only while it holds the claim on
//! it. If the claim is lost, a reconcile in progress is aborted. Before a claim is released, the
//! reconcile in progress has ended.
//!
//! **Assumptions.** Two leaders of the same release never run at the same time. The next leader
//! takes over the claims by name, without waiting until they expire.
//!
//! **Limits.** A claim that a person deletes or rewrites is noticed at its next renewal
//! ([`Times`]).

mod candidate;
mod clusters;
mod decision;
mod keep;
mod standing;
mod waiting;

use std::time::Duration;

use opaque_election::Policy;

pub(crate) use candidate::Candidate;
pub(crate) use clusters::Clusters;
#[cfg(test)]
pub(crate) use decision::words_of_waiting;
pub(crate) use keep::{Shared, claim_client, keep};
pub use standing::Standing;
pub(crate) use waiting::contested;

/// Name of the Lease that lets one operator act on the namespace that contains it.
pub const LEASE: &str = "opaque-operator";

/// Durations of Leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For the election of the active replica.
    pub lead: Policy,
    /// For the claims of a release for all namespaces, and for the Lease that reports a waiting
    /// release.
    pub claim: Policy,
}

impl Default for Times {
    /// Claims are renewed once a minute and expire after five minutes. 500 claims cost 8 requests
    /// per second, like 83 kubelets. Another release waits for five minutes only if a whole release
    /// stops without releasing its claims.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let claim = Policy::new(seconds(300), seconds(200), seconds(60)).unwrap_or_default();
        Self { lead: Policy::default(), claim }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_renewed_seldom() {
        let Times { lead, claim } = Times::default();
        assert_eq!(lead, Policy::default());
        assert_ne!(claim, lead, "its times were refused");
        // 500 namespaces cost fewer requests than 100 kubelets, each of which renews its Lease
        // every 10 s.
        assert!(500.0 / claim.retry().as_secs_f64() < 10.0);
    }
}
