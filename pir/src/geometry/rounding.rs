//! Number of bits that a client sends per bucket's number, and receives per row.
//!
//! A client may round its `b_j` to multiples of m = 2^(32−k) and send k bits of each. The
//! coordinator rounds each row's sum once and sends y bits of it. Which bits are rounded is public,
//! so this does not affect security. With C buckets, R rows, whitened bytes (2·E\[D²\] = 10,923)
//! and σ² = 11² + 1/12, in units of 2^-32:
//!
//! ```text
//! scan      C·E[D²]·(σ² + m²/12)
//! product   (0.02625·2^23)²                the hint product: pir/secrets/src/inline/noise.rs
//! public    2048·2/3/12·2^28               a public part of 18 bits times a ternary key
//! margin    2^23·(1 − 2^(8−y))             half a byte's step, less what rounding to y bits takes
//! ```
//!
//! With z deviations in the margin, subgaussian noise exceeds it in any of R rows with probability
//! at most 2R·exp(−z²/2). This is below 2^-40 for z² >= 2·ln 2·(41 + log2 R): 8.2 at 256 rows, 8.9
//! at 65,536. The variance is a mean over data and public elements, and m²/12 leaves out the ties'
//! 2/12, so that the bound holds up to half a bit (docs/ENGINE.md §9). Among all k and y that leave
//! this margin, the pair with the smallest C·k + R·y is used, and among equals the one with the
//! smaller k. The computation compares integers only, so that all machines agree. Nothing here is
//! negotiated: a client derives it from the geometry.
//!
//! Registered keys use the same k. Their margin is that of the modulus switch to t
//! ([`crate::params`]). The same bound holds at every geometry; a test computes it.

use crate::params::{MAX_BUCKET_BYTES, MAX_BUCKETS};

/// Minimum and maximum bits of a bucket's number.
const BUCKET_BITS: std::ops::RangeInclusive<u32> = 20..=32;
/// Minimum and maximum bits of a row.
const ROW_BITS: std::ops::RangeInclusive<u32> = 9..=12;

/// 12·σ²: a Gaussian of deviation 11, rounded to integers.
const ERROR: u64 = 12 * 121 + 1;
/// 2·E\[D²\] of a uniform byte from −128 to 127.
const SQUARE: u64 = 10_923;
/// 24 times the sum of the variances of product, public part, and rounding of a product to 32 bits.
const PRODUCT: u64 = 1_896_772_312_806;
/// 10^6·2·ln 2, rounded up.
const DEVIATIONS: u128 = 1_386_295;

/// Numbers of transferred bits, for given numbers of buckets and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    /// k: bits of each bucket's number that a query keeps. 1024 of them are whole bytes. See
    /// [`round_word`].
    pub bucket_bits: u32,
    /// y: bits of each row of an answer. 256 of them are whole bytes.
    pub row_bits: u32,
}

impl Rounding {
    /// The rounding of an index with this number of buckets and this bucket size.
    pub(super) fn of(buckets: u32, bucket_bytes: u32) -> Self {
        let pairs = BUCKET_BITS.flat_map(|k| ROW_BITS.map(move |y| (k, y)));
        let fits = pairs.filter(|(k, y)| fits(buckets, bucket_bytes, *k, *y));
        let bits = |(k, y): &(u32, u32)| {
            let (buckets, rows) = (u64::from(buckets), u64::from(bucket_bytes));
            (buckets * u64::from(*k) + rows * u64::from(*y), *k)
        };
        let (bucket_bits, row_bits) = fits.min_by_key(bits).unwrap_or(LARGEST);
        Self { bucket_bits, row_bits }
    }
}

/// The values of the largest matrix, which suffice for any.
const LARGEST: (u32, u32) = (30, 12);
const _: () = assert!(fits(MAX_BUCKETS, MAX_BUCKET_BYTES, LARGEST.0, LARGEST.1));

/// Whether the margin holds: (2^23·(2^y − 2^8)/2^y)² >= z²·variance, both sides times
/// 24·10^6·2^(2y).
const fn fits(buckets: u32, bucket_bytes: u32, bucket_bits: u32, row_bits: u32) -> bool {
    let step = 1u64 << (32 - bucket_bits);
    // Below 2^20·2^14·2^25.
    let scan = buckets as u64 * SQUARE * (ERROR + step * step);
    let rows = bucket_bytes.next_power_of_two().trailing_zeros() as u128;
    let needed = DEVIATIONS * (41 + rows) * (scan + PRODUCT) as u128;
    let margin = (1u128 << row_bits) - (1 << 8);
    ((margin * margin) << 46) * 24_000_000 >= needed << (2 * row_bits)
}

/// A bucket's number rounded to the nearest multiple of 2^(32−`bits`), modulo 2^32; `bits` is from
/// 1 to 32. The upper `bits` bits are sent.
///
/// Ties are rounded to the even multiple. If they were always rounded up, every number would be
/// shifted by a half on average, and the sum of every row, whose bytes average −½, by C/4: 0.3
/// deviations at C = 2^20. For 9 bits and more, Δ is an even multiple, so it does not matter
/// whether it was added before. Constant time.
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

    use super::super::BUCKET_SIZES;
    use super::*;
    use crate::params::{BYTE_VALUES, DELTA, PLAINTEXT_MODULUS, RING_DEGREE, STANDARD_DEVIATION};

    /// Variance of the scan, in units of 2^-32.
    fn scan(buckets: u32, bits: u32) -> f64 {
        let square = (-128..128).map(|d| f64::from(d).powi(2)).sum::<f64>() / 256.0;
        let error = STANDARD_DEVIATION.powi(2) + 1.0 / 12.0;
        let step = if bits == 32 { 0.0 } else { 2f64.powi(32 - bits.cast_signed()) };
        f64::from(buckets) * square * (error + step * step / 12.0)
    }

    /// The formula of the documentation in floating point: deviations in the margin.
    fn deviations(buckets: u32, Rounding { bucket_bits, row_bits }: Rounding) -> f64 {
        let product = (0.026_250_467 * 2f64.powi(23)).powi(2);
        let public = 2048.0 * 2.0 / 3.0 / 12.0 * 2f64.powi(28);
        let margin = 2f64.powi(23) * (1.0 - 2f64.powi(8 - row_bits.cast_signed()));
        margin / (scan(buckets, bucket_bits) + product + public).sqrt()
    }

    /// Deviations in the margin of registered keys.
    fn registered(buckets: u32, bits: u32) -> f64 {
        let (t, q) = (f64::from(PLAINTEXT_MODULUS), 2f64.powi(32));
        let error = STANDARD_DEVIATION.powi(2) + 1.0 / 12.0;
        let switched = RING_DEGREE as f64 / 12.0 * error + 1.0 / 6.0;
        let total = (t / q).powi(2) * scan(buckets, bits) + switched;
        t / (2.0 * f64::from(BYTE_VALUES)) / total.sqrt()
    }

    /// For all geometries: the formula's bound stays below 2^-40, with registered keys too, and no
    /// pair with fewer bits achieves that.
    #[test]
    fn the_fewest_bits_that_keep_failures_below_two_to_the_minus_40() {
        for rows in BUCKET_SIZES {
            for buckets in (1024..=MAX_BUCKETS).step_by(1024) {
                let rounding = Rounding::of(buckets, rows);
                let kept = deviations(buckets, rounding);
                let failure =
                    1.0 + f64::from(rows).log2() - kept * kept / 2.0 / std::f64::consts::LN_2;
                assert!(failure < -40.0, "C = {buckets}, R = {rows}: {rounding:?}, 2^{failure}");
                // Mills' bound of both tails.
                let kept = registered(buckets, rounding.bucket_bits);
                let tails = 1.0 - (std::f64::consts::TAU.sqrt() * kept).log2();
                let failure =
                    f64::from(rows).log2() + tails - kept * kept / 2.0 / std::f64::consts::LN_2;
                assert!(failure < -40.0, "C = {buckets}, R = {rows}: {rounding:?}, 2^{failure}");
                let bits = |k: u32, y: u32| {
                    u64::from(buckets) * u64::from(k) + u64::from(rows) * u64::from(y)
                };
                let Rounding { bucket_bits: k, row_bits: y } = rounding;
                for (k2, y2) in BUCKET_BITS.flat_map(|k| ROW_BITS.map(move |y| (k, y))) {
                    assert!(!fits(buckets, rows, k2, y2) || (bits(k2, y2), k2) >= (bits(k, y), k));
                }
            }
        }
    }

    #[test]
    fn the_designs_sizes_come_out() {
        for (buckets, rows, expected) in [
            (1024, 256, (22, 10)),
            (131_072, 8192, (26, 10)),
            (44_032, 24_576, (25, 10)),
            (32_768, 32_768, (25, 10)),
            (65_536, 16_384, (25, 11)),
            (1 << 20, 16_384, (29, 12)),
            (1 << 20, 65_536, (30, 12)),
        ] {
            let Rounding { bucket_bits, row_bits } = Rounding::of(buckets, rows);
            assert_eq!((bucket_bits, row_bits), expected, "C = {buckets}, R = {rows}");
        }
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
        // With all remainders together, the errors cancel.
        let errors = (0..1 << 10).map(|word| i64::from(round_word(word, 23)) - i64::from(word));
        assert_eq!(errors.sum::<i64>(), 0);
    }

    proptest! {
        /// The rounding error does not depend on the selected bucket.
        #[test]
        fn the_selected_bucket_is_rounded_as_the_others(word: u32, bits in BUCKET_BITS) {
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
