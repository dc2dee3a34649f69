//! Registered keys: one BFV secret for many lookups, whose evaluation keys the cluster stores.
//!
//! **What.** [`KeyDirectory`] is a [`KeyStore`] that a program passes to its client
//! ([`opaque_client::ClientConfig::key_store`]). It generates a pair of keys, stores it in the
//! profile for [`LIMIT`] lookups, and then replaces it.
//!
//! **Why a separate crate.** SEAL's bindings are licensed under AGPL-3.0-only, which extends to
//! everything that links them. The client library needs neither SEAL nor a C++ compiler, because
//! lookups with inline keys, the default, do not use it.
//!
//! **Map.** `keys` (a pair of keys), `key_file` (its file), `reserve` (which pair a statement
//! uses), `error`.
//!
//! **Limits.** The cluster can link all lookups that use one pair. SEAL draws its own randomness.
#![forbid(unsafe_code)]

// SEAL contains a second copy of zstd. The crate that is named first is linked last, so that all
// code uses the newer zstd, that of crate `zstd`, and the linker never mixes the two.
use opaque_seal as _;

mod error;
mod key_file;
mod keys;
mod reserve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use opaque_client::registered::{KeyStore, RegisteredKeys, RegisteredKeysError};

pub use error::KeysError;
pub use keys::Keys;
pub use opaque_seal::EVALUATION_KEYS_BYTES;
pub use reserve::LIMIT;

/// Keys in a directory of the profile ([`opaque_client::profile::Home::keys_dir`]).
pub struct KeyDirectory {
    path: PathBuf,
    /// The pair that was used last. Reading it from its file takes longer than a lookup.
    last: Mutex<Option<Arc<Keys>>>,
}

impl KeyDirectory {
    /// The keys in directory `path`. Nothing is read or generated before the first lookup.
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }
}

impl KeyStore for KeyDirectory {
    fn reserve(&self, lookups: u64) -> Result<Arc<dyn RegisteredKeys>, RegisteredKeysError> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = last().clone();
        let keys = reserve::reserve(&self.path, lookups, kept)?;
        *last() = Some(Arc::clone(&keys));
        Ok(keys)
    }
}

impl fmt::Debug for KeyDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyDirectory").field("path", &self.path).finish_non_exhaustive()
    }
}
