//! The three ways in which a hint is evaluated, and what each makes of messages.

use crate::geometry::Geometry;
use crate::inline::{PLANE_BYTES, Variant};
use crate::params::{
    ENCRYPTED_SECRET_BYTES, PLAINTEXT_BITS, PLANE_CIPHERTEXT_BYTES, PLANE_ROWS, ParamsId,
};

/// What the hint is evaluated with. It decides a message's parameters and sizes, and is no secret:
/// a client's configuration, not its query, picks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A client's keys that servers keep.
    Registered,
    /// Keys that travel with each lookup.
    Inline(Variant),
    /// The public secrets of a self-test.
    Probe,
}

impl Kind {
    /// The variant of inline keys.
    pub fn variant(self) -> Option<Variant> {
        match self {
            Self::Inline(variant) => Some(variant),
            Self::Registered | Self::Probe => None,
        }
    }

    /// Identity of the parameters that messages of this kind carry.
    pub fn params_id(self, geometry: &Geometry) -> ParamsId {
        match self {
            Self::Inline(variant) => variant.params_id(geometry),
            Self::Registered | Self::Probe => geometry.params_id(),
        }
    }

    /// Bytes of one lookup's encrypted secret, with all that evaluates it.
    pub fn secret_bytes(self) -> usize {
        match self {
            Self::Registered => ENCRYPTED_SECRET_BYTES,
            Self::Inline(variant) => variant.query_bytes(),
            Self::Probe => 0,
        }
    }

    /// Bytes of one plane's product for one lookup, from a shard to its coordinator.
    pub fn product_bytes(self, geometry: &Geometry) -> usize {
        match self {
            Self::Registered => PLANE_CIPHERTEXT_BYTES,
            Self::Inline(_) => PLANE_ROWS * 4,
            Self::Probe => geometry.plane_rows() * 4,
        }
    }

    /// Bytes of one plane's share of one lookup's answer.
    pub(super) fn share_bytes(self, geometry: &Geometry) -> usize {
        match self {
            Self::Registered => scan_bytes(geometry) + PLANE_CIPHERTEXT_BYTES,
            Self::Inline(_) => PLANE_BYTES,
            // Its answer stays where the probe came from.
            Self::Probe => 0,
        }
    }
}

/// Bytes of one plane's rows of the scan, bit-packed.
pub(super) fn scan_bytes(geometry: &Geometry) -> usize {
    geometry.plane_rows() * PLAINTEXT_BITS / 8
}
