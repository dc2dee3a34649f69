//! The namespaces on which this operator acts, and the right to reconcile an object there.
//!
//! Tasks of [`crate::claims`] note here which claims are held; controllers ask before each
//! reconcile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::args::Scope;

/// Claims gained that a slow controller may lag behind before it looks at everything again.
const BACKLOG: usize = 1024;

/// The namespaces on which this operator acts.
#[derive(Debug)]
pub struct Claimed {
    /// Those that it has claimed; none where one Lease stands for all that it watches.
    claimed: Option<Mutex<HashMap<String, watch::Receiver<bool>>>>,
    gained: broadcast::Sender<String>,
}

impl Claimed {
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
    pub(crate) fn gain(&self, namespace: &str) -> Gained<'_> {
        let (over, seen) = watch::channel(false);
        if let Some(claimed) = &self.claimed {
            lock(claimed).insert(namespace.to_owned(), seen);
        }
        // Nobody listens before the controllers run; they begin with everything.
        let _ = self.gained.send(namespace.to_owned());
        Gained { claimed: self, namespace: namespace.to_owned(), over }
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
pub(crate) struct Gained<'a> {
    claimed: &'a Claimed,
    namespace: String,
    over: watch::Sender<bool>,
}

impl Gained<'_> {
    /// Cuts reconciles off and returns when none is under way.
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
