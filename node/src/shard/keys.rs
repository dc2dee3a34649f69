//! The evaluation keys that a node holds ready: bounded, expiring, each fetched once.
//!
//! Keys are named by digest, so that a copy is never stale; expiry only bounds how long a client's
//! keys stay in memory after it has gone. Time is passed in.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use opaque_pir::codec::KeyDigest;
use tokio::sync::OnceCell;

/// A cache of parsed keys.
///
/// Only keys that were found take a place: a query that names keys which do not exist cannot push
/// out another client's.
pub struct KeyCache<T> {
    capacity: NonZeroUsize,
    ttl: Duration,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: HashMap<KeyDigest, Entry<T>>,
    /// Fetches under way, kept alive by those who wait for them.
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
    /// A cache of at most `capacity` keys, each dropped `ttl` after it was put in.
    pub fn new(capacity: NonZeroUsize, ttl: Duration) -> Self {
        let inner = Inner { entries: HashMap::new(), fetches: HashMap::new(), clock: 0 };
        Self { capacity, ttl, inner: Mutex::new(inner) }
    }

    /// The keys, if they are here and have not expired.
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

    /// Puts keys in, in the place of expired or else the least recently used ones if it is full.
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

    /// The keys from here, or from `fetch`, whose result is then kept.
    ///
    /// Concurrent callers that name the same keys share one successful fetch. If a fetch fails, its
    /// caller gets the error and the next in line fetches; if a caller is cancelled, likewise.
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
            // Somebody may have finished between the look and joining.
            if let Some(keys) = self.find(&digest, now) {
                return Ok(keys);
            }
            let keys = Arc::new(fetch().await?);
            self.insert(digest, Arc::clone(&keys), now);
            Ok(keys)
        };
        cell.get_or_try_init(fetch_and_keep).await.cloned()
    }

    /// Drops expired keys; gives how many are left.
    pub fn expire(&self, now: Instant) -> usize {
        let mut inner = self.lock();
        inner.entries.retain(|_, entry| !entry.is_expired(self.ttl, now));
        inner.entries.len()
    }

    /// The fetch of these keys that is under way, or a new one.
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

    /// No code panics while it holds the lock, and every state under it is whole.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
