//! Evaluation keys in the store, each stored under its digest.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use opaque_pir::codec::KeyDigest;

use crate::error::StoreError;
use crate::store::Store;
use crate::time::UnixMillis;

impl Store {
    /// Stores a client's evaluation keys. Storing them again is not an error and repairs a damaged
    /// copy.
    pub async fn put_keys(&self, keys: Bytes) -> Result<KeyDigest, StoreError> {
        let digest = KeyDigest::of(&keys);
        self.replace(&path(&digest), keys).await?;
        Ok(digest)
    }

    /// The keys with this digest. They have at most `limit` bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the keys were never registered or have expired;
    /// [`StoreError::Corrupt`] if they do not match the digest.
    pub async fn keys(&self, digest: &KeyDigest, limit: u64) -> Result<Bytes, StoreError> {
        let path = path(digest);
        let keys = self.read(&path, limit).await?;
        if KeyDigest::of(&keys) == *digest {
            Ok(keys)
        } else {
            Err(StoreError::corrupt(&path, "the keys do not match their digest"))
        }
    }

    /// Removes keys that were stored longer than `age` ago. Returns their number. Their clients
    /// register them again.
    pub async fn expire_keys(&self, now: UnixMillis, age: Duration) -> Result<usize, StoreError> {
        let folder = Path::from("keys");
        let mut expired = self.list(&folder).await?;
        expired.retain(|meta| {
            let put = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
            now.since(UnixMillis(put)) > age
        });
        let count = expired.len();
        self.remove(&folder, expired.into_iter().map(|meta| meta.location).collect()).await?;
        Ok(count)
    }
}

fn path(digest: &KeyDigest) -> Path {
    Path::from_iter(["keys", &digest.to_string()])
}
