//! A pair of keys.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use opaque_client::registered::{RegisteredKeys, RegisteredKeysError};
use opaque_pir::codec::KeyDigest;
use opaque_pir::params::RING_DEGREE;
use opaque_seal::{Bfv, SealError};
use opaque_seal_secrets::SecretKey;
use zeroize::Zeroizing;

/// A BFV secret and its evaluation keys, with the context that they belong to.
pub struct Keys {
    pub(crate) bfv: Arc<Bfv>,
    pub(crate) secret: SecretKey,
    evaluation: Bytes,
    digest: KeyDigest,
}

impl Keys {
    /// Generates fresh keys and does not store them.
    ///
    /// # Errors
    /// SEAL's error, for example if the system provides no randomness.
    pub fn generate(bfv: Arc<Bfv>) -> Result<Self, SealError> {
        let secret = SecretKey::generate(&bfv)?;
        let evaluation = secret.evaluation_keys(&bfv)?;
        Ok(Self::new(bfv, secret, evaluation.into()))
    }

    pub(crate) fn new(bfv: Arc<Bfv>, secret: SecretKey, evaluation: Bytes) -> Self {
        let digest = KeyDigest::of(&evaluation);
        Self { bfv, secret, evaluation, digest }
    }
}

impl RegisteredKeys for Keys {
    fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    fn evaluation(&self) -> &Bytes {
        &self.evaluation
    }

    fn encrypt(&self, secret: &[i32; RING_DEGREE]) -> Result<Vec<u8>, RegisteredKeysError> {
        self.secret.encrypt(&self.bfv, secret).map_err(unusable)
    }

    fn decrypt(&self, product: &[u8]) -> Result<Zeroizing<Vec<u32>>, RegisteredKeysError> {
        self.secret.decrypt(&self.bfv, product).map_err(unusable)
    }
}

fn unusable(error: SealError) -> RegisteredKeysError {
    RegisteredKeysError::new(error, None)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
