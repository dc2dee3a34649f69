//! The streaming inner product, by a kernel that is chosen at run time.
//!
//! For a block of 16 slots, lane l, and one prime:
//!
//! ```text
//! out[l] = Σ_i Σ_w line_{i,w}[l] · operand_w[start + l + i]     mod m
//! ```
//!
//! **Range.** Lines and operands are below m < 2^24, so products are below 2^48, and the at most
//! 512·3 terms of a sum add up to less than 2^59. Nothing overflows, whatever a query contains.
//! Every kernel gives the same residues.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use super::modulus::Modulus;
use super::params::{Fold, N};
use super::table::{LANES, LINE, WIDTH};
use crate::machine::VectorKernel;

/// Slots of one half, in which rotations are cyclic.
pub(super) const HALF: usize = N / 2;
/// Words of an operand. A load of 16 words may start at any slot of the half.
pub(super) const PADDED: usize = HALF + LANES;

/// One of a query's polynomials, one half of its slots.
pub(super) type Operand = [u32; PADDED];
/// A line of the tables: 16 little-endian words of 24 bits.
pub(super) type Line = [u8; LINE];
/// The lines of one step.
pub(super) type Step = [Line; WIDTH];
/// For each line of a step, the operand of one query for one half of slots: the key's, then the
/// encryptions'.
pub(super) type Operands = [Operand; WIDTH];

const _: () = assert!((Fold::NONE.steps() * WIDTH) as u64 <= u64::MAX >> 48);

/// The code of a kernel; `None` if this machine does not support it.
pub(super) fn code(kernel: VectorKernel) -> Option<Code> {
    match kernel {
        VectorKernel::Scalar => Some(scalar::pair),
        #[cfg(target_arch = "x86_64")]
        VectorKernel::Avx2 => avx2::code(),
        // Not every AVX-512 processor has the instruction that spreads words of 24 bits.
        #[cfg(target_arch = "x86_64")]
        VectorKernel::Avx512 => {
            avx512::code().or_else(|| avx2::code().filter(|_| kernel.is_available()))
        }
        #[cfg(not(target_arch = "x86_64"))]
        VectorKernel::Avx2 | VectorKernel::Avx512 => None,
    }
}

/// Sums two neighbouring blocks. For each block, `out` has one row per query.
pub(super) type Code = fn(&Pair<'_>, [&mut [[u32; LANES]]; 2]);

/// Two neighbouring blocks of 16 slots, and their operands.
pub(super) struct Pair<'a> {
    /// All lines of each block, step by step. Both blocks have the same number.
    pub(super) lines: [&'a [Step]; 2],
    /// For each query, the operands of the blocks' half.
    pub(super) queries: &'a [&'a Operands],
    /// The first slot of the first block in its half, below 1024 − 16.
    pub(super) start: usize,
    pub(super) modulus: Modulus,
}

impl Pair<'_> {
    /// Each block's lines and first slot.
    fn blocks(&self) -> [(&[Step], usize); 2] {
        let [first, second] = self.lines;
        [(first, self.start), (second, self.start + LANES)]
    }
}
