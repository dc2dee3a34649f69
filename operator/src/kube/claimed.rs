//! The namespaces on which this operator acts, and the permission to reconcile an object there.
//!
//! Tasks of [`crate::claims`] record here which claims are held. Controllers check before each
//! reconcile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::args::Scope;

/// Number of gained claims that a slow controller may lag behind before it reconciles everything
/// again.
const BACKLOG: usize = 1024;

/// The namespaces on which this operator acts.
#[derive(Debug)]
pub struct Claimed {
    /// The claimed namespaces; `None` if a single Lease covers everything that the operator
    /// watches.
    claimed: Option<Mutex<HashMap<String, watch::Receiver<bool>>>>,
    gained: broadcast::Sender<String>,
}

impl Claimed {
    /// An operator for one namespace acts there for as long as it runs. An operator for all
    /// namespaces initially acts on none.
    pub fn new(scope: &Scope) -> Self {
        let claimed = match scope {
            Scope::All => Some(Mutex::default()),
            Scope::Namespace(_) => None,
        };
        Self { claimed, gained: broadcast::Sender::new(BACKLOG) }
    }

    /// The permission to reconcile objects of a namespace now; `None` if another operator acts
    /// there.
    pub fn of(&self, namespace: &str) -> Option<Claim> {
        let Some(claimed) = &self.claimed else { return Some(Claim(None)) };
        let over = lock(claimed).get(namespace).cloned()?;
        Some(Claim(Some(over)))
    }

    /// Namespaces that are claimed from now on.
    pub fn gained(&self) -> broadcast::Receiver<String> {
        self.gained.subscribe()
    }

    /// Records that the claim on a namespace is held.
    pub(crate) fn gain(&self, namespace: &str) -> Gained<'_> {
        let (over, seen) = watch::channel(false);
        if let Some(claimed) = &self.claimed {
            lock(claimed).insert(namespace.to_owned(), seen);
        }
        // There is no receiver before the controllers run. They start with all objects.
        let _ = self.gained.send(namespace.to_owned());
        Gained { claimed: self, namespace: namespace.to_owned(), over }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The permission to reconcile, while it lasts.
#[derive(Debug)]
pub struct Claim(Option<watch::Receiver<bool>>);

impl Claim {
    /// Resolves when the claim is lost or given up. The caller must then drop the work in progress
    /// and this value.
    pub async fn lost(&mut self) {
        match &mut self.0 {
            // An error means that the sender is gone, and the claim with it.
            Some(over) => drop(over.wait_for(|over| *over).await),
            None => std::future::pending().await,
        }
    }
}

/// A held claim, from its keeper's view.
pub(crate) struct Gained<'a> {
    claimed: &'a Claimed,
    namespace: String,
    over: watch::Sender<bool>,
}

impl Gained<'_> {
    /// Aborts reconciles, and returns when none is in progress.
    pub(crate) async fn end(self) {
        if let Some(claimed) = &self.claimed.claimed {
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
        let claims = Claimed::new(&Scope::All);
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
        let claims = Claimed::new(&Scope::All);
        drop(claims.gain("a"));
        claims.of("a").unwrap().lost().now_or_never().unwrap();
    }

    #[tokio::test]
    async fn one_lease_stands_for_all_that_a_release_for_one_namespace_watches() {
        let claims = Claimed::new(&Scope::Namespace("a".into()));
        assert!(claims.of("a").unwrap().lost().now_or_never().is_none());
    }
}
