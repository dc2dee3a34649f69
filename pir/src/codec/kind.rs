//! The three ways to evaluate a hint, and the resulting message sizes.

use crate::bits::packed_bytes;
use crate::geometry::Geometry;
use crate::inline;
use crate::params::{ENCRYPTED_SECRET_BYTES, PLAINTEXT_BITS, PLANE_CIPHERTEXT_BYTES, ParamsId};

/// How the hint is evaluated. It determines a message's parameters and sizes. It is not secret,
/// because it follows from a client's configuration and not from its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// With a client's keys that servers store.
    Registered,
    /// With keys that travel with each lookup.
    Inline,
    /// With the public secrets of a self-test.
    Probe,
}

impl Kind {
    /// Identity of the parameters that messages of this kind carry.
    pub fn params_id(self, geometry: &Geometry) -> ParamsId {
        match self {
            Self::Inline => inline::params_id(geometry),
            Self::Registered | Self::Probe => geometry.params_id(),
        }
    }

    /// Bytes of one lookup's encrypted secret, with all that evaluates it.
    pub fn secret_bytes(self) -> usize {
        match self {
            Self::Registered => ENCRYPTED_SECRET_BYTES,
            Self::Inline => inline::QUERY_BYTES,
            Self::Probe => 0,
        }
    }

    /// Bytes of one plane's product for one lookup, from a shard to its coordinator, in addition to
    /// the scan. With inline keys the product consists of words like the scan's, and the shard has
    /// subtracted it from them.
    pub fn product_bytes(self, geometry: &Geometry, plane: usize) -> usize {
        match self {
            Self::Registered => PLANE_CIPHERTEXT_BYTES,
            Self::Inline => 0,
            Self::Probe => geometry.plane_rows(plane) * 4,
        }
    }

    /// Bytes of one plane's share of one lookup's answer.
    pub(super) fn share_bytes(self, geometry: &Geometry, plane: usize) -> usize {
        match self {
            Self::Registered => scan_bytes(geometry, plane) + PLANE_CIPHERTEXT_BYTES,
            Self::Inline => geometry.plane_rows(plane) * geometry.rounding().row_bits as usize / 8,
            // The answer to a self-test is not sent.
            Self::Probe => 0,
        }
    }

    /// Bytes of one lookup's answer.
    pub(super) fn lookup_answer_bytes(self, geometry: &Geometry) -> usize {
        (0..geometry.planes()).map(|plane| self.share_bytes(geometry, plane)).sum()
    }
}

/// Bytes of one plane's rows of the scan, bit-packed, with registered keys.
pub(super) fn scan_bytes(geometry: &Geometry, plane: usize) -> usize {
    packed_bytes(geometry.plane_rows(plane), PLAINTEXT_BITS)
}
