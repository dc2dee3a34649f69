//! The tables of one plane in memory, and the public part that decrypts its products.

use super::params::{ENCRYPTIONS, Fold, N, PUBLIC_BITS, PUBLIC_BYTES, rings_of};
use super::rings::{self, unpack};
use super::{InlineError, Poly};
use crate::bits;
use crate::machine::Pages;

/// Slots of a line of the tables, and of a block.
pub(super) const LANES: usize = 16;
/// Blocks of a polynomial.
pub(super) const BLOCKS: usize = N / LANES;
/// Bytes of a word: 24 bits.
pub(super) const WORD: usize = 3;
/// Bytes of a line.
pub(super) const LINE: usize = LANES * WORD;
/// Lines of a step: its digit and its diagonals.
pub(super) const WIDTH: usize = 1 + ENCRYPTIONS;

/// The results of the offline chain for the rows of one ring.
///
/// For each prime of q: block by block of 16 slots, step by step, one line of the step's digit and
/// one of each of its B diagonals. A block's terms are therefore contiguous, and a product reads
/// every table once from start to end.
///
/// 1. `tables[i]` has `BLOCKS · G · WIDTH` lines of 16 little-endian words of 24 bits.
/// 2. Every word is below its prime.
pub(super) struct RingTables {
    pub(super) fold: Fold,
    pub(super) tables: [Pages; 2],
}

/// The results of the offline chain for one plane of the hint. They are public. A plane has one
/// ring or two.
pub struct PlaneTables {
    pub(super) rings: Vec<RingTables>,
    pub(super) public: PublicPart,
}

impl PlaneTables {
    /// Rows of the plane.
    pub fn rows(&self) -> usize {
        self.rings.iter().map(|ring| ring.fold.rows()).sum()
    }

    /// Memory of the tables.
    pub fn bytes(&self) -> usize {
        self.as_bytes().map(<[u8]>::len).sum()
    }

    /// Whether the system granted 2 MiB pages for the tables.
    pub fn large_pages(&self) -> bool {
        self.rings.iter().flat_map(|ring| &ring.tables).all(Pages::large)
    }

    /// The public part that a client needs to decrypt this plane's products.
    pub fn public(&self) -> &PublicPart {
        &self.public
    }

    /// The tables' bytes, for benchmarks that compare a product with a plain read.
    pub fn as_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.rings.iter().flat_map(|ring| &ring.tables).map(|table| &**table)
    }
}

impl std::fmt::Debug for PlaneTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlaneTables")
            .field("rows", &self.rows())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The `a` half of every answer for one plane and epoch: for each ring `round(2^18·a/q)` modulo
/// 2^18, 18 bits per coefficient.
///
/// It is the same for all clients and lookups. A client downloads it once per epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicPart(pub(super) Vec<Box<Poly>>);

impl PublicPart {
    /// The polynomial of each ring, its coefficients below 2^18.
    pub fn polynomials(&self) -> &[Box<Poly>] {
        &self.0
    }

    /// Encodes it as [`PUBLIC_BYTES`] bytes for each ring.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * PUBLIC_BYTES);
        bits::pack(self.0.iter().flat_map(|part| **part), PUBLIC_BITS, &mut bytes);
        bytes
    }

    /// Decodes the bytes of [`to_bytes`](Self::to_bytes) for a plane of `rows` rows. Every byte
    /// string of the right length is a valid public part.
    ///
    /// # Errors
    /// The length is wrong, or no plane has that number of rows.
    pub fn from_bytes(bytes: &[u8], rows: usize) -> Result<Self, InlineError> {
        const WHAT: &str = "public part";
        let (rings, _) = rings_of(rows).ok_or(InlineError::rows(rows))?;
        InlineError::check_size(WHAT, rings * PUBLIC_BYTES, bytes.len())?;
        let part = |bytes: &[u8]| {
            let mut part = rings::zero();
            unpack(WHAT, bytes, PUBLIC_BITS, 1 << PUBLIC_BITS, &mut *part).map(|()| part)
        };
        bytes.chunks_exact(PUBLIC_BYTES).map(part).collect::<Result<_, _>>().map(Self)
    }

    /// The digest by which clients request these bytes and check them.
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        blake3::derive_key("opaque 2026-11 public part of inline keys", bytes)
    }
}

impl std::fmt::Debug for PublicPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicPart(..)")
    }
}
