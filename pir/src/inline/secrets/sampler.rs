//! Sampling of a lookup's key and errors, exact and in constant time.
//!
//! - The key is uniform over −1, 0, 1: `⌊3u/2^64⌋ − 1` of a uniform 64-bit u, off by less than 2^-64.
//! - Errors are X = ⌊N(0, σ²)⌉ with σ = 3.2, so `P(|X| ≥ m) = erfc((m − ½)/(σ√2))`. [`TAILS`] holds
//!   those numbers times 2^64, as the scan's sampler in `opaque-client` does for its σ. With u uniform
//!   in 0..2^64, the count of entries above u is a magnitude of exactly that distribution up to 2^-65
//!   per entry; a further bit is the sign. Variance σ² + 1/12 = 10.323 (Sheppard), so deviation 3.213;
//!   never beyond 30. The security estimates of engine.md are for 3.2.
//!
//! Every sample compares with every entry and reads all of them, so that neither time nor memory
//! access depends on u. [`TAILS`]' entries were computed with 120 digits; the tests compute them
//! again by another way.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::variants::Ietf;
use chacha20::{ChaCha20, ChaChaCore, R20};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::inline::N;

/// Uniform bytes that a sample uses: eight for the magnitude, one for an error's sign.
const SAMPLE_BYTES: usize = 9;
/// Samples drawn at a time: a whole number of the cipher's blocks, so that none of them stays in its
/// buffer.
const SAMPLES: usize = 64;
const _: () = assert!((SAMPLES * SAMPLE_BYTES).is_multiple_of(64) && N.is_multiple_of(SAMPLES));

/// The cipher's state holds the seed and must be cleared when dropped, which only a feature of its
/// crate makes it do: without it, this does not compile.
const _: fn() = || {
    fn cleared<T: ZeroizeOnDrop>() {}
    cleared::<ChaChaCore<R20, Ietf>>();
};

/// The stream of the key; errors have small numbers.
const KEY_LANE: u32 = u32::MAX;

/// The key of a seed.
pub(super) fn ternary(seed: &[u8; 32], values: &mut [i32; N]) {
    fill(seed, KEY_LANE, values, |bytes| {
        let [b0, b1, b2, b3, b4, b5, b6, b7, _] = *bytes;
        let third = u128::from(u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])) * 3;
        let [third, ..] = (third >> 64).to_le_bytes();
        i32::from(third) - 1
    });
}

/// The errors of one of a seed's polynomials.
pub(super) fn gaussian(seed: &[u8; 32], polynomial: u32, values: &mut [i32; N]) {
    fill(seed, polynomial, values, sample);
}

/// One sample for each value, from one of the seed's independent streams.
fn fill(
    seed: &[u8; 32],
    lane: u32,
    values: &mut [i32; N],
    sample: impl Fn(&[u8; SAMPLE_BYTES]) -> i32,
) {
    let mut nonce = [0u8; 12];
    let (head, _) = nonce.split_at_mut(4);
    head.copy_from_slice(&lane.to_le_bytes());
    let mut stream = ChaCha20::new(seed.into(), (&nonce).into());
    let mut uniform = Zeroizing::new([0u8; SAMPLE_BYTES * SAMPLES]);
    for block in values.chunks_exact_mut(SAMPLES) {
        uniform.zeroize();
        stream.apply_keystream(uniform.as_mut_slice());
        for (value, bytes) in block.iter_mut().zip(uniform.as_chunks().0) {
            *value = sample(bytes);
        }
    }
}

/// One error from nine uniform bytes.
fn sample(bytes: &[u8; SAMPLE_BYTES]) -> i32 {
    let [b0, b1, b2, b3, b4, b5, b6, b7, sign] = *bytes;
    let u = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    let magnitude: i32 = TAILS.iter().map(|&tail| i32::from(u < tail)).sum();
    // Two's complement negation where the bit is set, without a branch.
    let mask = -i32::from(sign & 1);
    (magnitude ^ mask) - mask
}

/// Entry `m − 1` is `round(2^64 · P(|X| ≥ m))`; the first that would be zero is left out.
#[rustfmt::skip]
const TAILS: [u64; 30] = [
    0xe036c93046fd4c74, 0xa3a5c7875aaece23, 0x6f4594ba80918356, 0x462919a3d1ba563a,
    0x28ded0e25d90990f, 0x15edceb3b3c8c20f, 0x0acf8fcd737530e5, 0x04e325360bf4949b,
    0x0205d531c3ef85a0, 0x00c3f62f299f9a66, 0x0043baeef544f300, 0x00155c93c3790c2d,
    0x000624b03740e19d, 0x00019c265f4770af, 0x0000625fd73cecff, 0x0000156045484817,
    0x0000043a17e075a9, 0x000000c2a81e2485, 0x0000001fd89d9363, 0x00000004bcb7436f,
    0x00000000a3fbd63e, 0x0000000014272817, 0x00000000024027ac, 0x00000000003a75b5,
    0x000000000005637a, 0x0000000000007380, 0x00000000000008c8, 0x000000000000009b,
    0x000000000000000a, 0x0000000000000001,
];

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small")]
mod tests {
    use super::*;
    use crate::inline::ERROR_DEVIATION;

    /// P(|X| ≥ m) = 2·∫_{m−½}^∞ of the normal density, by Simpson's rule.
    fn tail(m: usize) -> f64 {
        let density = |x: f64| (-(x / ERROR_DEVIATION).powi(2) / 2.0).exp();
        let (start, step, steps) = (m as f64 - 0.5, 1e-3, 60_000);
        let weight = |i: usize| if i == 0 || i == steps { 1.0 } else { [2.0, 4.0][i % 2] };
        let sum: f64 = (0..=steps).map(|i| weight(i) * density(start + i as f64 * step)).sum();
        2.0 * sum * step / 3.0 / (ERROR_DEVIATION * std::f64::consts::TAU.sqrt())
    }

    #[test]
    fn tails_are_those_of_the_rounded_gaussian() {
        for (m, entry) in (1..).zip(TAILS) {
            let expected = tail(m) * 2f64.powi(64);
            let slack = expected * 1e-9 + 0.6;
            assert!((entry as f64 - expected).abs() <= slack, "entry {m}: {entry}, {expected}");
        }
        assert!(tail(31) * 2f64.powi(64) < 0.5);
        let square = |m: usize, tail: &u64| (2 * m + 1) as f64 * *tail as f64 / 2f64.powi(64);
        let variance: f64 = TAILS.iter().enumerate().map(|(m, tail)| square(m, tail)).sum();
        assert!((variance - ERROR_DEVIATION.powi(2) - 1.0 / 12.0).abs() < 1e-6);
    }

    #[test]
    fn samples_follow_the_tables() {
        let bytes = |u: u64, sign: u8| {
            let mut bytes = [sign; SAMPLE_BYTES];
            bytes[..8].copy_from_slice(&u.to_le_bytes());
            bytes
        };
        assert_eq!(sample(&bytes(u64::MAX, 0)), 0);
        assert_eq!(sample(&bytes(u64::MAX, 1)), 0);
        assert_eq!(sample(&bytes(TAILS[0], 0)), 0);
        assert_eq!(sample(&bytes(TAILS[0] - 1, 0)), 1);
        assert_eq!(sample(&bytes(TAILS[0] - 1, 1)), -1);
        assert_eq!(sample(&bytes(0, 1)), -30);
    }

    #[test]
    fn moments_are_right() {
        let (mut square, mut thirds, mut mean) = (0.0, [0f64; 3], 0.0);
        let mut values = [0; N];
        for polynomial in 0..64 {
            gaussian(&[7; 32], polynomial, &mut values);
            assert!(values.iter().all(|e| e.abs() <= 30));
            square += values.iter().map(|e| f64::from(e * e)).sum::<f64>();
            mean += values.iter().map(|e| f64::from(*e)).sum::<f64>();
            ternary(&[polynomial as u8; 32], &mut values);
            values.iter().for_each(|k| thirds[usize::try_from(k + 1).unwrap()] += 1.0);
        }
        let count = 64.0 * N as f64;
        // Five deviations of each: √(2/count) relative, 3.2/√count, √(2/9/count).
        assert!((square / count / 10.3233 - 1.0).abs() < 0.014);
        assert!((mean / count).abs() < 0.032);
        assert!(thirds.iter().all(|third| (third / count - 1.0 / 3.0).abs() < 0.005));
    }

    #[test]
    fn streams_are_independent_and_reproducible() {
        let mut polynomials = [[0; N]; 4];
        let [first, second, other, again] = &mut polynomials;
        gaussian(&[1; 32], 0, first);
        gaussian(&[1; 32], 1, second);
        gaussian(&[2; 32], 0, other);
        gaussian(&[1; 32], 0, again);
        assert!(first != second && first != other && first == again);
    }
}
