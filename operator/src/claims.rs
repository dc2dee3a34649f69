//! Claims: one operator acts on a namespace, by the Lease `opaque-operator` there.
//!
//! **Flow.** A release for one namespace elects its active replica by that Lease ([`standing`]), as every
//! release did before. The replicas of a release for all namespaces elect theirs by a Lease of their own, in the
//! release's namespace. The active one then stands for the claim on each namespace that has one of our objects
//! ([`each`]), as `NAMESPACE/NAME` of the release. Its controllers ask [`Claims`] before each reconcile.
//!
//! **Who waits says so** ([`waiting`]). While another release holds the claim, one replica of the release that waits
//! publishes an event about each cluster, and holds a Lease of its own in the namespace. The operator that acts finds
//! it and says so in the clusters' status: it stays the only one to write there.
//!
//! **Guarantees.** An operator reconciles objects of a namespace only while it holds the claim on it. A reconcile
//! under way is cut off when the claim is lost, and has ended before one is released.
//!
//! **Assumptions.** Two processes that lead one release never run at a time: the next one takes its claims over by
//! name, without waiting for their end.
//!
//! **Limits.** That somebody deletes or rewrites a claim by hand is seen at its next renewal ([`Times`]).

pub(crate) mod decision;
pub mod each;
pub mod standing;
pub mod waiting;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_ops::election::Policy;
use tokio::sync::{broadcast, watch};

use crate::args::Scope;

/// Name of the Lease by which one operator acts on the namespace that it is in.
pub const LEASE: &str = "opaque-operator";
/// Claims gained that a slow controller may lag behind before it looks at everything again.
const BACKLOG: usize = 1024;

/// For how long Leases are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// By which replicas elect the active one.
    pub lead: Policy,
    /// Of the claims of a release for all namespaces, and of what says that a release waits.
    pub claim: Policy,
}

impl Default for Times {
    /// Claims are renewed once a minute and end after five: 500 of them cost 8 requests a second, as
    /// 83 kubelets do. Only when a whole release ends without a word does another wait for that long.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let claim = Policy::new(seconds(300), seconds(200), seconds(60)).unwrap_or_default();
        Self { lead: Policy::default(), claim }
    }
}

/// The namespaces on which this operator acts.
#[derive(Debug)]
pub struct Claims {
    /// Those that it has claimed; none where one Lease stands for all that it watches.
    claimed: Option<Mutex<HashMap<String, watch::Receiver<bool>>>>,
    gained: broadcast::Sender<String>,
}

impl Claims {
    /// With one namespace it acts there for as long as it runs, with all on none at first.
    pub fn new(scope: &Scope) -> Self {
        let claimed = match scope {
            Scope::All => Some(Mutex::default()),
            Scope::Namespace(_) => None,
        };
        Self { claimed, gained: broadcast::Sender::new(BACKLOG) }
    }

    /// The right to reconcile objects of a namespace now; none if another operator acts there.
    pub fn of(&self, namespace: &str) -> Option<Claim> {
        let Some(claimed) = &self.claimed else { return Some(Claim(None)) };
        let over = lock(claimed).get(namespace).cloned()?;
        Some(Claim(Some(over)))
    }

    /// Namespaces that are claimed from now on.
    pub fn gained(&self) -> broadcast::Receiver<String> {
        self.gained.subscribe()
    }

    /// Notes that the claim on a namespace is held.
    fn gain(&self, namespace: &str) -> Held<'_> {
        let (over, seen) = watch::channel(false);
        if let Some(claimed) = &self.claimed {
            lock(claimed).insert(namespace.to_owned(), seen);
        }
        // Nobody listens before the controllers run; they begin with everything.
        let _ = self.gained.send(namespace.to_owned());
        Held { claims: self, namespace: namespace.to_owned(), over }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to reconcile, while it lasts.
#[derive(Debug)]
pub struct Claim(Option<watch::Receiver<bool>>);

impl Claim {
    /// Resolves when the claim is lost or given up. Drop what is under way then, and this.
    pub async fn lost(&mut self) {
        match &mut self.0 {
            // An error: the sender is gone, and the claim with it.
            Some(over) => drop(over.wait_for(|over| *over).await),
            None => std::future::pending().await,
        }
    }
}

/// A claim that is held, as its keeper has it.
struct Held<'a> {
    claims: &'a Claims,
    namespace: String,
    over: watch::Sender<bool>,
}

impl Held<'_> {
    /// Cuts reconciles off and returns when none is under way.
    async fn end(self) {
        if let Some(claimed) = &self.claims.claimed {
            lock(claimed).remove(&self.namespace);
        }
        self.over.send_replace(true);
        self.over.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_reconcile_ends_before_its_claim_does() {
        let claims = Claims::new(&Scope::All);
        assert!(claims.of("a").is_none());
        let mut gained = claims.gained();
        let held = claims.gain("a");
        assert_eq!(gained.recv().await.unwrap(), "a");
        let mut claim = claims.of("a").unwrap();
        assert!(claims.of("b").is_none());
        assert!(claim.lost().now_or_never().is_none());
        let mut end = Box::pin(held.end());
        assert!(end.as_mut().now_or_never().is_none(), "a reconcile is under way");
        assert!(claims.of("a").is_none(), "another reconcile begins");
        claim.lost().now_or_never().unwrap();
        drop(claim);
        end.now_or_never().unwrap();
    }

    #[tokio::test]
    async fn a_claim_whose_keeper_is_gone_is_lost() {
        let claims = Claims::new(&Scope::All);
        drop(claims.gain("a"));
        claims.of("a").unwrap().lost().now_or_never().unwrap();
    }

    #[tokio::test]
    async fn one_lease_stands_for_all_that_a_release_for_one_namespace_watches() {
        let claims = Claims::new(&Scope::Namespace("a".into()));
        assert!(claims.of("a").unwrap().lost().now_or_never().is_none());
    }

    #[test]
    fn claims_are_renewed_seldom() {
        let Times { lead, claim } = Times::default();
        assert_eq!(lead, Policy::default());
        assert_ne!(claim, lead, "its times were refused");
        // 500 namespaces cost fewer requests than 100 kubelets, each of which renews its Lease every 10 s.
        assert!(500.0 / claim.retry().as_secs_f64() < 10.0);
    }
}
