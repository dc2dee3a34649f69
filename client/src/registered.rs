//! What the client asks of registered keys, which a crate above this one brings (`opaque-registered`).
//!
//! The cluster keeps the public half of such keys for many lookups, and can link those lookups. Without
//! a [`KeyStore`] a client has inline keys only.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use opaque_pir::codec::KeyDigest;
use opaque_pir::params::RING_DEGREE;
use zeroize::Zeroizing;

/// Makes registered keys and keeps them between statements.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// The keys for a statement of so many lookups. They are counted, durably, before this returns.
    ///
    /// Blocks: it reads and writes files, and may make new keys.
    ///
    /// # Errors
    /// The keys cannot be read, made or counted.
    fn reserve(&self, lookups: u64) -> Result<Arc<dyn RegisteredKeys>, RegisteredKeysError>;
}

/// A long-lived secret, and the evaluation keys that the cluster keeps for it.
pub trait RegisteredKeys: fmt::Debug + Send + Sync {
    /// The digest under which the evaluation keys are registered.
    fn digest(&self) -> &KeyDigest;

    /// The evaluation keys: public, and sent to a cluster that does not have them.
    fn evaluation(&self) -> &Bytes;

    /// A fresh encryption of the scan's secret, of [`Kind::Registered`](opaque_pir::codec::Kind)'s size.
    ///
    /// # Errors
    /// A coefficient is out of range, or there is no randomness.
    fn encrypt(&self, secret: &[i32; RING_DEGREE]) -> Result<Vec<u8>, RegisteredKeysError>;

    /// The values of one plane's product, modulo t: the scan's secret times the plane's rows.
    ///
    /// # Errors
    /// The product is malformed. One that belongs to other keys decrypts to noise instead.
    fn decrypt(&self, product: &[u8]) -> Result<Zeroizing<Vec<u32>>, RegisteredKeysError>;
}

/// Why registered keys cannot be used. Carries no byte of them.
#[derive(Debug)]
pub struct RegisteredKeysError {
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl RegisteredKeysError {
    /// An error, and what a user can do about it.
    pub fn new(source: impl Error + Send + Sync + 'static, hint: Option<String>) -> Self {
        Self { source: Box::new(source), hint }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for RegisteredKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for RegisteredKeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
