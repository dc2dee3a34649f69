//! Public types, before their bodies.

use std::sync::Arc;

use opaque_pir::params;

/// Bytes of a client's evaluation keys: two seeded Galois keys, bit-packed, always this many.
pub const EVALUATION_KEYS_BYTES: usize =
    4 + 2 * 2 * (params::PLANE_ROWS * (35 + 35 + 36) / 8 + params::SEED_BYTES);

/// Why a BFV operation was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Bytes of the wrong length.
    #[error("{what} must be {expected} bytes, not {found}")]
    Size {
        /// What was read.
        what: &'static str,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it had.
        found: usize,
    },
    /// Not built yet.
    #[error("not built yet")]
    Unfinished,
}

/// The context of the parameter set `opaque-128-v1`.
#[derive(Debug)]
pub struct Bfv(());

impl Bfv {
    /// Builds the context.
    ///
    /// # Errors
    /// SEAL's refusal of the parameters.
    pub fn new() -> Result<Arc<Self>, SealError> {
        Ok(Arc::new(Self(())))
    }
}

/// A client's two Galois keys.
#[derive(Debug)]
pub struct EvaluationKeys(());

impl EvaluationKeys {
    /// Checks and loads [`EVALUATION_KEYS_BYTES`] bytes.
    ///
    /// # Errors
    /// A wrong size, version or residue.
    pub fn from_bytes(_bfv: &Bfv, _bytes: &[u8]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }
}

/// A fresh encryption of the scan's secret.
#[derive(Debug)]
pub struct EncryptedSecret(());

impl EncryptedSecret {
    /// Checks and loads [`params::ENCRYPTED_SECRET_BYTES`] bytes.
    ///
    /// # Errors
    /// A wrong size or residue.
    pub fn from_bytes(_bfv: &Bfv, _bytes: &[u8]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }
}

/// One plane of the hint, ready for [`hint_product`].
#[derive(Debug)]
pub struct PlaneTable(());

impl PlaneTable {
    /// From 4096 x 1024 entries of H, row-major.
    ///
    /// # Errors
    /// A plane of another size.
    pub fn build(_bfv: &Bfv, _plane: &[u32]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }

    /// Memory it takes.
    pub fn bytes(&self) -> usize {
        64 << 20
    }
}

/// `Enc(H'·s)` for each plane, [`params::PLANE_CIPHERTEXT_BYTES`] bytes each.
///
/// # Errors
/// SEAL's refusal.
pub fn hint_product(
    _bfv: &Bfv,
    _keys: &EvaluationKeys,
    _secret: &EncryptedSecret,
    _planes: &[&PlaneTable],
) -> Result<Vec<Vec<u8>>, SealError> {
    Err(SealError::Unfinished)
}
