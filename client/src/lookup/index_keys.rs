//! Keys that encrypt the lookups of one index and decrypt the answers.
//!
//! ```text
//! inline       a fresh secret for each lookup, cleared with its answer        opaque_secrets::inline
//! registered   one long-lived BFV secret for many lookups, which it links    crate opaque-registered
//! ```

use std::sync::Arc;

use bytes::Bytes;
use opaque_pir::{
    codec::{AnswerView, Kind, Material, Share, recover_byte},
    geometry::Geometry,
    inline::{InlineError, PublicElements, PublicPart},
    params::RING_DEGREE,
    seed::IndexSeed,
};
use opaque_secrets::inline::{self, LookupKey, Seed};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::registered::{RegisteredKeys, RegisteredKeysError};

/// Keys for lookups of one index of one epoch.
pub enum IndexKeys {
    /// Public elements and public parts. Each lookup has a fresh secret.
    Inline {
        /// The `a` halves of the ciphertexts that lookups send.
        elements: PublicElements,
        /// The public halves of the ciphertexts in answers, one for each plane.
        public_parts: Vec<PublicPart>,
    },
    /// Long-lived keys that the cluster stores.
    Registered(Arc<dyn RegisteredKeys>),
}

/// The secret that decrypts one answer, in addition to the index's keys. It is used once.
pub struct Opener(Option<LookupKey>);

impl IndexKeys {
    /// Inline keys with these public parts. There is one part for each plane of the index.
    pub fn inline(seed: &IndexSeed, public_parts: Vec<PublicPart>) -> Self {
        Self::Inline { elements: PublicElements::new(seed), public_parts }
    }

    /// The key material that a query carries.
    pub fn material(&self) -> Material {
        match self {
            Self::Inline { .. } => Material::Inline,
            Self::Registered(keys) => Material::Registered(*keys.digest()),
        }
    }

    /// The kind of keys, which determines message sizes.
    pub fn kind(&self) -> Kind {
        self.material().kind()
    }

    /// The evaluation keys that must be registered with the cluster first, if any.
    pub fn evaluation(&self) -> Option<&Bytes> {
        match self {
            Self::Inline { .. } => None,
            Self::Registered(keys) => Some(keys.evaluation()),
        }
    }

    /// Encrypts the secret of one lookup's scan. Returns [`Kind::secret_bytes`] bytes and the key
    /// that decrypts the answer.
    ///
    /// # Errors
    /// A coefficient is out of range, or registered keys get no randomness. No error depends on the
    /// bucket.
    pub fn encrypt(
        &self,
        seed: Seed,
        secret: &[i32; RING_DEGREE],
    ) -> Result<(Vec<u8>, Opener), EncryptError> {
        match self {
            Self::Inline { elements, .. } => {
                let (bytes, key) = inline::encrypt(elements, seed, secret)?;
                Ok((bytes, Opener(Some(key))))
            }
            // Registered keys draw their own randomness.
            Self::Registered(keys) => Ok((keys.encrypt(secret)?, Opener(None))),
        }
    }

    /// Decrypts the R whitened bytes of the bucket from the answer to lookup number `lookup`.
    ///
    /// # Errors
    /// The answer has another kind of keys or another shape.
    pub fn open(
        &self,
        opener: &Opener,
        geometry: &Geometry,
        answer: &AnswerView<'_>,
        lookup: u16,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(geometry.bucket_bytes()));
        for plane in 0..geometry.planes() {
            let share = answer.share(lookup, plane).ok_or(DecryptError::Rows)?;
            match (self, &opener.0, share) {
                (Self::Inline { public_parts, .. }, Some(key), Share::Inline(share)) => {
                    let part = public_parts.get(plane).ok_or(DecryptError::Rows)?;
                    let (bits, rows) = (geometry.rounding().row_bits, geometry.plane_rows(plane));
                    bytes.extend_from_slice(&key.open(part, share, bits, rows)?);
                }
                (Self::Registered(keys), None, Share::Registered { sums, product }) => {
                    let product = keys.decrypt(product)?;
                    // If the matrix is small, only the first slots of the plane hold rows.
                    let rows = sums.iter().zip(product.iter());
                    bytes.extend(rows.map(|(&c, &hs)| recover_byte(c, hs)));
                }
                _ => return Err(DecryptError::Kind),
            }
        }
        match bytes.len() == geometry.bucket_bytes() {
            true => Ok(bytes),
            false => Err(DecryptError::Rows),
        }
    }
}

impl std::fmt::Debug for IndexKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexKeys").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Why a secret was not encrypted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// Error of inline keys.
    #[error(transparent)]
    Inline(#[from] InlineError),
    /// Error of registered keys.
    #[error(transparent)]
    Registered(#[from] RegisteredKeysError),
}

/// Why an answer was not decrypted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The number of rows in a plane does not match the parameter set.
    #[error("the answer has too few or too many rows")]
    Rows,
    /// The answer was computed with another kind of keys.
    #[error("the answer belongs to another kind of keys")]
    Kind,
    /// Inline keys rejected a share.
    #[error(transparent)]
    Inline(#[from] InlineError),
    /// Registered keys rejected a product.
    #[error(transparent)]
    Registered(#[from] RegisteredKeysError),
}

/// The public parts that a node sent, checked against `digests`, which list one part for each plane of
/// the index. Returns `None` if a part is missing or does not match its digest.
///
/// Public parts are cached for the life of the process only. A file would make clients traceable: a
/// cluster could give one client unique digests, and later recognize it at any address by the parts
/// that it does not fetch.
pub fn checked_parts<B: AsRef<[u8]>>(
    geometry: &Geometry,
    digests: &[[u8; 32]],
    parts: &[B],
) -> Option<Vec<PublicPart>> {
    if digests.len() != parts.len() {
        return None;
    }
    let one = |((digest, bytes), plane): ((&[u8; 32], &B), usize)| {
        let (bytes, rows) = (bytes.as_ref(), geometry.plane_rows(plane));
        (PublicPart::digest(bytes) == *digest).then(|| PublicPart::from_bytes(bytes, rows).ok())?
    };
    digests.iter().zip(parts).zip(0..).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(fill: u8) -> ([u8; 32], Vec<u8>) {
        let bytes = vec![fill; 2 * opaque_pir::inline::PUBLIC_BYTES];
        (PublicPart::digest(&bytes), bytes)
    }

    #[test]
    fn only_what_the_digests_name_is_accepted() {
        let ((first, a), (second, b)) = (part(1), part(2));
        // A plane of 4096 rows has public parts of two rings.
        let geometry = Geometry::new(8192, 1024, 1).unwrap();
        let parts = checked_parts(&geometry, &[first, second], &[&a, &b]).unwrap();
        assert_eq!(
            parts.iter().map(PublicPart::to_bytes).collect::<Vec<_>>(),
            [a.clone(), b.clone()]
        );
        assert!(checked_parts(&geometry, &[first], &[&b]).is_none());
        assert!(checked_parts(&geometry, &[first, second], &[&b, &a]).is_none());
        assert!(checked_parts(&geometry, &[first, second], &[&a]).is_none());
        assert!(checked_parts(&geometry, &[first], &[&a[1..]]).is_none());
    }
}
