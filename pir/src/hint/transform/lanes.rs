//! The arithmetic of a kernel, and the portable one.

use super::{Line, ROWS, Twiddle};

/// Arithmetic on some of a line's numbers at a time, modulo 2^32. A value of such a type is the proof
/// that this machine has its instructions.
///
/// Implementations are `#[inline(always)]`, as is all that calls them, so that whole transforms are
/// compiled for the instructions of the one function that `kernel` enters.
pub(in crate::hint) trait Lanes: Copy {
    /// 16 / PARTS numbers.
    type Vector: Copy;
    /// Vectors that make a line.
    const PARTS: usize;

    /// Vector `part` of a line.
    fn load(self, line: &Line, part: usize) -> Self::Vector;
    /// Signed bytes as signed words.
    fn widen(self, bytes: &[i8; ROWS], part: usize) -> Self::Vector;
    fn store(self, vector: Self::Vector, line: &mut Line, part: usize);
    fn splat(self, number: u32) -> Self::Vector;
    fn add(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    fn subtract(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// The smaller one, unsigned.
    fn min(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// x·w modulo p, below 2p, for any x; `prime` is p in every lane.
    ///
    /// With q = ⌊x·quotient/2^32⌋: x·w/p − q lies in \[0, 2), because the quotient is short of w·2^32/p
    /// by less than 1 and the floor drops less than 1 again.
    fn times(self, x: Self::Vector, w: Twiddle, prime: Self::Vector) -> Self::Vector;
}

/// Plain numbers, N at a time, in the shape that compilers vectorise.
#[derive(Clone, Copy)]
pub(in crate::hint) struct Portable<const N: usize>;

#[expect(clippy::indexing_slicing, reason = "part < PARTS")]
impl<const N: usize> Lanes for Portable<N> {
    type Vector = [u32; N];
    const PARTS: usize = ROWS / N;

    #[inline(always)]
    fn load(self, line: &Line, part: usize) -> [u32; N] {
        line.0.as_chunks().0[part]
    }

    #[inline(always)]
    fn widen(self, bytes: &[i8; ROWS], part: usize) -> [u32; N] {
        bytes.as_chunks().0[part].map(|byte| i32::from(byte).cast_unsigned())
    }

    #[inline(always)]
    fn store(self, vector: [u32; N], line: &mut Line, part: usize) {
        line.0.as_chunks_mut().0[part] = vector;
    }

    #[inline(always)]
    fn splat(self, number: u32) -> [u32; N] {
        [number; N]
    }

    #[inline(always)]
    fn add(self, x: [u32; N], y: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| x[i].wrapping_add(y[i]))
    }

    #[inline(always)]
    fn subtract(self, x: [u32; N], y: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| x[i].wrapping_sub(y[i]))
    }

    #[inline(always)]
    fn min(self, x: [u32; N], y: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| x[i].min(y[i]))
    }

    #[inline(always)]
    fn times(self, x: [u32; N], w: Twiddle, prime: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| w.times(x[i], prime[i]))
    }
}
