//! One plane's tables in memory, and the public part that opens its products.

use super::bits::{pack, unpack};
use super::params::{ANSWER_BITS, N, PLANE_BYTES, Variant};
use super::{InlineError, Poly};
use crate::geometry::Fold;
use crate::scan::pages::Pages;

/// Slots of a line of the tables, and of a block.
pub(super) const LANES: usize = 16;
/// Blocks of a polynomial.
pub(super) const BLOCKS: usize = N / LANES;
/// Bytes of a line: one cache line, one of the widest registers.
pub(super) const LINE: usize = LANES * 4;

/// What the offline chain makes of one plane of the hint; public.
///
/// For each of the four primes: block by block of 16 slots, giant step by giant step, one line of
/// the step's digit `D` and, modulo q's primes, one line of each of its B diagonals `E`. So a block's
/// terms are contiguous, and a product reads every table once from start to end.
///
/// 1. `tables[i]` has `BLOCKS · G · width(i)` lines of 16 little-endian words, where G = 1024/(f·B).
/// 2. Every word is below its prime.
pub struct PlaneTables {
    pub(super) variant: Variant,
    pub(super) fold: Fold,
    pub(super) tables: [Pages; 4],
    pub(super) public: PublicPart,
}

/// Lines of a giant step in the table of prime `prime`.
pub(super) fn width(variant: Variant, prime: usize) -> usize {
    if prime < 2 { 1 + variant.baby_steps() } else { 1 }
}

impl PlaneTables {
    /// The variant of the parameter set that they belong to.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// How the plane's rows share its slots.
    pub fn fold(&self) -> Fold {
        self.fold
    }

    /// Memory that the tables take.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|table| table.len()).sum()
    }

    /// Whether the system accepted the request to keep the tables in 2 MiB pages.
    pub fn large_pages(&self) -> bool {
        self.tables.iter().all(Pages::large)
    }

    /// The public part that a client needs to open this plane's products.
    pub fn public(&self) -> &PublicPart {
        &self.public
    }

    /// The tables' bytes, for who wants to measure how long reading them takes.
    pub fn as_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.tables.iter().map(|table| &**table)
    }
}

impl std::fmt::Debug for PlaneTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlaneTables")
            .field("variant", &self.variant)
            .field("fold", &self.fold)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The `a` half of every answer for one plane and epoch, 29 bits a coefficient.
///
/// The same for all clients and lookups: a client fetches it once per epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicPart(pub(super) Box<Poly>);

impl PublicPart {
    /// [`PLANE_BYTES`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PLANE_BYTES);
        pack(&self.0, ANSWER_BITS, &mut bytes);
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) wrote. Every string of the right length is some public part.
    ///
    /// # Errors
    /// Another length than [`PLANE_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InlineError> {
        unpack("public part", bytes, ANSWER_BITS, 1 << ANSWER_BITS).map(Self)
    }

    /// The name under which clients ask for these bytes and check what they get.
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        blake3::derive_key("opaque 2026-11 public part of inline keys", bytes)
    }
}

impl std::fmt::Debug for PublicPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicPart(..)")
    }
}
