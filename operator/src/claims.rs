//! Claims: one operator acts on a namespace, by the Lease `opaque-operator` there.
//!
//! **Flow.** A release for one namespace elects its active replica by that Lease (`standing`), as
//! every release did before. The replicas of a release for all namespaces elect theirs by a Lease
//! of their own, in the release's namespace. The active one then stands for the claim on each
//! namespace that has one of our objects (`keep`), as `NAMESPACE/NAME` of the release. Its
//! controllers ask [`Claimed`](crate::kube::Claimed) before each reconcile.
//!
//! **Who waits says so** (`waiting`). While another release holds the claim, one replica of the
//! release that waits publishes an event about each cluster, and holds a Lease of its own in the
//! namespace. The operator that acts finds it and says so in the clusters' status: it stays the
//! only one to write there.
//!
//! **Guarantees.** An operator reconciles objects of a namespace only while it holds the claim on
//! it. A reconcile under way is cut off when the claim is lost, and has ended before one is
//! released.
//!
//! **Assumptions.** Two processes that lead one release never run at a time: the next one takes its
//! claims over by name, without waiting for their end.
//!
//! **Limits.** That somebody deletes or rewrites a claim by hand is seen at its next renewal
//! ([`Times`]).

mod candidate;
mod clusters;
mod decision;
mod keep;
mod standing;
mod waiting;

use std::time::Duration;

use opaque_election::Policy;

pub use candidate::Candidate;
pub(crate) use clusters::Clusters;
#[cfg(test)]
pub(crate) use decision::words_of_waiting;
pub(crate) use keep::{Shared, claim_client, keep};
pub use standing::Standing;
pub(crate) use waiting::contested;

/// Name of the Lease by which one operator acts on the namespace that it is in.
pub const LEASE: &str = "opaque-operator";

/// For how long Leases are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// By which replicas elect the active one.
    pub lead: Policy,
    /// Of the claims of a release for all namespaces, and of what says that a release waits.
    pub claim: Policy,
}

impl Default for Times {
    /// Claims are renewed once a minute and end after five: 500 of them cost 8 requests a second,
    /// as 83 kubelets do. Only when a whole release ends without a word does another wait for that
    /// long.
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
