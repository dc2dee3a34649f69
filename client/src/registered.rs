//! The interface of registered keys. Crate `opaque-registered`, which depends on this one,
//! implements it.
//!
//! The cluster stores the public half of registered keys for many lookups, and can link those
//! lookups. A client without a [`KeyStore`] uses inline keys only.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use opaque_pir::codec::KeyDigest;
use opaque_pir::params::RING_DEGREE;
use zeroize::Zeroizing;

/// Creates registered keys and keeps them between statements.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Returns the keys for a statement with `lookups` lookups. The lookups are counted durably
    /// before this returns.
    ///
    /// This call blocks: it reads and writes files, and may generate keys.
    ///
    /// # Errors
    /// The keys cannot be read, generated or counted.
    fn reserve(&self, lookups: u64) -> Result<Arc<dyn RegisteredKeys>, RegisteredKeysError>;
}

/// A long-lived secret, and the evaluation keys that the cluster stores for it.
pub trait RegisteredKeys: fmt::Debug + Send + Sync {
    /// The digest under which the evaluation keys are registered.
    fn digest(&self) -> &KeyDigest;

    /// The evaluation keys. They are public, and are sent to clusters that do not have them.
    fn evaluation(&self) -> &Bytes;

    /// Encrypts the scan's secret with fresh randomness. The size is that of
    /// [`Kind::Registered`](opaque_pir::codec::Kind).
    ///
    /// # Errors
    /// A coefficient is out of range, or no randomness is available.
    fn encrypt(&self, secret: &[i32; RING_DEGREE]) -> Result<Vec<u8>, RegisteredKeysError>;

    /// Decrypts the product of the scan's secret and one plane's rows, modulo t.
    ///
    /// # Errors
    /// The product is malformed. A product for other keys is no error: it decrypts to noise.
    fn decrypt(&self, product: &[u8]) -> Result<Zeroizing<Vec<u32>>, RegisteredKeysError>;
}

/// Why registered keys cannot be used. It contains no key bytes.
#[derive(Debug)]
pub struct RegisteredKeysError {
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl RegisteredKeysError {
    /// Wraps an error, with a hint for the user.
    pub fn new(source: impl Error + Send + Sync + 'static, hint: Option<String>) -> Self {
        Self { source: Box::new(source), hint }
    }

    /// What to do about the error, if anything can be done.
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
