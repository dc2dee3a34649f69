//! The parsed evaluation keys of a node: a bounded cache with expiry that fetches each key once.
//!
//! Keys are named by digest, so a copy is never stale. Expiry only bounds how long a client's keys
//! stay in memory after its last use. Time is an argument.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use opaque_pir::codec::KeyDigest;
use tokio::sync::OnceCell;

/// A cache of parsed keys.
///
/// Only keys that were found occupy a place. A query that names keys which do not exist cannot
/// evict another client's keys.
pub struct KeyCache<T> {
    capacity: NonZeroUsize,
    ttl: Duration,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: HashMap<KeyDigest, Entry<T>>,
    /// Fetches in progress. Their waiters keep them alive.
    fetches: HashMap<KeyDigest, Weak<OnceCell<Arc<T>>>>,
    /// Counts uses, to find the least recent one.
    clock: u64,
}

struct Entry<T> {
    keys: Arc<T>,
    inserted: Instant,
    used: u64,
}

impl<T> Entry<T> {
    fn is_expired(&self, ttl: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.inserted) >= ttl
    }
}

impl<T> KeyCache<T> {
    /// A cache of at most `capacity` keys. Each is dropped `ttl` after its insertion.
    pub fn new(capacity: NonZeroUsize, ttl: Duration) -> Self {
        let inner = Inner { entries: HashMap::new(), fetches: HashMap::new(), clock: 0 };
        Self { capacity, ttl, inner: Mutex::new(inner) }
    }

    /// The keys, if they are cached and have not expired.
    pub fn find(&self, digest: &KeyDigest, now: Instant) -> Option<Arc<T>> {
        let mut inner = self.lock();
        inner.clock += 1;
        let clock = inner.clock;
        let entry = inner.entries.get_mut(digest)?;
        if entry.is_expired(self.ttl, now) {
            inner.entries.remove(digest);
            return None;
        }
        entry.used = clock;
        Some(Arc::clone(&entry.keys))
    }

    /// Inserts keys. If the cache is full, expired keys are removed, or else the least recently
    /// used ones.
    pub fn insert(&self, digest: KeyDigest, keys: Arc<T>, now: Instant) {
        let mut inner = self.lock();
        inner.clock += 1;
        let used = inner.clock;
        if !inner.entries.contains_key(&digest) && inner.entries.len() >= self.capacity.get() {
            inner.entries.retain(|_, entry| !entry.is_expired(self.ttl, now));
            if inner.entries.len() >= self.capacity.get() {
                let oldest = inner.entries.iter().min_by_key(|(_, entry)| entry.used);
                if let Some(digest) = oldest.map(|(digest, _)| *digest) {
                    inner.entries.remove(&digest);
                }
            }
        }
        inner.entries.insert(digest, Entry { keys, inserted: now, used });
    }

    /// The keys from the cache, or from `fetch`, whose result is then cached.
    ///
    /// Concurrent callers that name the same keys share one successful fetch. If a fetch fails, its
    /// caller gets the error and the next waiter fetches. The same happens if a caller is
    /// cancelled.
    pub async fn find_or_fetch<E, F>(
        &self,
        digest: KeyDigest,
        now: Instant,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        if let Some(keys) = self.find(&digest, now) {
            return Ok(keys);
        }
        let cell = self.join(digest);
        let fetch_and_keep = async || {
            // Another caller may have finished between the lookup and joining.
            if let Some(keys) = self.find(&digest, now) {
                return Ok(keys);
            }
            let keys = Arc::new(fetch().await?);
            self.insert(digest, Arc::clone(&keys), now);
            Ok(keys)
        };
        cell.get_or_try_init(fetch_and_keep).await.cloned()
    }

    /// Drops expired keys. Returns the number of remaining ones.
    pub fn expire(&self, now: Instant) -> usize {
        let mut inner = self.lock();
        inner.entries.retain(|_, entry| !entry.is_expired(self.ttl, now));
        inner.entries.len()
    }

    /// The fetch of these keys that is in progress, or a new one.
    fn join(&self, digest: KeyDigest) -> Arc<OnceCell<Arc<T>>> {
        let mut inner = self.lock();
        if let Some(cell) = inner.fetches.get(&digest).and_then(Weak::upgrade) {
            return cell;
        }
        inner.fetches.retain(|_, cell| cell.strong_count() > 0);
        let cell = Arc::new(OnceCell::new());
        inner.fetches.insert(digest, Arc::downgrade(&cell));
        cell
    }

    /// No code panics while it holds the lock, and the state is consistent at any point.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
