//! The primes, and the powers of the roots in the order of use.

use std::sync::LazyLock;

use super::SIDE;
use crate::params::RING_DEGREE;

/// The two largest primes below 2^30 that are 1 modulo 2048, in ascending order.
pub(in crate::hint) const PRIMES: [u32; 2] = [1_073_698_817, 1_073_707_009];
/// For each prime p a primitive 2048th root of unity modulo p: ψ^1024 = −1.
const ROOTS: [u32; 2] = [835_314, 169_871];

const _: () = {
    let [p, q] = PRIMES;
    // Values below 4p must fit, and `combine` relies on the order.
    assert!(p < q && q < 1 << 30);
    assert!(p % 2048 == 1 && q % 2048 == 1);
};

/// 1/p₀ modulo p₁.
pub(super) const LIFT: Twiddle = {
    let [p, q] = PRIMES;
    Twiddle::new(inverse(p, q), q)
};

/// Created once per process.
pub(super) static TABLES: LazyLock<[Tables; PRIMES.len()]> = LazyLock::new(|| {
    let [p, q] = PRIMES;
    let [root, other] = ROOTS;
    [Tables::new(p, root), Tables::new(q, other)]
});

/// A known factor below p, with Shoup's quotient ⌊factor·2^32/p⌋.
#[derive(Clone, Copy)]
pub(in crate::hint) struct Twiddle {
    pub(in crate::hint) factor: u32,
    pub(in crate::hint) quotient: u32,
}

impl Twiddle {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "factor < p, so the quotient is below 2^32"
    )]
    pub(super) const fn new(factor: u32, prime: u32) -> Self {
        Self { factor, quotient: (((factor as u64) << 32) / prime as u64) as u32 }
    }

    /// x·factor modulo p, below 2p, for any x (see [`super::Lanes::times`]).
    #[inline(always)]
    pub(in crate::hint) fn times(self, x: u32, prime: u32) -> u32 {
        let quotient = ((u64::from(x) * u64::from(self.quotient)) >> 32) as u32;
        x.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(prime))
    }
}

/// Powers of the root, or of its inverse, for five layers of a block: two, two and one at a time.
/// Each entry of the first two holds the twiddle of its first layer, then both twiddles of its
/// second.
pub(super) struct Half {
    pub(super) first: [[Twiddle; 3]; 1],
    pub(super) second: [[Twiddle; 3]; 4],
    pub(super) last: [Twiddle; 16],
}

impl Half {
    /// For block `block` of the previous layers: layer d of them uses ψ^rev(block·2^d + i).
    fn new(block: usize, root: u32, prime: u32) -> Self {
        let twiddle = |i: usize| Twiddle::new(power(root, bit_reversed(i), prime), prime);
        let pair = |i: usize| [i, 2 * i, 2 * i + 1].map(twiddle);
        Self {
            first: [pair(block)],
            second: std::array::from_fn(|i| pair(4 * block + i)),
            last: std::array::from_fn(|i| twiddle(16 * block + i)),
        }
    }
}

/// All layers: five on the whole, five on each of 32 blocks.
pub(super) struct Layers {
    pub(super) outer: Half,
    pub(super) inner: [Half; SIDE],
}

impl Layers {
    fn new(root: u32, prime: u32) -> Self {
        Self {
            outer: Half::new(1, root, prime),
            inner: std::array::from_fn(|u| Half::new(SIDE + u, root, prime)),
        }
    }
}

/// Tables of the transform modulo one prime.
pub(super) struct Tables {
    pub(super) prime: u32,
    pub(super) forward: Layers,
    pub(super) inverse: Layers,
    pub(super) degree_inverse: Twiddle,
}

impl Tables {
    fn new(prime: u32, root: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "1024")]
        let degree = RING_DEGREE as u32;
        Self {
            prime,
            forward: Layers::new(root, prime),
            inverse: Layers::new(inverse(root, prime), prime),
            degree_inverse: Twiddle::new(inverse(degree, prime), prime),
        }
    }
}

/// Twiddle i of a bit-reversed transform is ψ^rev(i); i < n, so ten bits are reversed.
fn bit_reversed(i: usize) -> u64 {
    (i as u64).reverse_bits() >> (64 - RING_DEGREE.trailing_zeros())
}

/// 1/x modulo p (Fermat).
const fn inverse(x: u32, prime: u32) -> u32 {
    power(x, prime as u64 - 2, prime)
}

/// base^exponent modulo p.
#[expect(clippy::cast_possible_truncation, reason = "below the prime")]
const fn power(base: u32, mut exponent: u64, prime: u32) -> u32 {
    let prime = prime as u64;
    let (mut base, mut result) = (base as u64, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % prime;
        }
        base = base * base % prime;
        exponent >>= 1;
    }
    result as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moduli_are_prime_and_the_roots_have_order_2048() {
        for (prime, root) in PRIMES.into_iter().zip(ROOTS) {
            let divisors = (2..).take_while(|divisor| divisor * divisor <= prime);
            assert!(divisors.into_iter().all(|divisor| prime % divisor != 0), "{prime}");
            assert_eq!(power(root, 1024, prime), prime - 1);
        }
        let [p, q] = PRIMES;
        assert_eq!(u64::from(LIFT.factor) * u64::from(p) % u64::from(q), 1);
    }
}
