//! The client's half: bodies follow.

use zeroize::Zeroizing;

use crate::{Bfv, SealError};

/// A client's BFV secret key.
#[derive(Debug)]
pub struct SecretKey(());

impl SecretKey {
    /// A fresh key.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate(_bfv: &Bfv) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }

    /// The key as bytes, for the client's profile.
    ///
    /// # Errors
    /// SEAL's refusal.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Err(SealError::Unfinished)
    }

    /// The key that [`SecretKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// A wrong size, version, residue or checksum.
    pub fn from_bytes(_bfv: &Bfv, _bytes: &[u8]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }

    /// Fresh evaluation keys, [`crate::EVALUATION_KEYS_BYTES`] bytes.
    ///
    /// # Errors
    /// No randomness.
    pub fn evaluation_keys(&self, _bfv: &Bfv) -> Result<Vec<u8>, SealError> {
        Err(SealError::Unfinished)
    }

    /// Encrypts the scan's secret.
    ///
    /// # Errors
    /// No randomness.
    pub fn encrypt(&self, _bfv: &Bfv, _secret: &[i32; 1024]) -> Result<Vec<u8>, SealError> {
        Err(SealError::Unfinished)
    }

    /// Decrypts one plane of an answer: 4096 values modulo t.
    ///
    /// # Errors
    /// A wrong size or residue.
    pub fn decrypt(&self, _bfv: &Bfv, _ciphertext: &[u8]) -> Result<Vec<u32>, SealError> {
        Err(SealError::Unfinished)
    }

    /// Bits of noise budget left in an answer's ciphertext.
    ///
    /// # Errors
    /// A wrong size or residue.
    pub fn noise_budget(&self, _bfv: &Bfv, _ciphertext: &[u8]) -> Result<u32, SealError> {
        Err(SealError::Unfinished)
    }
}
