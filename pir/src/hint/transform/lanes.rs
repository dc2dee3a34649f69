//! The arithmetic of a kernel, and the portable implementation.

use super::{Line, Twiddle};
use crate::hint::planes::ROWS;

/// Arithmetic on several numbers of a line, modulo 2^32. A value of such a type proves that this
/// machine supports its instructions.
///
/// Implementations and all their callers are `#[inline(always)]`, so that whole transforms are
/// compiled for the instructions of the one function that `kernel` enters.
pub(in crate::hint) trait Lanes: Copy {
    /// A vector of 16 / PARTS numbers.
    type Vector: Copy;
    /// Number of vectors per line.
    const PARTS: usize;

    /// Vector `part` of a line.
    fn load(self, line: &Line, part: usize) -> Self::Vector;
    /// Converts signed bytes to signed words.
    fn widen(self, bytes: &[i8; ROWS], part: usize) -> Self::Vector;
    fn store(self, vector: Self::Vector, line: &mut Line, part: usize);
    fn splat(self, number: u32) -> Self::Vector;
    fn add(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    fn subtract(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// The smaller of two unsigned numbers.
    fn min(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// x·w modulo p, below 2p, for any x. `prime` is p in every lane.
    ///
    /// With q = ⌊x·quotient/2^32⌋: x·w/p − q is in \[0, 2), because the quotient is below w·2^32/p
    /// by less than 1, and the floor drops less than 1 again.
    fn times(self, x: Self::Vector, w: Twiddle, prime: Self::Vector) -> Self::Vector;
}

/// Plain numbers, one at a time. Single polynomials use it, and tests compare vectors with it.
#[derive(Clone, Copy)]
pub(in crate::hint) struct Portable;

#[expect(clippy::indexing_slicing, reason = "part < PARTS")]
impl Lanes for Portable {
    type Vector = u32;
    const PARTS: usize = ROWS;

    #[inline(always)]
    fn load(self, line: &Line, part: usize) -> u32 {
        line.0[part]
    }

    #[inline(always)]
    fn widen(self, bytes: &[i8; ROWS], part: usize) -> u32 {
        i32::from(bytes[part]).cast_unsigned()
    }

    #[inline(always)]
    fn store(self, vector: u32, line: &mut Line, part: usize) {
        line.0[part] = vector;
    }

    #[inline(always)]
    fn splat(self, number: u32) -> u32 {
        number
    }

    #[inline(always)]
    fn add(self, x: u32, y: u32) -> u32 {
        x.wrapping_add(y)
    }

    #[inline(always)]
    fn subtract(self, x: u32, y: u32) -> u32 {
        x.wrapping_sub(y)
    }

    #[inline(always)]
    fn min(self, x: u32, y: u32) -> u32 {
        x.min(y)
    }

    #[inline(always)]
    fn times(self, x: u32, w: Twiddle, prime: u32) -> u32 {
        w.times(x, prime)
    }
}
