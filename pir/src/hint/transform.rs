//! Sixteen rows at a time, by a number-theoretic transform over two 30-bit primes.
//!
//! A row's bytes of one partition are a polynomial D in y = x^-1, and so is a_j
//! (`factor::reversed`). Modulo y^1024 + 1, the coefficient of y^i in Σ_j D_j·a_j is `H[r][i]`, an
//! integer. Its residues modulo both primes determine it exactly, and it is then reduced modulo
//! 2^32.
//!
//! ```text
//! |H| <= Σ |D|·|a| <= 2^7 · 2^31 · 2^20 buckets = 2^58 < p₀·p₁/3, as p₀·p₁ > 2^59.9
//! ```
//!
//! The lanes of a vector are rows. Neighbouring coefficients never share a register, so the same
//! code with the same factors works for any width. Only the bytes are shuffled, once, when they are
//! read. 1024 = 32 · 32: five layers run over the coefficients 32u + v of each v, and five over
//! those of each u. In between, 64 KiB per prime stay in the second-level cache.
//!
//! Harvey's butterflies, as in [`crate::ring`], in 32 bits: values are in \[0, 4p) in the forward
//! transform and in \[0, 2p) in the inverse one, which needs 4p < 2^32.

mod factor;
mod lanes;
mod tables;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use tables::{Half, PRIMES, TABLES, Tables};

pub(super) use factor::Factor;
pub(super) use lanes::Lanes;
#[cfg(test)]
pub(super) use lanes::Portable;
pub(super) use tables::Twiddle;

use super::planes::{Bytes, ROWS};
use crate::params::{PARTITION_BUCKETS, RING_DEGREE};
use crate::ring::Poly;

/// Both halves of the transform have 32 = √1024 points.
const SIDE: usize = 32;

const _: () = assert!(SIDE * SIDE == RING_DEGREE && PARTITION_BUCKETS == RING_DEGREE);
// `combine` needs |H| < p₀·p₁/3.
const _: () = {
    let [p, q] = PRIMES;
    let largest = (1u128 << 7) * (1 << 31) * (crate::params::MAX_BUCKETS as u128);
    assert!(largest < p as u128 * q as u128 / 3, "the hint of the largest matrix must be exact");
};

/// One number for each of the rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; ROWS]);

impl Line {
    pub(super) const ZERO: Self = Self([0; ROWS]);
}

/// The rows' polynomials modulo one prime.
type Polynomials = [Line; RING_DEGREE];
/// The rows' sums in NTT form, below 2p.
pub(super) type Sums = [Polynomials; PRIMES.len()];

pub(super) const ZERO_SUMS: &Sums = &[[Line::ZERO; RING_DEGREE]; PRIMES.len()];

/// Working memory of [`add`].
pub(super) struct Scratch {
    columns: [[i8; ROWS]; PARTITION_BUCKETS],
    polynomials: Polynomials,
}

impl Scratch {
    pub(super) fn new() -> Box<Self> {
        let (columns, polynomials) = ([[0; ROWS]; PARTITION_BUCKETS], [Line::ZERO; RING_DEGREE]);
        Box::new(Self { columns, polynomials })
    }
}

/// Adds the product of some rows and a ring element to the rows' sums.
#[inline(always)]
pub(super) fn add(
    lanes: impl Lanes,
    bytes: &Bytes,
    factor: &Factor,
    scratch: &mut Scratch,
    sums: &mut Sums,
) {
    let Scratch { columns, polynomials } = scratch;
    transpose(bytes, columns);
    for ((tables, factor), sums) in TABLES.iter().zip(&factor.0).zip(sums) {
        Modulo::new(lanes, tables).add(columns, factor, polynomials, sums);
    }
}

/// Computes the rows of the hint. Overwrites the sums.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "rows, coefficients and lanes run to array lengths")]
pub(super) fn read(lanes: impl Lanes, sums: &mut Sums, rows: &mut [Poly; ROWS]) {
    for (tables, sums) in TABLES.iter().zip(sums.iter_mut()) {
        Modulo::new(lanes, tables).inverse(sums);
    }
    let [low, high] = sums;
    let (low, high) = (low.as_chunks::<ROWS>().0, high.as_chunks::<ROWS>().0);
    for (block, (low, high)) in low.iter().zip(high).enumerate() {
        for (row, words) in rows.iter_mut().enumerate() {
            let words = &mut words.as_chunks_mut::<ROWS>().0[block];
            for ((word, low), high) in words.iter_mut().zip(low).zip(high) {
                *word = combine(low.0[row], high.0[row]);
            }
        }
    }
}

/// The integer x with these residues, modulo 2^32, for |x| < p₀·p₁/3.
///
/// Garner: x ≡ r₀ + p₀·k with k = (r₁ − r₀)/p₀ modulo p₁. The right side is in \[0, p₀·p₁): in its
/// first third for x >= 0, and in its last third for x < 0, where k is above p₁/2 and counts as k −
/// p₁.
#[inline(always)]
fn combine(r0: u32, r1: u32) -> u32 {
    let [p0, p1] = PRIMES;
    // r₀ < p₀ < p₁.
    let k = below(tables::LIFT.times(r1 + (p1 - r0), p1), p1);
    let k = if k > p1 / 2 { k.wrapping_sub(p1) } else { k };
    r0.wrapping_add(p0.wrapping_mul(k))
}

/// x − bound if that is not negative, else x.
#[inline(always)]
fn below(x: u32, bound: u32) -> u32 {
    x.min(x.wrapping_sub(bound))
}

/// Transposes rows to columns, in blocks of eight by eight bytes, with eight bytes per word.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "constant bounds")]
fn transpose(bytes: &Bytes, columns: &mut [[i8; ROWS]; PARTITION_BUCKETS]) {
    for (block, columns) in columns.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        for (half, rows) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let mut words = [0; 8];
            for (word, row) in words.iter_mut().zip(rows) {
                *word = u64::from_le_bytes(row.as_chunks().0[block]);
            }
            transpose_words(&mut words);
            for (column, word) in columns.iter_mut().zip(words) {
                column.as_chunks_mut().0[half] = word.to_le_bytes().map(u8::cast_signed);
            }
        }
    }
}

/// Swaps the upper right and the lower left quarter of every block of 2, 4 and 8 bytes (Hacker's
/// Delight, 7-3).
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "constant bounds")]
fn transpose_words(words: &mut [u64; 8]) {
    for (distance, mask) in
        [(1, 0x00ff_00ff_00ff_00ff), (2, 0x0000_ffff_0000_ffff), (4, 0xffff_ffff)]
    {
        for i in (0..8).filter(|i| i & distance == 0) {
            let swap = ((words[i] >> (8 * distance)) ^ words[i + distance]) & mask;
            words[i] ^= swap << (8 * distance);
            words[i + distance] ^= swap;
        }
    }
}

/// Transforms modulo one prime, with constants in registers.
#[derive(Clone, Copy)]
struct Modulo<'a, L: Lanes> {
    lanes: L,
    tables: &'a Tables,
    prime: L::Vector,
    two_p: L::Vector,
}

#[expect(clippy::indexing_slicing, reason = "u, v and parts run to array lengths")]
impl<'a, L: Lanes> Modulo<'a, L> {
    #[inline(always)]
    fn new(lanes: L, tables: &'a Tables) -> Self {
        let (prime, two_p) = (lanes.splat(tables.prime), lanes.splat(2 * tables.prime));
        Self { lanes, tables, prime, two_p }
    }

    /// sums += columns · factor.
    #[inline(always)]
    fn add(
        self,
        columns: &[[i8; ROWS]; PARTITION_BUCKETS],
        factor: &[Twiddle; RING_DEGREE],
        polynomials: &mut Polynomials,
        sums: &mut Polynomials,
    ) {
        let Self { lanes, tables, prime, .. } = self;
        for part in 0..L::PARTS {
            for v in 0..SIDE {
                let mut points = [prime; SIDE];
                for (u, point) in points.iter_mut().enumerate() {
                    // From p − 128 to p + 127.
                    *point = lanes.add(prime, lanes.widen(&columns[SIDE * u + v], part));
                }
                self.forward_half(&mut points, &tables.forward.outer);
                for (u, point) in points.iter().enumerate() {
                    lanes.store(*point, &mut polynomials[SIDE * u + v], part);
                }
            }
            for u in 0..SIDE {
                let mut points = [prime; SIDE];
                for (v, point) in points.iter_mut().enumerate() {
                    *point = lanes.load(&polynomials[SIDE * u + v], part);
                }
                self.forward_half(&mut points, &tables.forward.inner[u]);
                for (v, point) in points.iter().enumerate() {
                    let product = lanes.times(*point, factor[SIDE * u + v], prime);
                    let sum = &mut sums[SIDE * u + v];
                    lanes.store(self.add_lazy(lanes.load(sum, part), product), sum, part);
                }
            }
        }
    }

    /// Transforms to coefficients below p, in place. Takes values below 2p.
    #[inline(always)]
    fn inverse(self, values: &mut Polynomials) {
        let Self { lanes, tables, prime, .. } = self;
        for part in 0..L::PARTS {
            for u in 0..SIDE {
                let mut points = [prime; SIDE];
                for (v, point) in points.iter_mut().enumerate() {
                    *point = lanes.load(&values[SIDE * u + v], part);
                }
                self.inverse_half(&mut points, &tables.inverse.inner[u]);
                for (v, point) in points.iter().enumerate() {
                    lanes.store(*point, &mut values[SIDE * u + v], part);
                }
            }
            for v in 0..SIDE {
                let mut points = [prime; SIDE];
                for (u, point) in points.iter_mut().enumerate() {
                    *point = lanes.load(&values[SIDE * u + v], part);
                }
                self.inverse_half(&mut points, &tables.inverse.outer);
                for (u, point) in points.iter().enumerate() {
                    let value = lanes.times(*point, tables.degree_inverse, prime);
                    let value = lanes.min(value, lanes.subtract(value, prime));
                    lanes.store(value, &mut values[SIDE * u + v], part);
                }
            }
        }
    }

    /// Five layers: two, two, one. Below 4p in, below 4p out.
    #[inline(always)]
    fn forward_half(self, points: &mut [L::Vector; SIDE], half: &Half) {
        self.forward_layers::<8>(points, &half.first);
        self.forward_layers::<2>(points, &half.second);
        for ([x, y], w) in points.as_chunks_mut().0.iter_mut().zip(half.last) {
            (*x, *y) = self.forward_butterfly(*x, *y, w);
        }
    }

    /// The inverse of [`Self::forward_half`], up to a factor of 32. Below 2p in, below 2p out.
    #[inline(always)]
    fn inverse_half(self, points: &mut [L::Vector; SIDE], half: &Half) {
        for ([x, y], w) in points.as_chunks_mut().0.iter_mut().zip(half.last) {
            (*x, *y) = self.inverse_butterfly(*x, *y, w);
        }
        self.inverse_layers::<2>(points, &half.second);
        self.inverse_layers::<8>(points, &half.first);
    }

    /// Two layers over blocks of 4Q: distance 2Q, then Q.
    #[inline(always)]
    fn forward_layers<const Q: usize>(
        self,
        points: &mut [L::Vector; SIDE],
        table: &[[Twiddle; 3]],
    ) {
        for (block, [outer, left, right]) in points.chunks_exact_mut(4 * Q).zip(table) {
            for i in 0..Q {
                let (a0, a2) = self.forward_butterfly(block[i], block[i + 2 * Q], *outer);
                let (a1, a3) = self.forward_butterfly(block[i + Q], block[i + 3 * Q], *outer);
                (block[i], block[i + Q]) = self.forward_butterfly(a0, a1, *left);
                (block[i + 2 * Q], block[i + 3 * Q]) = self.forward_butterfly(a2, a3, *right);
            }
        }
    }

    /// The inverse of [`Self::forward_layers`], up to a factor of 4.
    #[inline(always)]
    fn inverse_layers<const Q: usize>(
        self,
        points: &mut [L::Vector; SIDE],
        table: &[[Twiddle; 3]],
    ) {
        for (block, [outer, left, right]) in points.chunks_exact_mut(4 * Q).zip(table) {
            for i in 0..Q {
                let (a0, a1) = self.inverse_butterfly(block[i], block[i + Q], *left);
                let (a2, a3) = self.inverse_butterfly(block[i + 2 * Q], block[i + 3 * Q], *right);
                (block[i], block[i + 2 * Q]) = self.inverse_butterfly(a0, a2, *outer);
                (block[i + Q], block[i + 3 * Q]) = self.inverse_butterfly(a1, a3, *outer);
            }
        }
    }

    /// (x + w·y, x − w·y): below 4p in, below 4p out.
    #[inline(always)]
    fn forward_butterfly(self, x: L::Vector, y: L::Vector, w: Twiddle) -> (L::Vector, L::Vector) {
        let Self { lanes, prime, two_p, .. } = self;
        let x = lanes.min(x, lanes.subtract(x, two_p));
        let y = lanes.times(y, w, prime);
        (lanes.add(x, y), lanes.subtract(lanes.add(x, two_p), y))
    }

    /// (x + y, (x − y)·w): below 2p in, below 2p out.
    #[inline(always)]
    fn inverse_butterfly(self, x: L::Vector, y: L::Vector, w: Twiddle) -> (L::Vector, L::Vector) {
        let Self { lanes, prime, two_p, .. } = self;
        let difference = lanes.subtract(lanes.add(x, two_p), y);
        (self.add_lazy(x, y), lanes.times(difference, w, prime))
    }

    /// x + y for values below 2p, below 2p again.
    #[inline(always)]
    fn add_lazy(self, x: L::Vector, y: L::Vector) -> L::Vector {
        let sum = self.lanes.add(x, y);
        self.lanes.min(sum, self.lanes.subtract(sum, self.two_p))
    }
}
