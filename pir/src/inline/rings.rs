//! The five rings of the scheme, and numbers that move between them.

use std::sync::LazyLock;

use super::modulus::{Factor, Modulus};
use super::ntt::Ntt;
use super::params::{PLAINTEXT_ROOT, Q_PRIMES, Q_ROOTS, SPECIAL_PRIMES, SPECIAL_ROOTS};
use super::{N, Poly};
use crate::params::PLAINTEXT_MODULUS;
use crate::vector::{Vectorised, vectorise};

/// Modulo the two primes of q.
pub(super) static Q: LazyLock<[Ntt; 2]> = LazyLock::new(|| pair(Q_PRIMES, Q_ROOTS));
/// Modulo the two primes of P.
pub(super) static SPECIAL: LazyLock<[Ntt; 2]> =
    LazyLock::new(|| pair(SPECIAL_PRIMES, SPECIAL_ROOTS));
/// Modulo t.
pub(super) static PLAINTEXT: LazyLock<Ntt> =
    LazyLock::new(|| Ntt::new(Modulus::new(PLAINTEXT_MODULUS), PLAINTEXT_ROOT));

/// q as the product of its primes.
pub(super) const Q_BASIS: Basis = Basis::new(Q_PRIMES);
/// P as the product of its primes.
pub(super) const SPECIAL_BASIS: Basis = Basis::new(SPECIAL_PRIMES);

fn pair([first, second]: [u32; 2], [first_root, second_root]: [u32; 2]) -> [Ntt; 2] {
    [Ntt::new(Modulus::new(first), first_root), Ntt::new(Modulus::new(second), second_root)]
}

/// The two primes of q, then the two of P.
pub(super) fn all() -> [&'static Ntt; 4] {
    let ([q0, q1], [p0, p1]) = (&*Q, &*SPECIAL);
    [q0, q1, p0, p1]
}

/// Two primes of like size whose product is a modulus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis {
    pub(super) product: u64,
    first: Modulus,
    second: Modulus,
    /// first^-1 modulo second.
    inverse: Factor,
}

impl Basis {
    const fn new([first, second]: [u32; 2]) -> Self {
        // `compose` subtracts the second prime at most once from a residue modulo the first.
        assert!(first > second && first < 2 * second);
        let (first, second) = (Modulus::new(first), Modulus::new(second));
        let inverse = second.factor(second.inverse(first.value - second.value));
        Self { product: first.value as u64 * second.value as u64, first, second, inverse }
    }

    /// The number below the product with these residues (Garner).
    #[inline(always)]
    pub(super) fn compose(&self, x: u32, y: u32) -> u64 {
        let difference = self.second.subtract(y, self.second.once(x));
        let digit = self.inverse.times(difference, self.second);
        u64::from(x) + u64::from(self.first.value) * u64::from(digit)
    }

    /// The number of least magnitude with these residues.
    #[cfg(any(test, feature = "secrets"))]
    #[inline(always)]
    pub(super) fn compose_centred(&self, x: u32, y: u32) -> i64 {
        let value = self.compose(x, y);
        let negative = u64::from(value > self.product / 2).wrapping_neg();
        value.wrapping_sub(self.product & negative).cast_signed()
    }

    /// Coefficients modulo this basis, read as numbers of least magnitude, modulo each prime of
    /// another one.
    pub(super) fn lift(&self, from: [&Poly; 2], to: [Modulus; 2], out: [&mut Poly; 2]) {
        vectorise(Lift { basis: self, from, to, out });
    }
}

struct Lift<'a> {
    basis: &'a Basis,
    from: [&'a Poly; 2],
    to: [Modulus; 2],
    out: [&'a mut Poly; 2],
}

impl Vectorised for Lift<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { basis, from: [x, y], to: [first, second], out: [out, out_second] } = self;
        let product = basis.product;
        let wrapped = [first.reduce(product), second.reduce(product)];
        let out = out.iter_mut().zip(out_second.iter_mut());
        for ((x, y), (first_out, second_out)) in x.iter().zip(y).zip(out) {
            let value = basis.compose(*x, *y);
            *first_out = first.centred(value, product, wrapped[0]);
            *second_out = second.centred(value, product, wrapped[1]);
        }
    }
}

/// A polynomial of zeros.
pub(super) fn zero() -> Box<Poly> {
    Box::new([0; N])
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn composition_is_the_remainder_theorem(value in 0..Q_BASIS.product) {
            let [x, y] = Q_PRIMES.map(|q| (value % u64::from(q)) as u32);
            prop_assert_eq!(Q_BASIS.compose(x, y), value);
            let centred = i128::from(Q_BASIS.compose_centred(x, y));
            prop_assert!(2 * centred.abs() < i128::from(Q_BASIS.product));
            let difference = centred - i128::from(value);
            prop_assert_eq!(difference % i128::from(Q_BASIS.product), 0);
        }

        #[test]
        fn lifting_keeps_numbers_of_least_magnitude(value in -(1i64 << 38)..1 << 38) {
            let residue = |m: u32| value.rem_euclid(i64::from(m)) as u32;
            let from = SPECIAL_PRIMES.map(|p| Box::new([residue(p); N]));
            let (mut first, mut second) = (zero(), zero());
            let [q0, q1] = Q_PRIMES.map(Modulus::new);
            SPECIAL_BASIS.lift([&from[0], &from[1]], [q0, q1], [&mut first, &mut second]);
            prop_assert_eq!([first[0], second[N - 1]], Q_PRIMES.map(residue));
        }
    }
}
