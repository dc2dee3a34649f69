//! Multiply-accumulate over raw residues.
//!
//! For one prime `p < 2^35` and 32 products, `Σ_b d_b·x_b ≤ 32·(p−1)² < 2^75`. The sum fits well
//! into a u128 and is reduced once. SEAL's `MultiplyPlain` and `Add` reduce after every product,
//! and read and write the accumulator in memory 32 times.

use opaque_pir::params::COEFFICIENT_MODULUS;

use crate::bfv::DATA_PRIMES;

/// Residues per block.
pub(crate) const LANES: usize = 8;
/// Number of rotations of the secret that are kept, and of diagonals per giant step.
pub(crate) const BABY_STEPS: usize = 32;

/// Eight residues of each of the 32 diagonals of one giant step.
pub(crate) type Diagonals = [[u64; LANES]; BABY_STEPS];
/// The same eight residues of the two polynomials of each of the 32 rotations of the secret.
pub(crate) type Rotations = [[[u64; LANES]; 2]; BABY_STEPS];

/// Bits of the sum of 32 products.
const SUM_BITS: u32 = 75;
const PRIME_BITS: u32 = 35;

/// Preconditions of `reduce`: `2^34 ≤ p < 2^35`, and at most 2^5 products.
const _: () = {
    let [first, second, _] = COEFFICIENT_MODULUS;
    assert!(first >> (PRIME_BITS - 1) == 1 && second >> (PRIME_BITS - 1) == 1);
    assert!(BABY_STEPS == 1 << (SUM_BITS - 2 * PRIME_BITS) && DATA_PRIMES == 2);
};

/// A prime of 35 bits with its Barrett ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prime {
    value: u64,
    /// `⌊2^75 / p⌋`, at most 41 bits.
    ratio: u64,
}

impl Prime {
    /// The primes of fresh ciphertexts.
    pub(crate) fn data() -> [Self; DATA_PRIMES] {
        let [first, second, _] = COEFFICIENT_MODULUS;
        [first, second].map(|value| {
            #[expect(clippy::cast_possible_truncation, reason = "2^75 / 2^34 has 42 bits")]
            let ratio = ((1_u128 << SUM_BITS) / u128::from(value)) as u64;
            Self { value, ratio }
        })
    }

    /// `x mod p` for `x < 2^75` (Barrett; Handbook of Applied Cryptography, 14.42).
    ///
    /// `⌊x/2^34⌋·⌊2^75/p⌋ / 2^41` is below `x/p` by less than 1 for each of the three roundings,
    /// because `2^34 ≤ p` and `x < 2^75`. The remainder is therefore below `3p`, and two
    /// subtractions suffice.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "x >> 34 and the quotient have 41 bits; the rest is mod 2^64"
    )]
    fn reduce(self, x: u128) -> u64 {
        let high = (x >> (PRIME_BITS - 1)) as u64;
        let quotient =
            ((u128::from(high) * u128::from(self.ratio)) >> (SUM_BITS - PRIME_BITS + 1)) as u64;
        let rest = (x as u64).wrapping_sub(quotient.wrapping_mul(self.value));
        let rest = if rest >= self.value { rest - self.value } else { rest };
        if rest >= self.value { rest - self.value } else { rest }
    }
}

/// `Σ_b diagonals[b]·rotations[b]` modulo `prime`, for both polynomials, lane by lane.
///
/// All residues are below the prime.
#[inline]
#[expect(
    clippy::indexing_slicing,
    reason = "a lane is below LANES, the length of every array here"
)]
pub(crate) fn multiply_accumulate(
    prime: Prime,
    diagonals: &Diagonals,
    rotations: &Rotations,
) -> [[u64; LANES]; 2] {
    let mut sums = [[0; LANES]; 2];
    for lane in 0..LANES {
        let (mut first, mut second) = (0, 0);
        for (diagonal, [c0, c1]) in diagonals.iter().zip(rotations) {
            let diagonal = u128::from(diagonal[lane]);
            first += diagonal * u128::from(c0[lane]);
            second += diagonal * u128::from(c1[lane]);
        }
        sums[0][lane] = prime.reduce(first);
        sums[1][lane] = prime.reduce(second);
    }
    sums
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A wrong bound would fail first with the largest residues.
    #[test]
    fn largest_sum() {
        for prime in Prime::data() {
            let top = prime.value - 1;
            let sums = multiply_accumulate(
                prime,
                &[[top; LANES]; BABY_STEPS],
                &[[[top; LANES]; 2]; BABY_STEPS],
            );
            // (p−1)² = 1 mod p.
            assert_eq!(sums, [[32; LANES]; 2]);
        }
    }

    proptest! {
        #[test]
        fn reduces(x in 0_u128..1 << SUM_BITS) {
            for prime in Prime::data() {
                prop_assert_eq!(u128::from(prime.reduce(x)), x % u128::from(prime.value));
            }
        }

        #[test]
        fn matches_the_naive_sum(seed: u64) {
            for prime in Prime::data() {
                let mut state = seed;
                let mut next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 20) % prime.value
                };
                let diagonals: Diagonals = std::array::from_fn(|_| std::array::from_fn(|_| next()));
                let rotations: Rotations =
                    std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| next())));
                let sums = multiply_accumulate(prime, &diagonals, &rotations);
                for (polynomial, sums) in sums.iter().enumerate() {
                    for (lane, sum) in sums.iter().enumerate() {
                        let naive = (0..BABY_STEPS).fold(0, |naive, b| {
                            (naive + u128::from(diagonals[b][lane]) * u128::from(rotations[b][polynomial][lane]))
                                % u128::from(prime.value)
                        });
                        prop_assert_eq!(u128::from(*sum), naive);
                    }
                }
            }
        }
    }
}
