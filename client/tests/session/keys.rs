//! A key store without cryptography: it counts, and what its keys encrypt opens nothing.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opaque_client::registered::{KeyStore, RegisteredKeys, RegisteredKeysError};
use opaque_pir::codec::{KeyDigest, Kind};
use opaque_pir::params::{PLANE_ROWS, RING_DEGREE};
use zeroize::Zeroizing;

/// Gives other keys to each statement.
#[derive(Debug, Default)]
pub(crate) struct FakeKeyStore {
    /// The number of lookups of each statement.
    pub(crate) reserved: Mutex<Vec<u64>>,
}

#[derive(Debug)]
struct FakeKeys {
    evaluation: Bytes,
    digest: KeyDigest,
}

impl KeyStore for FakeKeyStore {
    fn reserve(&self, lookups: u64) -> Result<Arc<dyn RegisteredKeys>, RegisteredKeysError> {
        let mut reserved = self.reserved.lock().unwrap();
        reserved.push(lookups);
        let evaluation = Bytes::from(format!("keys {}", reserved.len()));
        let digest = KeyDigest::of(&evaluation);
        Ok(Arc::new(FakeKeys { evaluation, digest }))
    }
}

impl RegisteredKeys for FakeKeys {
    fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    fn evaluation(&self) -> &Bytes {
        &self.evaluation
    }

    fn encrypt(&self, _: &[i32; RING_DEGREE]) -> Result<Vec<u8>, RegisteredKeysError> {
        Ok(vec![7; Kind::Registered.secret_bytes()])
    }

    fn decrypt(&self, _: &[u8]) -> Result<Zeroizing<Vec<u32>>, RegisteredKeysError> {
        Ok(Zeroizing::new(vec![0; PLANE_ROWS]))
    }
}
