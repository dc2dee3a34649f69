//! Arithmetic modulo one of the scheme's primes, without branches or divisions.
//!
//! Constant time, because the client's half uses it with secrets. Comparisons become `min`, and
//! remainders use the methods of Barrett or Shoup.

use super::{N, Poly};
use crate::machine::{Vectorised, vectorise};

/// A prime of 24 bits with its constant for reduction.
#[derive(Debug, Clone, Copy)]
pub struct Modulus {
    /// The prime.
    pub value: u32,
    /// ⌊2^64 / value⌋.
    barrett: u64,
}

impl Modulus {
    /// The arithmetic modulo a prime of 24 bits.
    pub const fn new(value: u32) -> Self {
        // value is odd, so it does not divide 2^64.
        Self { value, barrett: u64::MAX / value as u64 }
    }

    /// x mod value, for any x.
    ///
    /// The quotient ⌊x·⌊2^64/m⌋/2^64⌋ is below x/m by less than 2, so the remainder is below 2m.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 2m < 2^25")]
    pub const fn reduce(self, x: u64) -> u32 {
        let quotient = ((x as u128 * self.barrett as u128) >> 64) as u64;
        let rest = x.wrapping_sub(quotient.wrapping_mul(self.value as u64)) as u32;
        let less = rest.wrapping_sub(self.value);
        if less < rest { less } else { rest }
    }

    /// x or x − value, whichever is in range; x must be below twice the value.
    #[inline(always)]
    pub fn once(self, x: u32) -> u32 {
        x.min(x.wrapping_sub(self.value))
    }

    /// x + y, both reduced.
    #[inline(always)]
    pub fn add(self, x: u32, y: u32) -> u32 {
        self.once(x + y)
    }

    /// x − y, both reduced.
    #[inline(always)]
    pub fn subtract(self, x: u32, y: u32) -> u32 {
        self.once(x + self.value - y)
    }

    /// x·y.
    #[inline(always)]
    pub const fn multiply(self, x: u32, y: u32) -> u32 {
        self.reduce(x as u64 * y as u64)
    }

    /// base^exponent. The time depends on the exponent, so this is for constants only.
    pub(super) const fn power(self, base: u32, mut exponent: u32) -> u32 {
        let (mut base, mut result) = (base, 1);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.multiply(result, base);
            }
            base = self.multiply(base, base);
            exponent >>= 1;
        }
        result
    }

    /// The inverse of a number that is not a multiple of the prime (Fermat).
    pub(super) const fn inverse(self, x: u32) -> u32 {
        self.power(x, self.value - 2)
    }

    /// The residue of a small signed number, |x| < value.
    #[inline(always)]
    pub fn signed(self, x: i32) -> u32 {
        self.once(self.value.wrapping_add_signed(x))
    }

    /// A known factor, with Shoup's quotient.
    #[expect(clippy::cast_possible_truncation, reason = "the factor is below the modulus")]
    pub const fn factor(self, factor: u32) -> Factor {
        Factor { factor, quotient: (((factor as u64) << 32) / self.value as u64) as u32 }
    }
}

/// A factor with ⌊factor·2^32/m⌋ (Shoup; Harvey, "Faster arithmetic for number-theoretic
/// transforms", 2014).
#[derive(Debug, Clone, Copy)]
pub struct Factor {
    pub(super) factor: u32,
    pub(super) quotient: u32,
}

impl Factor {
    /// x·factor modulo m, below 2m, for any x.
    #[inline(always)]
    pub(super) fn times_lazy(self, x: u32, modulus: u32) -> u32 {
        times_lazy(x, self.factor, self.quotient, modulus)
    }

    /// x·factor modulo m.
    #[inline(always)]
    pub fn times(self, x: u32, modulus: Modulus) -> u32 {
        modulus.once(self.times_lazy(x, modulus.value))
    }
}

/// x·factor modulo m, below 2m: with q = ⌊x·quotient/2^32⌋, x·factor/m − q is in \[0, 2).
#[inline(always)]
pub(super) fn times_lazy(x: u32, factor: u32, quotient: u32, modulus: u32) -> u32 {
    let q = ((u64::from(x) * u64::from(quotient)) >> 32) as u32;
    x.wrapping_mul(factor).wrapping_sub(q.wrapping_mul(modulus))
}

/// A polynomial of factors for multiplication with many others. It must be public, because creating
/// it divides.
///
/// Each half of slots is stored twice in a row, so that a rotation is an offset.
pub(super) struct Factors {
    modulus: Modulus,
    factors: Vec<u32>,
    quotients: Vec<u32>,
}

impl Factors {
    pub(super) fn new(modulus: Modulus, slots: &Poly) -> Self {
        let (low, high) = slots.split_at(N / 2);
        let factors: Vec<u32> = [low, low, high, high].concat();
        let quotients = factors.iter().map(|factor| modulus.factor(*factor).quotient).collect();
        Self { modulus, factors, quotients }
    }

    /// `out[j] = x[j]·self[j + rotation]`, reduced; `rotation` below 1024.
    pub(super) fn times(&self, x: &Poly, rotation: usize, out: &mut Poly) {
        vectorise(Times::<false> { factors: self, x, rotation, out });
    }

    /// `sums[j] += x[j]·self[j + rotation]`, reduced; `rotation` below 1024.
    pub(super) fn times_add(&self, x: &Poly, rotation: usize, sums: &mut Poly) {
        vectorise(Times::<true> { factors: self, x, rotation, out: sums });
    }
}

struct Times<'a, const ADD: bool> {
    factors: &'a Factors,
    x: &'a Poly,
    rotation: usize,
    out: &'a mut Poly,
}

impl<const ADD: bool> Vectorised for Times<'_, ADD> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { factors: Factors { modulus, factors, quotients }, x, rotation, out } = self;
        let halves = factors.chunks_exact(N).zip(quotients.chunks_exact(N));
        let values = x.chunks_exact(N / 2).zip(out.chunks_exact_mut(N / 2));
        for ((x, out), (factors, quotients)) in values.zip(halves) {
            let factors = factors.get(rotation..).unwrap_or_default();
            let factors = factors.iter().zip(quotients.get(rotation..).unwrap_or_default());
            for ((out, x), (factor, quotient)) in out.iter_mut().zip(x).zip(factors) {
                let product = modulus.once(times_lazy(*x, *factor, *quotient, modulus.value));
                *out = if ADD { modulus.add(*out, product) } else { product };
            }
        }
    }
}
