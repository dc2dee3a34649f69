//! The three ways in which a hint is evaluated, and what each makes of messages.

use crate::bits::packed_bytes;
use crate::geometry::Geometry;
use crate::inline;
use crate::params::{ENCRYPTED_SECRET_BYTES, PLAINTEXT_BITS, PLANE_CIPHERTEXT_BYTES, ParamsId};

/// What the hint is evaluated with. It decides a message's parameters and sizes, and is no secret:
/// a client's configuration, not its query, picks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A client's keys that servers keep.
    Registered,
    /// Keys that travel with each lookup.
    Inline,
    /// The public secrets of a self-test.
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

    /// Bytes of one plane's product for one lookup, from a shard to its coordinator, beside the
    /// scan. With inline keys it is words like the scan's, which the shard has taken off them.
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
            // Its answer stays where the probe came from.
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
