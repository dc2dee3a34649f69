//! The negacyclic number-theoretic transform of length 1024 over one 61-bit prime.
//!
//! Harvey's butterflies ("Faster arithmetic for number-theoretic transforms", 2014): values are in
//! \[0, 4p) in the forward transform and in \[0, 2p) in the inverse one. Products by known factors
//! use Shoup's precomputed quotient, so that no step divides. Each pass performs two layers (radix
//! 4), and 1024 = 4^5.
//!
//! Constant time: no value is used for a branch or as an index.

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use std::sync::LazyLock;

use zeroize::Zeroize;

use crate::params::RING_DEGREE;

/// p: the largest prime below 2^61 that is 1 modulo 2048.
const PRIME: u64 = 2_305_843_009_213_683_713;
/// A primitive 2048th root of unity modulo p: ψ^1024 = −1.
const ROOT: u64 = 346_697_834_596_438_798;
const TWO_P: u64 = 2 * PRIME;
const DEGREE: usize = RING_DEGREE;

// The bounds of the parent module, and values below 4p must fit.
const _: () = assert!(PRIME > 1 << 60 && PRIME < 1 << 61 && PRIME % (2 * DEGREE as u64) == 1);
// |D| · |a| · n · partitions < p/2
const _: () = assert!(
    (1u128 << 7) * (1 << 31) * (crate::params::MAX_BUCKETS as u128) < PRIME as u128 / 2,
    "the hint of the largest matrix must be exact over the prime"
);

/// The tables, created once per process.
pub(crate) static NTT: LazyLock<Ntt> = LazyLock::new(Ntt::new);

/// A known factor, with Shoup's quotient ⌊factor·2^64/p⌋.
#[derive(Clone, Copy)]
struct Twiddle {
    factor: u64,
    quotient: u64,
}

impl Twiddle {
    fn new(factor: u64) -> Self {
        Self { factor, quotient: shoup_quotient(factor) }
    }

    #[inline(always)]
    fn times(self, x: u64) -> u64 {
        mul_lazy(x, self.factor, self.quotient)
    }
}

/// Tables of the transform.
///
/// Each entry serves one block of one pass: the twiddle of its first layer, then the two of its
/// second. Passes are stored one after the other, largest block first: 1 + 4 + 16 + 64 + 256
/// entries.
pub(crate) struct Ntt {
    forward: Vec<[Twiddle; 3]>,
    inverse: Vec<[Twiddle; 3]>,
    degree_inverse: Twiddle,
}

impl Ntt {
    fn new() -> Self {
        let table = |root: u64| {
            let layer = |i: usize| Twiddle::new(power(root, bit_reversed(i)));
            let blocks = |m: usize| (m..2 * m).map(move |i| [i, 2 * i, 2 * i + 1].map(layer));
            [1, 4, 16, 64, 256].into_iter().flat_map(blocks).collect()
        };
        let inverse = |x: u64| power(x, PRIME - 2);
        Self {
            forward: table(ROOT),
            inverse: table(inverse(ROOT)),
            degree_inverse: Twiddle::new(inverse(DEGREE as u64)),
        }
    }

    /// Transforms to evaluations, in bit-reversed order. Takes and leaves values below 4p.
    pub(crate) fn forward(&self, values: &mut [u64; DEGREE]) {
        let mut tables = self.forward.as_slice();
        forward_pass::<256>(values, &mut tables);
        forward_pass::<64>(values, &mut tables);
        forward_pass::<16>(values, &mut tables);
        forward_pass::<4>(values, &mut tables);
        forward_pass::<1>(values, &mut tables);
    }

    /// Transforms back to coefficients below p. Takes values below 2p.
    pub(crate) fn inverse(&self, values: &mut [u64; DEGREE]) {
        let mut tables = self.inverse.as_slice();
        inverse_pass::<1>(values, &mut tables);
        inverse_pass::<4>(values, &mut tables);
        inverse_pass::<16>(values, &mut tables);
        inverse_pass::<64>(values, &mut tables);
        inverse_pass::<256>(values, &mut tables);
        for value in values {
            *value = below(self.degree_inverse.times(*value), PRIME);
        }
    }
}

/// Two layers over blocks of 4Q: distance 2Q, then Q.
#[inline(always)]
fn forward_pass<const Q: usize>(values: &mut [u64; DEGREE], tables: &mut &[[Twiddle; 3]]) {
    let (table, rest) = tables.split_at(DEGREE / (4 * Q));
    *tables = rest;
    for (block, [outer, left, right]) in values.chunks_exact_mut(4 * Q).zip(table) {
        for [x0, x1, x2, x3] in quarters::<Q>(block) {
            let (a0, a2) = forward_butterfly(*x0, *x2, *outer);
            let (a1, a3) = forward_butterfly(*x1, *x3, *outer);
            (*x0, *x1) = forward_butterfly(a0, a1, *left);
            (*x2, *x3) = forward_butterfly(a2, a3, *right);
        }
    }
}

/// The inverse of [`forward_pass`], up to a factor of 4. The end of the table belongs to the
/// smallest blocks.
#[inline(always)]
fn inverse_pass<const Q: usize>(values: &mut [u64; DEGREE], tables: &mut &[[Twiddle; 3]]) {
    let (rest, table) = tables.split_at(tables.len() - DEGREE / (4 * Q));
    *tables = rest;
    for (block, [outer, left, right]) in values.chunks_exact_mut(4 * Q).zip(table) {
        for [x0, x1, x2, x3] in quarters::<Q>(block) {
            let (a0, a1) = inverse_butterfly(*x0, *x1, *left);
            let (a2, a3) = inverse_butterfly(*x2, *x3, *right);
            (*x0, *x2) = inverse_butterfly(a0, a2, *outer);
            (*x1, *x3) = inverse_butterfly(a1, a3, *outer);
        }
    }
}

/// The four quarters of a block of 4Q, in parallel.
#[inline(always)]
fn quarters<const Q: usize>(block: &mut [u64]) -> impl Iterator<Item = [&mut u64; 4]> {
    let (low, high) = block.split_at_mut(2 * Q);
    let ((q0, q1), (q2, q3)) = (low.split_at_mut(Q), high.split_at_mut(Q));
    q0.iter_mut().zip(q1).zip(q2.iter_mut().zip(q3)).map(|((x0, x1), (x2, x3))| [x0, x1, x2, x3])
}

/// (x + w·y, x − w·y): below 4p in, below 4p out.
#[inline(always)]
fn forward_butterfly(x: u64, y: u64, w: Twiddle) -> (u64, u64) {
    let (x, y) = (below(x, TWO_P), w.times(y));
    (x + y, x + TWO_P - y)
}

/// (x + y, (x − y)·w): below 2p in, below 2p out.
#[inline(always)]
fn inverse_butterfly(x: u64, y: u64, w: Twiddle) -> (u64, u64) {
    (add_lazy(x, y), w.times(x + TWO_P - y))
}

/// x − bound if that is not negative, else x.
#[inline(always)]
fn below(x: u64, bound: u64) -> u64 {
    x.min(x.wrapping_sub(bound))
}

/// x + y for values below 2p, below 2p again.
#[inline(always)]
fn add_lazy(x: u64, y: u64) -> u64 {
    below(x + y, TWO_P)
}

/// x·factor modulo p, below 2p, for any x and a factor below p with its Shoup quotient.
///
/// With q = ⌊x·quotient/2^64⌋: x·factor/p − q is in \[0, 2), because the quotient is below
/// factor·2^64/p by less than 1, and the floor drops less than 1 again.
#[inline(always)]
fn mul_lazy(x: u64, factor: u64, quotient: u64) -> u64 {
    let q = ((u128::from(x) * u128::from(quotient)) >> 64) as u64;
    x.wrapping_mul(factor).wrapping_sub(q.wrapping_mul(PRIME))
}

/// ⌊factor·2^64/p⌋ for a factor below p, without a division (whose time would depend on it).
///
/// With M = ⌊2^124/p⌋, the estimate ⌊factor·M/2^60⌋ is too small by at most 2: M is too small by
/// less than 1, which contributes factor/2^60 < 2 in exact arithmetic. The remainder is below 3p <
/// 2^63.
#[expect(clippy::cast_possible_truncation, reason = "M < 2^64 since p > 2^60; quotient < 2^64")]
fn shoup_quotient(factor: u64) -> u64 {
    const M: u64 = ((1u128 << 124) / PRIME as u128) as u64;
    let mut quotient = ((u128::from(factor) * u128::from(M)) >> 60) as u64;
    // factor·2^64 − quotient·p, of which the first term is 0 modulo 2^64.
    let mut remainder = 0u64.wrapping_sub(quotient.wrapping_mul(PRIME));
    for _ in 0..3 {
        // This is not a comparison, which compilers would turn into a jump. Below 3p, only a
        // negative difference has the top bit.
        let less = remainder.wrapping_sub(PRIME);
        quotient += 1 ^ (less >> 63);
        remainder = remainder.min(less);
    }
    quotient
}

/// A signed number as a residue below 2p, for |x| < p.
#[inline(always)]
pub(crate) fn lift(x: i64) -> u64 {
    PRIME.wrapping_add_signed(x)
}

/// A residue below p, read as the number of least magnitude, modulo 2^32.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
pub(crate) fn signed_residue(x: u64) -> u32 {
    let negative = u32::from(x > PRIME / 2).wrapping_neg();
    (x as u32).wrapping_sub(PRIME as u32 & negative)
}

/// A polynomial in NTT form, below p, prepared for multiplication by many others.
pub(crate) struct Factor {
    value: Box<[u64; DEGREE]>,
    quotient: Box<[u64; DEGREE]>,
}

impl Factor {
    /// Transforms coefficients of magnitude below p.
    pub(crate) fn new(coefficients: impl Iterator<Item = i64>) -> Self {
        let mut value = Box::new([0; DEGREE]);
        let mut quotient = Box::new([0; DEGREE]);
        for (entry, coefficient) in value.iter_mut().zip(coefficients) {
            *entry = lift(coefficient);
        }
        NTT.forward(&mut value);
        for (entry, quotient) in value.iter_mut().zip(quotient.iter_mut()) {
            *entry = below(below(*entry, TWO_P), PRIME);
            *quotient = shoup_quotient(*entry);
        }
        Self { value, quotient }
    }

    /// sums += other · self, pointwise, with `other` below 4p and sums below 2p.
    pub(crate) fn multiply_add(&self, other: &[u64; DEGREE], sums: &mut [u64; DEGREE]) {
        let factors = self.value.iter().zip(self.quotient.iter());
        for ((sum, other), (value, quotient)) in sums.iter_mut().zip(other).zip(factors) {
            *sum = add_lazy(*sum, mul_lazy(*other, *value, *quotient));
        }
    }
}

impl Zeroize for Factor {
    fn zeroize(&mut self) {
        let Self { value, quotient } = self;
        value.zeroize();
        quotient.zeroize();
    }
}

fn bit_reversed(i: usize) -> u64 {
    // Twiddle i of a bit-reversed transform is ψ^rev(i); i < n, so ten bits are reversed.
    (i as u64).reverse_bits() >> (64 - DEGREE.trailing_zeros())
}

/// base^exponent modulo p. The time varies, so this is for tables only.
#[expect(clippy::cast_possible_truncation, reason = "a residue below p has 61 bits")]
fn power(base: u64, mut exponent: u64) -> u64 {
    let multiply = |x: u64, y: u64| (u128::from(x) * u128::from(y) % u128::from(PRIME)) as u64;
    let (mut base, mut result) = (base, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    result
}
