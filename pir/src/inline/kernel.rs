//! The streaming inner product, in machine code that is chosen at run time.
//!
//! For a block of 16 slots, lane l, and one prime:
//!
//! ```text
//! out[l] = Σ_g Σ_w line_{g,w}[l] · operand_w[start + l + B·g]     mod m
//! ```
//!
//! **Range.** Lines and operands are below m < 2^28, so products are below 2^56. A sum is folded after
//! at most [`FOLD`] terms: `(s >> 32)·(2^32 mod m) + (s mod 2^32) < 2^60`, and 2^60 + 240·2^56 = 2^64. Sums
//! never overflow, whatever a query holds. Every kernel gives the same residues.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use super::modulus::Modulus;
use super::params::N;
use super::table::{LANES, LINE};
use crate::vector::Kernel;

/// Slots of the half in which rotations are cyclic.
pub(super) const HALF: usize = N / 2;
/// Words of an operand: a load of 16 words may start at any slot of the half.
pub(super) const PADDED: usize = HALF + LANES;
/// Terms after which sums are folded, a multiple of every width.
const FOLD: usize = 240;

/// One of a query's polynomials, one half of its slots.
pub(super) type Operand = [u32; PADDED];
/// A line of the tables: 16 little-endian words.
pub(super) type Line = [u8; LINE];

impl Kernel {
    /// The code of this kernel for lines of `W`; `None` where this machine does not run it.
    pub(super) fn code<const W: usize>(self) -> Option<Code<W>> {
        match self {
            Self::Scalar => Some(scalar::pair),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::code(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::code(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => None,
        }
    }
}

/// Adds two neighbouring blocks up: for each of them, one row of `out` for each query.
pub(super) type Code<const W: usize> = fn(&Pair<'_, W>, [&mut [[u32; LANES]]; 2]);

/// Two neighbouring blocks of 16 slots, `W` lines a giant step, and what they meet.
pub(super) struct Pair<'a, const W: usize> {
    /// All lines of each block, step by step, as many in both.
    pub(super) lines: [&'a [[Line; W]]; 2],
    /// For each query the operands of the blocks' half.
    pub(super) queries: &'a [&'a [Operand; W]],
    /// The first block's first slot in its half, below 2048 − 16.
    pub(super) start: usize,
    /// B: how far operands rotate from one giant step to the next; it divides 16.
    pub(super) step: usize,
    pub(super) modulus: Modulus,
}

impl<const W: usize> Pair<'_, W> {
    /// Each block's lines and first slot.
    fn blocks(&self) -> [(&[[Line; W]], usize); 2] {
        let [first, second] = self.lines;
        [(first, self.start), (second, self.start + LANES)]
    }

    /// 2^32 mod m.
    fn fold_factor(&self) -> u32 {
        self.modulus.reduce(1 << 32)
    }
}
