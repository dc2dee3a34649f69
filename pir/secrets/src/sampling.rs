//! Exact, constant-time sampling of secrets and errors, for the client's half of both encryptions.
//!
//! - **Rounded Gaussian.** X = ⌊N(0, σ²)⌉, so `P(|X| ≥ m) = erfc((m − ½)/(σ√2))`. A table holds
//!   these probabilities times 2^64. With u uniform in 0..2^64, the number of entries above u is a
//!   magnitude with that distribution, up to 2^-65 per entry. One more bit is the sign.
//! - **Ternary.** Uniform over −1, 0, 1: `⌊3u/2^64⌋ − 1`, with an error below 2^-64.
//!
//! Every sample is compared with every entry, so that neither time nor memory access depends on u.

mod tails;

#[cfg(test)]
mod tests;

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::variants::Ietf;
use chacha20::{ChaCha20, ChaChaCore, R20};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use tails::{RING_ERRORS, SCAN_ERRORS};

/// Uniform bytes per sample: eight for u, one for a sign.
const SAMPLE_BYTES: usize = 9;
/// Number of samples drawn at a time. Their bytes are a whole number of the cipher's blocks.
const SAMPLES: usize = 64;
const _: () = assert!((SAMPLES * SAMPLE_BYTES).is_multiple_of(64));

/// The cipher's state holds the seed and must be cleared on drop, which a feature of its crate
/// enables. Without that feature, this does not compile.
const _: fn() = || {
    fn cleared<T: ZeroizeOnDrop>() {}
    cleared::<ChaChaCore<R20, Ietf>>();
};

/// A stream of samples, a pure function of its seed. The seed is as secret as the samples.
///
/// [`Stream::fill`] draws whole blocks of 64 bytes, so that none remains in the cipher's buffer,
/// which is not cleared.
pub struct Stream(ChaCha20);

impl Stream {
    /// The samples of a seed; `lane` selects one of its independent streams.
    pub fn new(seed: &[u8; 32], lane: u32) -> Self {
        let mut nonce = [0u8; 12];
        let (head, _) = nonce.split_at_mut(4);
        head.copy_from_slice(&lane.to_le_bytes());
        Self(ChaCha20::new(seed.into(), (&nonce).into()))
    }

    /// Passes one sample for each element of `values` to `put`.
    pub fn fill<T>(
        &mut self,
        distribution: &impl Distribution,
        values: &mut [T],
        mut put: impl FnMut(&mut T, i32),
    ) {
        let mut uniform = Zeroizing::new([0u8; SAMPLE_BYTES * SAMPLES]);
        for block in values.chunks_mut(SAMPLES) {
            uniform.zeroize();
            self.0.apply_keystream(uniform.as_mut_slice());
            for (value, bytes) in block.iter_mut().zip(uniform.as_chunks::<SAMPLE_BYTES>().0) {
                let [u @ .., sign] = *bytes;
                put(value, distribution.sample(u64::from_le_bytes(u), sign));
            }
        }
    }
}

/// A distribution of samples.
pub trait Distribution {
    /// One sample in constant time, from 64 uniform bits and a byte of which one bit is used.
    fn sample(&self, u: u64, sign: u8) -> i32;
}

/// A rounded Gaussian. Entry `m − 1` is `round(2^64 · P(|X| ≥ m))`; entries that would be zero are
/// omitted.
pub struct Gaussian<const T: usize>([u64; T]);

impl<const T: usize> Distribution for Gaussian<T> {
    fn sample(&self, u: u64, sign: u8) -> i32 {
        let magnitude: i32 = self.0.iter().map(|&tail| i32::from(u < tail)).sum();
        // Two's complement negation if the bit is set, without a branch.
        let mask = -i32::from(sign & 1);
        (magnitude ^ mask) - mask
    }
}

/// Uniform over −1, 0, 1.
pub struct Ternary;

impl Distribution for Ternary {
    fn sample(&self, u: u64, _sign: u8) -> i32 {
        let [third, ..] = ((u128::from(u) * 3) >> 64).to_le_bytes();
        i32::from(third) - 1
    }
}
