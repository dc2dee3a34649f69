//! Randomness, as an argument.

use rand::TryRng;
use rand::rngs::SysRng;
use rcgen::{KeyPair, SerialNumber};

use super::error::CertificateError;

/// Source of keys and serial numbers.
pub(crate) trait Entropy {
    /// A new private key, ECDSA P-256.
    fn key(&mut self) -> Result<KeyPair, CertificateError>;

    /// Sixteen random bytes.
    fn bytes(&mut self) -> Result<[u8; 16], CertificateError>;

    /// A serial number of sixteen bytes. It is positive and has constant length.
    fn serial(&mut self) -> Result<SerialNumber, CertificateError> {
        let mut bytes = self.bytes()?;
        let [first, ..] = &mut bytes;
        *first = (*first & 0x7f) | 0x40;
        Ok(SerialNumber::from_slice(&bytes))
    }
}

/// The operating system's randomness.
pub(crate) struct System;

impl Entropy for System {
    fn key(&mut self) -> Result<KeyPair, CertificateError> {
        KeyPair::generate().map_err(CertificateError::make("a key"))
    }

    fn bytes(&mut self) -> Result<[u8; 16], CertificateError> {
        let mut bytes = [0; 16];
        SysRng.try_fill_bytes(&mut bytes).map_err(|_| CertificateError::NoRandomness)?;
        Ok(bytes)
    }
}
