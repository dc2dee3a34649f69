//! Evaluation keys: stored under their digest, parsed once, with bounds on memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opaque_pir::codec::KeyDigest;
use opaque_seal::{Bfv, EVALUATION_KEYS_BYTES, EvaluationKeys};
use opaque_store::{Store, StoreError, UnixMillis};

use crate::error::NodeError;
use crate::shard::keys::KeyCache;
use crate::shard::pool::CpuPool;

/// How long keys stay in the store. A client that returns later registers them again.
const STORED_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// The evaluation keys that queries name.
///
/// Keys are public, belong to one client, and are addressed by digest. Any node can hold any of
/// them, and a node that missed a registration fetches them from the store.
pub struct Registry {
    cache: KeyCache<EvaluationKeys>,
    store: Store,
    bfv: Arc<Bfv>,
    pool: CpuPool,
}

impl Registry {
    /// A registry on the cluster's store.
    pub fn new(
        cache: KeyCache<EvaluationKeys>,
        store: Store,
        bfv: Arc<Bfv>,
        pool: CpuPool,
    ) -> Self {
        Self { cache, store, bfv, pool }
    }

    /// Checks keys, stores them and returns their digest. Storing the same keys again is not an
    /// error.
    pub async fn register(&self, keys: Bytes) -> Result<KeyDigest, NodeError> {
        let parsed = self.parse(keys.clone()).await?;
        let digest = self.store.put_keys(keys).await.map_err(|error| key_store_error(&error))?;
        self.cache.insert(digest, Arc::new(parsed), Instant::now());
        Ok(digest)
    }

    /// Accepts keys that a peer has already stored.
    pub async fn accept(&self, digest: KeyDigest, keys: Bytes) -> Result<(), NodeError> {
        if KeyDigest::of(&keys) != digest {
            return Err(NodeError::Malformed("the keys do not match their digest".into()));
        }
        let parsed = self.parse(keys).await?;
        self.cache.insert(digest, Arc::new(parsed), Instant::now());
        Ok(())
    }

    /// The keys for a digest, from memory or from the store.
    ///
    /// # Errors
    /// [`NodeError::UnknownKeys`] if the keys were never registered or have expired.
    pub async fn keys(&self, digest: &KeyDigest) -> Result<Arc<EvaluationKeys>, NodeError> {
        let fetch = async || match self.store.keys(digest, EVALUATION_KEYS_BYTES as u64).await {
            Ok(keys) => self.parse(keys).await,
            // A damaged copy is replaced when its client registers again.
            Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => {
                Err(NodeError::UnknownKeys)
            }
            Err(error) => Err(key_store_error(&error)),
        };
        self.cache.find_or_fetch(*digest, Instant::now(), fetch).await
    }

    /// Drops expired keys from memory and from the store.
    pub async fn expire(&self) {
        self.cache.expire(Instant::now());
        match self.store.expire_keys(UnixMillis::now(), STORED_TTL).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "evaluation keys expired"),
            Err(error) => tracing::warn!(%error, "could not expire evaluation keys"),
        }
    }

    async fn parse(&self, keys: Bytes) -> Result<EvaluationKeys, NodeError> {
        if keys.len() != EVALUATION_KEYS_BYTES {
            return Err(NodeError::Malformed(format!(
                "evaluation keys have {EVALUATION_KEYS_BYTES} bytes, not {}",
                keys.len()
            )));
        }
        let bfv = Arc::clone(&self.bfv);
        let parsed = self.pool.run(move || EvaluationKeys::from_bytes(&bfv, &keys)).await?;
        parsed.map_err(|_| NodeError::Malformed("malformed evaluation keys".into()))
    }
}

/// Converts a failure of the store for a client's keys. The object's name is the digest in the
/// query, so neither the log nor the answer may contain it.
fn key_store_error(error: &StoreError) -> NodeError {
    let what = match error {
        StoreError::Full { .. } => "no space is left for evaluation keys",
        _ => "evaluation keys cannot be read or written",
    };
    tracing::warn!(what, "object store");
    NodeError::Store(what.into())
}

/// Converts a failure of the object store for a request.
pub fn store_error(error: StoreError) -> NodeError {
    tracing::warn!(%error, "object store");
    match error.is_passing() {
        true => NodeError::StoreAway(error.to_string()),
        false => NodeError::Store(error.to_string()),
    }
}
