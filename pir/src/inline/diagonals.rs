//! A plane of the hint as diagonals: the factors of the scan's secret under each automorphism.
//!
//! With Y = X², the scan's secret is s(Y) = Σ s_i·Y^i, i < 1024, and h_i = Σ_r H[r][i]·X^e(r),
//! where e(r) is the row's coefficient ([`Fold::coefficient_of`]). For the odd g = ±3^i mod 2048, i
//! < G = 512/f, the sum over τ_g: X → X^g
//!
//! ```text
//! Σ_g α_g·τ_g(s),   α_g = f/1024·Σ_i h_i·Y^(−g·i)
//! ```
//!
//! has (H·s)[r] at X^e(r). The terms h_i·s_j·Y^(g(j−i)) add up to 0 if f divides j − i ≠ 0, because
//! those g are all odd residues modulo 2048/f, each once. Otherwise their exponents of Y are no
//! multiples of f, where no row is.
//!
//! **Arithmetic.** 1024/f·α_g is an integer polynomial, needed modulo 2^42/f. H is read as
//! **signed** words, which makes α 2^5 times smaller than a uniform number. All α_g together are a
//! discrete Fourier transform of length 1024 whose roots are powers of Y. Its factors are therefore
//! shifts, and it needs only additions of 64-bit words. The T = 27 upper bits are kept, rounded, as
//! a number from −2^26 to 2^26 − 1: α·2^27/2^32.

use rayon::prelude::*;

use super::N;
use super::params::{DIAGONAL_BITS, ENCRYPTIONS, Fold};
use crate::machine::{Vectorised, vectorise};
use crate::params::RING_DEGREE;

/// Coefficients of a polynomial in Y.
const LENGTH: usize = N / 2;
const _: () = assert!(LENGTH == RING_DEGREE);
/// Number of columns that are read before other work of the pool may run.
const COLUMNS: usize = 128;
/// Layers of the transform over the 1024 columns.
const LAYERS: u32 = RING_DEGREE.trailing_zeros();

/// A polynomial in Y modulo Y^1024 + 1, its coefficients modulo 2^64.
type Line = [u64; LENGTH];

/// A diagonal, coefficient by coefficient.
pub(super) type Diagonal = [i32; N];

/// The diagonals of a ring's rows.
pub(super) struct Diagonals {
    fold: Fold,
    /// Even and odd coefficients of 1024/f·α_g. Line m belongs to g = 2m + 1.
    halves: [Vec<Line>; 2],
    /// 3^i, in the order of i.
    powers: Vec<usize>,
}

impl Diagonals {
    /// Computes them from the fold's rows of 1024 words each. Runs on the current rayon pool, and
    /// lets its other work run every few milliseconds.
    pub(super) fn new(plane: &[u32], fold: Fold) -> Self {
        let half = |parity| transform(columns(plane, fold, parity));
        let halves = rayon::join(|| half(0), || half(1)).into();
        let powers = std::iter::successors(Some(1), |g| Some(g * 3 % N));
        Self { fold, halves, powers: powers.take(fold.steps()).collect() }
    }

    /// The diagonals of step i: that of g = 3^i and that of g = −3^i.
    pub(super) fn step(&self, i: usize) -> [Box<Diagonal>; ENCRYPTIONS] {
        let power = self.powers.get(i).copied().unwrap_or(1);
        [self.diagonal(power), self.diagonal(N - power)]
    }

    fn diagonal(&self, power: usize) -> Box<Diagonal> {
        let [even, odd] = self.halves.each_ref().map(|half| half.get(power / 2));
        let mut out = Box::new([0; N]);
        let lines = even.into_iter().flatten().zip(odd.into_iter().flatten());
        for ([x, y], (even, odd)) in out.as_chunks_mut().0.iter_mut().zip(lines) {
            (*x, *y) = (rounded(*even, self.fold), rounded(*odd, self.fold));
        }
        out
    }
}

/// The upper bits of a coefficient modulo 2^42/f.
#[expect(clippy::cast_possible_truncation, reason = "27 bits are meant")]
fn rounded(value: u64, fold: Fold) -> i32 {
    const UNUSED: u32 = u32::BITS - DIAGONAL_BITS;
    let dropped = u32::BITS + LAYERS - fold.factor().trailing_zeros() - DIAGONAL_BITS;
    let kept = value.wrapping_add(1 << (dropped - 1)) >> dropped;
    ((kept as u32) << UNUSED).cast_signed() >> UNUSED
}

/// h_i·Y^−i of the rows of one parity, with i in bit-reversed order.
fn columns(plane: &[u32], fold: Fold, parity: usize) -> Vec<Line> {
    let rows = || plane.chunks_exact(RING_DEGREE).skip(parity).step_by(2);
    let column = |place: usize| {
        let column = place.reverse_bits() >> (usize::BITS - LAYERS);
        let mut line = [0; LENGTH];
        for (exponent, row) in (0..).step_by(fold.factor()).zip(rows()) {
            let word = row.get(column).map_or(0, |word| i64::from(word.cast_signed()));
            // Times Y^−i: an exponent below 0 wraps around with the other sign.
            let (at, word) = match usize::checked_sub(exponent, column) {
                Some(at) => (at, word),
                None => (LENGTH + exponent - column, -word),
            };
            if let Some(out) = line.get_mut(at) {
                *out = word.cast_unsigned();
            }
        }
        line
    };
    let mut lines = Vec::with_capacity(RING_DEGREE);
    for first in (0..RING_DEGREE).step_by(COLUMNS) {
        lines.par_extend((first..first + COLUMNS).into_par_iter().map(column));
        rayon::yield_now();
    }
    lines
}

/// `out[m] = Σ_i in[i]·Y^(−2·i·m)`, with inputs in bit-reversed order: the layers of Cooley and
/// Tukey.
fn transform(mut lines: Vec<Line>) -> Vec<Line> {
    for layer in 0..LAYERS {
        let half = 1 << layer;
        lines.par_chunks_exact_mut(2 * half).for_each(|block| {
            let (low, high) = block.split_at_mut(half);
            low.par_iter_mut().zip(high).enumerate().for_each(|(j, (x, y))| {
                // The root of order 2·half is Y^(−2·1024/(2·half)); Y has order 2048.
                let shift = (N - (LENGTH >> layer) * j) % N;
                vectorise(Butterfly { x, y, shift });
            });
        });
        rayon::yield_now();
    }
    lines
}

/// `(x, y) ← (x + Y^shift·y, x − Y^shift·y)`, shift below 2048.
struct Butterfly<'a> {
    x: &'a mut Line,
    y: &'a mut Line,
    shift: usize,
}

impl Vectorised for Butterfly<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, y, shift } = self;
        let factor = *y;
        let by = shift % LENGTH;
        // Coefficients that wrap around change their sign.
        let (straight, round) = factor.split_at(LENGTH - by);
        let (x_round, x_straight) = x.split_at_mut(by);
        let (y_round, y_straight) = y.split_at_mut(by);
        if shift < LENGTH {
            add_subtract::<false>(x_straight, y_straight, straight);
            add_subtract::<true>(x_round, y_round, round);
        } else {
            add_subtract::<true>(x_straight, y_straight, straight);
            add_subtract::<false>(x_round, y_round, round);
        }
    }
}

/// `(x, y) ← (x + z, x − z)`, or with −z for z.
#[inline(always)]
fn add_subtract<const NEGATIVE: bool>(x: &mut [u64], y: &mut [u64], z: &[u64]) {
    for ((x, y), z) in x.iter_mut().zip(y).zip(z) {
        let (sum, difference) = (x.wrapping_add(*z), x.wrapping_sub(*z));
        (*x, *y) = if NEGATIVE { (difference, sum) } else { (sum, difference) };
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values wrap on purpose")]
mod tests {
    use super::*;
    use crate::seed::tests::words;

    /// The definition: 1024/f·α_g as a direct sum, then its upper bits.
    fn direct(plane: &[u32], fold: Fold, g: usize) -> Vec<i32> {
        let mut sum = vec![0i128; N];
        for (r, row) in plane.chunks_exact(RING_DEGREE).enumerate() {
            for (i, word) in row.iter().enumerate() {
                // X^e(r)·Y^(−g·i) modulo X^2048 + 1.
                let exponent = (fold.coefficient_of(r) + 2 * N - 2 * g * i % (2 * N)) % (2 * N);
                let word = i128::from(*word as i32);
                sum[exponent % N] += if exponent < N { word } else { -word };
            }
        }
        let top = 1i128 << 42 >> fold.factor().trailing_zeros();
        let step = top >> DIAGONAL_BITS;
        let rounded = |x: i128| {
            let x = (x + step / 2).div_euclid(step).rem_euclid(1 << DIAGONAL_BITS);
            (if x >= 1 << 26 { x - (1 << 27) } else { x }) as i32
        };
        sum.into_iter().map(rounded).collect()
    }

    #[test]
    fn the_shift_transform_is_the_direct_sum() {
        for (seed, fold) in (0..).zip(Fold::ALL) {
            let mut plane = words(seed, fold.rows() * RING_DEGREE);
            // Extreme values, for which the signed reading matters.
            for (word, extreme) in plane.iter_mut().zip([0, 1, 1 << 31, u32::MAX, i32::MAX as u32])
            {
                *word = extreme;
            }
            let found = Diagonals::new(&plane, fold);
            let mut g = 1;
            for i in 0..fold.steps() {
                if [0, 1, fold.steps() / 2, fold.steps() - 1].contains(&i) {
                    let pair = found.step(i);
                    for (b, g) in [g, N - g].into_iter().enumerate() {
                        assert_eq!(pair[b].to_vec(), direct(&plane, fold, g), "{fold:?} {i} {b}");
                    }
                }
                g = g * 3 % N;
            }
        }
    }

    /// Halves are rounded up, in every position alike.
    #[test]
    fn ties_are_rounded_up() {
        for fold in Fold::ALL {
            let step = 1u64 << (42 - fold.factor().trailing_zeros() - DIAGONAL_BITS);
            for (value, expected) in [
                (0, 0),
                (step / 2, 1),
                (step / 2 - 1, 0),
                (0 - step / 2, 0),
                (0 - step / 2 - 1, -1),
            ] {
                assert_eq!(rounded(value, fold), expected, "{fold:?} {value}");
            }
            assert_eq!(rounded(step << 26, fold), -(1 << 26));
        }
    }
}
