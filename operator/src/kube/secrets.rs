//! Users' Secrets: read by name, each at most once a minute, and never listed or watched.
//!
//! Their contents are not kept, only which keys have a value. A Secret that does not suffice is
//! read again sooner, so that a correction is noticed quickly.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;

use crate::labels::{MANAGED_BY, OPERATOR};

/// Interval after which a sufficient Secret is read again.
pub(crate) const SECRET_AGAIN: Duration = Duration::from_secs(60);
/// Interval after which a Secret is read again that was missing or lacked a key.
pub(crate) const SECRET_MISSING: Duration = Duration::from_secs(10);
/// Number of names that are remembered. Beyond it, names without a waiting caller are forgotten.
const REMEMBERED: usize = 1024;

/// What is known about a Secret; `None` if it does not exist.
pub(crate) type Keys = Option<Found>;

/// An existing Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its keys that have a value.
    pub keys: BTreeSet<String>,
    /// Whether the operator created it for a cluster. Specs may not refer to it, because it holds a
    /// key of that cluster.
    pub is_own: bool,
}

/// Namespace and name.
type Key = (String, String);

/// The last reading of each Secret, and its time. The lock of an entry is held during a read.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    entries: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Option<Known>>>>>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    keys: Arc<Keys>,
}

impl Known {
    /// Whether the entry is still fresh at `now`.
    fn holds(&self, suffices: bool, now: Instant) -> bool {
        let lasting = if suffices { SECRET_AGAIN } else { SECRET_MISSING };
        now.saturating_duration_since(self.at) < lasting
    }
}

impl Secrets {
    fn entry(&self, namespace: &str, name: &str) -> Arc<tokio::sync::Mutex<Option<Known>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= REMEMBERED {
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(entries.entry((namespace.to_owned(), name.to_owned())).or_default())
    }

    /// What is known about a Secret, or else what `read` returns at `now`.
    pub(crate) async fn keys<E>(
        &self,
        (namespace, name): (&str, &str),
        now: Instant,
        suffices: impl Fn(&Keys) -> bool,
        read: impl AsyncFnOnce() -> Result<Keys, E>,
    ) -> Result<Arc<Keys>, E> {
        let entry = self.entry(namespace, name);
        let mut known = entry.lock().await;
        if let Some(known) = known.as_ref().filter(|one| one.holds(suffices(&one.keys), now)) {
            return Ok(Arc::clone(&known.keys));
        }
        let keys = Arc::new(read().await?);
        *known = Some(Known { at: now, keys: Arc::clone(&keys) });
        Ok(keys)
    }
}

pub(crate) fn found(secret: &Secret) -> Found {
    let data = secret.data.iter().flatten();
    let keys = data.filter(|(_, value)| !value.0.is_empty()).map(|(key, _)| key.clone());
    let maker = secret.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    Found { keys: keys.collect(), is_own: maker.is_some_and(|maker| maker == OPERATOR) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_read_once_a_minute_and_sooner_while_it_does_not_suffice() {
        let (secrets, start) = (Secrets::default(), Instant::now());
        let (reads, there) = (Cell::new(0), Cell::new(false));
        let look = async |second: u64, name: &str| {
            let now = start + Duration::from_secs(second);
            let read = async || {
                reads.set(reads.get() + 1);
                Ok::<_, Infallible>(there.get().then(Found::default))
            };
            let Ok(keys) = secrets.keys(("ns", name), now, Option::is_some, read).await;
            (reads.get(), keys.is_some())
        };
        assert_eq!(look(0, "store").await, (1, false));
        there.set(true);
        assert_eq!(look(9, "store").await, (1, false));
        assert_eq!(look(10, "store").await, (2, true));
        there.set(false);
        for second in 11..70 {
            assert_eq!(look(second, "store").await, (2, true));
        }
        assert_eq!(look(70, "store").await, (3, false));
        assert_eq!(look(70, "other").await, (4, false), "each for itself");
    }

    #[test]
    fn values_are_not_kept() {
        let secret = json!({"data": {"token": "c2VjcmV0", "empty": ""}});
        let found = found(&serde_json::from_value(secret).unwrap());
        assert_eq!(found.keys, BTreeSet::from(["token".to_owned()]));
        assert!(!found.is_own);
    }
}
