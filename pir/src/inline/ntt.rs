//! The negacyclic number-theoretic transform of length 2048 modulo one prime, with its output in
//! the order of slots.
//!
//! **Order.** Slot `h·1024 + j` holds the value at `ψ^(±3^j)`, with plus for h = 0 and minus for h
//! = 1. The automorphism `X → X^(3^k)` takes slot j to slot j + k of the same half. A rotation of
//! slots is therefore a cyclic shift, in every modulus, and for encrypted polynomials too.
//!
//! **Shape.** 2048 = 64·32. Coefficient `32r + c` is in row r, column c. The first six layers pair
//! rows, so they run along whole rows. Then the matrix is transposed. The last five layers pair the
//! former columns, so they run along rows again, with a separate factor for each lane. Every inner
//! loop runs over 32 or 64 neighbours, which compilers vectorise for any width.
//!
//! **Range.** Harvey's butterflies: values are below 4m in the forward transform and below 2m in
//! the inverse one. m < 2^24, so nothing overflows 32 bits. No value is used for a branch or as an
//! index.

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
pub(super) mod tests;

use super::modulus::{Factor, Modulus, times_lazy};
use super::{N, Poly};
use crate::machine::{Vectorised, vectorise};

/// Rows of the matrix, and the number of their layers.
const ROWS: usize = 64;
const ROW_LAYERS: usize = 6;
/// Columns of the matrix, and the number of their layers.
const COLUMNS: usize = 32;
const COLUMN_LAYERS: usize = 5;
const HALF: usize = N / 2;
const _: () =
    assert!(1 << ROW_LAYERS == ROWS && 1 << COLUMN_LAYERS == COLUMNS && ROWS * COLUMNS == N);

/// A row of the transposed matrix.
type Column = [u32; ROWS];
type Turned = [Column; COLUMNS];

/// Factors for the lanes of a column.
#[derive(Clone)]
struct Lanes {
    factors: Column,
    quotients: Column,
}

/// Tables of the transform modulo one prime.
pub struct Ntt {
    /// The prime.
    pub modulus: Modulus,
    /// Layers along rows, factor `2^layer + block`.
    forward: Vec<Factor>,
    inverse: Vec<Factor>,
    /// Layers along columns, at `2^layer + block`.
    forward_lanes: Vec<Lanes>,
    inverse_lanes: Vec<Lanes>,
    degree_inverse: Factor,
    /// Maps slots to positions of the transposed matrix, and back.
    slot_at: Box<[u16; N]>,
    position_of: Box<[u16; N]>,
}

impl Ntt {
    /// The transform modulo a prime that is 1 modulo 4096, with `root` a primitive 4096th root of
    /// one.
    #[expect(clippy::indexing_slicing, reason = "indices run over array lengths")]
    #[expect(clippy::cast_possible_truncation, reason = "positions are below 2048")]
    pub(super) fn new(modulus: Modulus, root: u32) -> Self {
        debug_assert_eq!(modulus.power(root, N as u32), modulus.value - 1);
        let tables = |root: u32| {
            // Factor i of a bit-reversed transform is root^rev(i).
            let factor = |i: usize| modulus.factor(modulus.power(root, bit_reversed(i)));
            let rows: Vec<Factor> = (0..ROWS).map(factor).collect();
            let lanes: Vec<Lanes> = (0..COLUMNS)
                .map(|k| {
                    // Layer l has 2^l blocks in each of 64 rows. Block b of row r is factor 64·2^l
                    // + r·2^l + b, where k = 2^l + b.
                    let blocks = 1 << k.max(1).ilog2();
                    let mut lanes = Lanes { factors: [0; ROWS], quotients: [0; ROWS] };
                    for r in 0..ROWS {
                        let factor = factor((ROWS + r) * blocks + (k - blocks.min(k)));
                        (lanes.factors[r], lanes.quotients[r]) = (factor.factor, factor.quotient);
                    }
                    lanes
                })
                .collect();
            (rows, lanes)
        };
        let (forward, forward_lanes) = tables(root);
        let (inverse, inverse_lanes) = tables(modulus.inverse(root));
        // A plain transform leaves ψ^(2·rev(i)+1) at index i. In the transposed matrix, i is at
        // (i%32)·64 + i/32.
        let mut transposed = vec![0; 2 * N];
        for i in 0..N {
            transposed[2 * bit_reversed(i) as usize + 1] = i % COLUMNS * ROWS + i / COLUMNS;
        }
        let (mut slot_at, mut position_of) = (Box::new([0; N]), Box::new([0; N]));
        let mut exponent = 1;
        for j in 0..HALF {
            for (slot, exponent) in [(j, exponent), (HALF + j, 2 * N - exponent)] {
                let position = transposed[exponent];
                slot_at[position] = slot as u16;
                position_of[slot] = position as u16;
            }
            exponent = exponent * 3 % (2 * N);
        }
        Self {
            modulus,
            forward,
            inverse,
            forward_lanes,
            inverse_lanes,
            degree_inverse: modulus.factor(modulus.inverse(N as u32)),
            slot_at,
            position_of,
        }
    }

    /// Coefficients below m to slots below m, in place.
    pub fn forward(&self, values: &mut Poly) {
        vectorise(Forward { ntt: self, values });
    }

    /// Slots below m to coefficients below m, in place.
    pub fn inverse(&self, values: &mut Poly) {
        vectorise(Inverse { ntt: self, values });
    }
}

struct Forward<'a> {
    ntt: &'a Ntt,
    values: &'a mut Poly,
}

impl Vectorised for Forward<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "positions are masked to the array's length")]
    fn run(self) {
        let Self { ntt, values } = self;
        let m = ntt.modulus.value;
        let (matrix, _) = values.as_chunks_mut::<COLUMNS>();
        for layer in 0..ROW_LAYERS {
            let (blocks, distance) = (1 << layer, ROWS >> (layer + 1));
            let factors = ntt.forward.iter().skip(blocks);
            for (block, factor) in matrix.chunks_exact_mut(2 * distance).zip(factors) {
                let (low, high) = block.split_at_mut(distance);
                for (x, y) in low.iter_mut().zip(high) {
                    for (x, y) in x.iter_mut().zip(y) {
                        (*x, *y) = forward_butterfly(*x, factor.times_lazy(*y, m), m);
                    }
                }
            }
        }
        let mut turned = [[0; ROWS]; COLUMNS];
        transpose(matrix, &mut turned);
        for layer in 0..COLUMN_LAYERS {
            let (blocks, distance) = (1 << layer, COLUMNS >> (layer + 1));
            let lanes = ntt.forward_lanes.iter().skip(blocks);
            for (block, lanes) in turned.chunks_exact_mut(2 * distance).zip(lanes) {
                let (low, high) = block.split_at_mut(distance);
                for (x, y) in low.iter_mut().zip(high) {
                    for lane in 0..ROWS {
                        let (factor, quotient) = (lanes.factors[lane], lanes.quotients[lane]);
                        let product = times_lazy(y[lane], factor, quotient, m);
                        (x[lane], y[lane]) = forward_butterfly(x[lane], product, m);
                    }
                }
            }
        }
        for value in turned.as_flattened_mut() {
            *value = (*value).min(value.wrapping_sub(2 * m));
            *value = (*value).min(value.wrapping_sub(m));
        }
        gather(&turned, &ntt.position_of, values);
        clear(&mut turned);
    }
}

struct Inverse<'a> {
    ntt: &'a Ntt,
    values: &'a mut Poly,
}

impl Vectorised for Inverse<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "positions are masked to the array's length")]
    fn run(self) {
        let Self { ntt, values } = self;
        let m = ntt.modulus.value;
        let mut turned = [[0; ROWS]; COLUMNS];
        gather_back(values, &ntt.slot_at, &mut turned);
        for layer in (0..COLUMN_LAYERS).rev() {
            let (blocks, distance) = (1 << layer, COLUMNS >> (layer + 1));
            let lanes = ntt.inverse_lanes.iter().skip(blocks);
            for (block, lanes) in turned.chunks_exact_mut(2 * distance).zip(lanes) {
                let (low, high) = block.split_at_mut(distance);
                for (x, y) in low.iter_mut().zip(high) {
                    for lane in 0..ROWS {
                        let difference = x[lane] + 2 * m - y[lane];
                        let (factor, quotient) = (lanes.factors[lane], lanes.quotients[lane]);
                        x[lane] = below(x[lane] + y[lane], 2 * m);
                        y[lane] = times_lazy(difference, factor, quotient, m);
                    }
                }
            }
        }
        let (matrix, _) = values.as_chunks_mut::<COLUMNS>();
        transpose(&turned, matrix);
        clear(&mut turned);
        for layer in (0..ROW_LAYERS).rev() {
            let (blocks, distance) = (1 << layer, ROWS >> (layer + 1));
            let factors = ntt.inverse.iter().skip(blocks);
            for (block, factor) in matrix.chunks_exact_mut(2 * distance).zip(factors) {
                let (low, high) = block.split_at_mut(distance);
                for (x, y) in low.iter_mut().zip(high) {
                    for (x, y) in x.iter_mut().zip(y) {
                        let difference = *x + 2 * m - *y;
                        *x = below(*x + *y, 2 * m);
                        *y = factor.times_lazy(difference, m);
                    }
                }
            }
        }
        for value in values.iter_mut() {
            *value = below(ntt.degree_inverse.times_lazy(*value, m), m);
        }
    }
}

/// (x + y, x − y) for x below 4m and y below 2m: both below 4m.
#[inline(always)]
fn forward_butterfly(x: u32, y: u32, m: u32) -> (u32, u32) {
    let x = below(x, 2 * m);
    (x + y, x + 2 * m - y)
}

/// x − bound if that is not negative, else x.
#[inline(always)]
fn below(x: u32, bound: u32) -> u32 {
    x.min(x.wrapping_sub(bound))
}

/// Transposes columns of rows to rows of columns, 16 rows at a time.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "indices run over array lengths")]
fn transpose<const FROM: usize, const TO: usize>(from: &[[u32; FROM]], to: &mut [[u32; TO]]) {
    const TILE: usize = 16;
    for tile in 0..TO / TILE {
        for (c, to) in to.iter_mut().enumerate() {
            let from = &from[tile * TILE..(tile + 1) * TILE];
            for (to, from) in to[tile * TILE..(tile + 1) * TILE].iter_mut().zip(from) {
                *to = from[c];
            }
        }
    }
}

/// `out[slot] = turned[position_of[slot]]`.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the index is masked to the array's length")]
fn gather(turned: &Turned, position_of: &[u16; N], out: &mut Poly) {
    for (out, position) in out.iter_mut().zip(position_of) {
        let position = usize::from(*position);
        *out = turned[position / ROWS % COLUMNS][position % ROWS];
    }
}

/// The inverse of [`gather`].
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the index is masked to the array's length")]
fn gather_back(values: &Poly, slot_at: &[u16; N], turned: &mut Turned) {
    for (out, slot) in turned.as_flattened_mut().iter_mut().zip(slot_at) {
        *out = values[usize::from(*slot) % N];
    }
}

/// Clears the scratch matrix, because secrets pass through it too.
#[inline(always)]
fn clear(matrix: &mut Turned) {
    use zeroize::Zeroize;
    matrix.as_flattened_mut().zeroize();
}

#[expect(clippy::cast_possible_truncation, reason = "eleven bits")]
fn bit_reversed(i: usize) -> u32 {
    (i as u32).reverse_bits() >> (32 - N.trailing_zeros())
}
