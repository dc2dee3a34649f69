//! How many bits of each bucket's number a client sends (engine.md §9, "Fewer bits per bucket").
//!
//! A client may round its `b_j` to multiples of m = 2^(32−k) and send k bits of each. What is
//! rounded is public, so this costs no security; it adds m²/12 to the variance of each bucket's
//! error. In the terms of [`crate::params`], with σ² = 11² + 1/12 for what is rounded to integers:
//!
//! ```text
//! σ_total² = (t/q)²·C·E[D²]·(σ² + m²/12) + (n/12)·σ² + 1/6              margin = t/2p = 2016
//! ```
//!
//! where 1/6 is the rounding of c' and of a byte's own place, 1/12 each. [`bucket_bits`] is the least k
//! from 24 to 32 that leaves the margin at 8.6·σ_total or more. For 2^14 rows, the most there are, Mills'
//! bound of both tails gives a failure below 2^-42: the scan's 2^-40 holds whatever R, and k depends on C
//! alone. Only integers are compared, so that all machines agree.
//!
//! | C up to | k | deviations at that C |
//! |---|---|---|
//! | 24,576 | 24 | 8.71 |
//! | 94,208 | 25 | 8.64 |
//! | 305,152 | 26 | 8.61 |
//! | 685,056 | 27 | 8.60 |
//! | 992,256 | 28 | 8.60 |
//! | 1,048,576 | 29 | 8.83 |
//!
//! So 25 bits at 2^16, 26 at 2^17 and 2^18, 29 at 2^20; `tests/rounding.rs` measures them. engine.md's
//! simulated figures, of one query each, lie one to four per cent below the formula; its 27 bits at 2^18
//! and 32 at 2^20 were picked by hand, with margins of 11.9 and 8.9.

use crate::params::{DELTA, PLAINTEXT_MODULUS, RING_DEGREE};

/// Fewest bits of a bucket's number that are ever sent.
pub const FEWEST_BUCKET_BITS: u32 = 24;
/// Tenths of σ_total that the margin must be.
const DEVIATIONS: u64 = 86;

/// 12·σ²: a Gaussian of deviation 11, rounded to integers.
const ERROR: u64 = 12 * 121 + 1;
/// 2·E\[D²\] of a uniform byte from −128 to 127.
const SQUARE: u64 = 10_923;
/// (q/t)², rounded up; so is what it multiplies.
const RATIO: u64 = {
    let t = PLAINTEXT_MODULUS as u64;
    // t is odd, so t² does not divide 2^64.
    u64::MAX / (t * t) + 1
};
/// 24·(q/t)²·(n/12·σ² + 1/6).
const PRODUCT: u64 = (RING_DEGREE as u64 * ERROR / 6 + 5) * RATIO;
/// 24·(q/t)²·(margin/8.6)², where q/t times the margin is Δ/2.
const MOST: u64 = 24 * 100 * (DELTA as u64 / 2) * (DELTA as u64 / 2) / (DEVIATIONS * DEVIATIONS);

/// 24·(q/t)²·σ_total². At most 2^20·10923·(1453 + 2^16) + 2^43 < 2^50.
const fn noise(buckets: u32, bits: u32) -> u64 {
    let step = 1u64 << (32 - bits);
    buckets as u64 * SQUARE * (ERROR + step * step) + PRODUCT
}

/// k: the fewest bits of each number that a query over so many buckets may keep.
pub(super) fn bucket_bits(buckets: u32) -> u32 {
    (FEWEST_BUCKET_BITS..32).find(|bits| noise(buckets, *bits) <= MOST).unwrap_or(32)
}

// The largest matrix has its margin.
const _: () = assert!(noise(crate::params::MAX_BUCKETS, 32) <= MOST);

/// A bucket's number rounded to the nearest multiple of 2^(32−`bits`), modulo 2^32; `bits` from 1
/// to 32. Its upper `bits` bits are what is sent.
///
/// Halves go to the even multiple. Always up would shift every number by a half on average, and the sum of
/// every row, whose bytes are −½ on average, by C/4: 0.28 deviations at C = 2^20. Δ is an even multiple for 24
/// bits and more, so that it does not matter whether it was added before. Constant time.
pub fn round_word(word: u32, bits: u32) -> u32 {
    let dropped = 32u32.saturating_sub(bits);
    let Some(half) = dropped.checked_sub(1).map(|last| 1u32 << last.min(31)) else { return word };
    let odd = word.checked_shr(dropped).unwrap_or(0) & 1;
    let rounded = word.wrapping_add(half - 1 + odd);
    rounded & u32::MAX.checked_shl(dropped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::params::{BYTE_VALUES, MAX_BUCKET_BYTES, MAX_BUCKETS, STANDARD_DEVIATION};

    /// The formula of the documentation in floating point: deviations in the margin.
    fn deviations(buckets: u32, bits: u32) -> f64 {
        let (t, q) = (f64::from(PLAINTEXT_MODULUS), 2f64.powi(32));
        let square = (-128..128).map(|d| f64::from(d).powi(2)).sum::<f64>() / 256.0;
        let error = STANDARD_DEVIATION.powi(2) + 1.0 / 12.0;
        let step = if bits == 32 { 0.0 } else { 2f64.powi(32 - bits as i32) };
        let scan = (t / q).powi(2) * f64::from(buckets) * square * (error + step * step / 12.0);
        let total = scan + RING_DEGREE as f64 / 12.0 * error + 1.0 / 6.0;
        t / (2.0 * f64::from(BYTE_VALUES)) / total.sqrt()
    }

    /// log2 of a bound of the probability that any of 2^14 rows comes out wrong (Mills).
    fn failure(deviations: f64) -> f64 {
        let density = -deviations * deviations / 2.0 / std::f64::consts::LN_2;
        let tails = 1.0 - (std::f64::consts::TAU.sqrt() * deviations).log2();
        f64::from(MAX_BUCKET_BYTES).log2() + tails + density
    }

    #[test]
    fn the_fewest_bits_that_keep_failures_below_two_to_the_minus_40() {
        let mut before = FEWEST_BUCKET_BITS;
        for buckets in (1024..=MAX_BUCKETS).step_by(1024) {
            let bits = bucket_bits(buckets);
            assert!((FEWEST_BUCKET_BITS..=32).contains(&bits) && bits >= before, "C = {buckets}");
            let kept = deviations(buckets, bits);
            assert!(kept >= 8.6 && failure(kept) < -40.0, "C = {buckets}, {bits} bits: {kept}");
            if bits > FEWEST_BUCKET_BITS {
                let fewer = deviations(buckets, bits - 1);
                assert!(fewer < 8.601, "C = {buckets}: {} bits leave {fewer}", bits - 1);
            }
            before = bits;
        }
        assert!((-43.0..-42.0).contains(&failure(8.6)), "{}", failure(8.6));
    }

    #[test]
    fn the_table_is_right() {
        let ends = [(24_576, 24), (94_208, 25), (305_152, 26), (685_056, 27), (992_256, 28)];
        for (buckets, bits) in ends {
            assert_eq!((bucket_bits(buckets), bucket_bits(buckets + 1024)), (bits, bits + 1));
            assert!((8.6..8.72).contains(&deviations(buckets, bits)));
        }
        assert_eq!([1024, 1 << 16, 1 << 17, 1 << 18].map(bucket_bits), [24, 25, 26, 26]);
        assert_eq!(bucket_bits(MAX_BUCKETS), 29);
        assert!((8.8..8.9).contains(&deviations(MAX_BUCKETS, 29)));
    }

    #[test]
    fn halves_go_to_the_even_multiple() {
        for (word, rounded) in [
            (0x0000_0080, 0),
            (0x0000_0180, 0x200),
            (0x0000_0181, 0x200),
            (0x0000_0280, 0x200),
            (0xffff_ff7f, 0xffff_ff00),
            (0xffff_ff80, 0),
            (u32::MAX, 0),
        ] {
            assert_eq!(round_word(word, 24), rounded, "{word:x}");
        }
        // All remainders together: no shift.
        let errors = (0..1 << 10).map(|word| i64::from(round_word(word, 23)) - i64::from(word));
        assert_eq!(errors.sum::<i64>(), 0);
    }

    proptest! {
        /// What is rounded away does not depend on the bucket that is asked for.
        #[test]
        fn the_selected_bucket_is_rounded_as_the_others(word: u32, bits in FEWEST_BUCKET_BITS..=32) {
            let selected = round_word(word.wrapping_add(DELTA), bits);
            prop_assert_eq!(selected, round_word(word, bits).wrapping_add(DELTA));
        }

        #[test]
        fn nothing_is_nearer(word: u32, bits in 1u32..=32) {
            let step = 1i64 << (32 - bits);
            let rounded = i64::from(round_word(word, bits));
            prop_assert_eq!(rounded % step, 0);
            // The error in the ring of integers modulo 2^32.
            let error = (rounded - i64::from(word) + (1 << 31)).rem_euclid(1 << 32) - (1 << 31);
            prop_assert!(2 * error.abs() <= step);
            if 2 * error.abs() == step {
                prop_assert_eq!(rounded / step % 2, 0);
            }
        }
    }
}
