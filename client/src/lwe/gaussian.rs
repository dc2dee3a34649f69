//! Exact sampling of the rounded Gaussian, by a cumulative table and in constant time.
//!
//! X = ⌊N(0, σ²)⌉ with σ = 11, so `P(|X| ≥ m) = erfc((m − ½)/(σ√2))`. [`TAILS`] holds those numbers
//! times 2^64. With u uniform in 0..2^64, the count of entries above u is a magnitude of exactly
//! that distribution up to 2^-65 per entry; a further bit is the sign. Every sample compares with
//! every entry and reads all of them, so that neither time nor memory access depends on u.
//!
//! Each of [`TAILS`]' entries was computed with 200 bits of precision; the tests compute them again
//! by another way.

use chacha20::{
    ChaCha20, ChaChaCore, R20,
    cipher::{KeyIvInit, StreamCipher},
    variants::Ietf,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Uniform bytes that a sample uses: eight for the magnitude, one for the sign.
const SAMPLE_BYTES: usize = 9;
/// Samples drawn at a time: a whole number of the cipher's blocks.
const SAMPLES: usize = 64;
const _: () = assert!((SAMPLES * SAMPLE_BYTES).is_multiple_of(64));

/// The cipher's state holds the seed and must be cleared when dropped, which only a feature of its
/// crate makes it do: without it, this does not compile.
const _: fn() = || {
    fn cleared<T: ZeroizeOnDrop>() {}
    cleared::<ChaChaCore<R20, Ietf>>();
};

/// A stream of samples, a pure function of its seed. The seed is as secret as the samples.
///
/// [`Gaussian::fill`] takes whole blocks of 64 bytes, so none of them stays in the cipher's buffer,
/// which is not cleared.
pub(crate) struct Gaussian {
    stream: ChaCha20,
}

impl Gaussian {
    /// The samples of a seed; `lane` selects one of its independent streams.
    pub(crate) fn new(seed: &[u8; 32], lane: u32) -> Self {
        let mut nonce = [0u8; 12];
        let (head, _) = nonce.split_at_mut(4);
        head.copy_from_slice(&lane.to_le_bytes());
        Self { stream: ChaCha20::new(seed.into(), (&nonce).into()) }
    }

    /// Hands one sample for each element of `values` to `put`.
    pub(crate) fn fill<T>(&mut self, values: &mut [T], mut put: impl FnMut(&mut T, i32)) {
        let mut uniform = Zeroizing::new([0u8; SAMPLE_BYTES * SAMPLES]);
        for block in values.chunks_mut(SAMPLES) {
            uniform.zeroize();
            self.stream.apply_keystream(uniform.as_mut_slice());
            for (value, bytes) in block.iter_mut().zip(uniform.as_chunks().0) {
                put(value, sample(bytes));
            }
        }
    }
}

/// One sample from nine uniform bytes.
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
const TAILS: [u64; 102] = [
    0xf6b7fe1db5c7aab9, 0xe43b8f743d7919f7, 0xd1f9647fef9b53dc, 0xc016be173c278279,
    0xaeb68c0dea3d5b9a, 0x9df8a1dcd5389219, 0x8df90ad683487996, 0x7ecf83d012f9c328,
    0x708f1e20c597f3cc, 0x63460db24ac0f1e5, 0x56fda1b5b1cf02f0, 0x4bba658f6c8c4709,
    0x417c65ce6ea540e5, 0x383f939ed01dc942, 0x2ffc402ef6cd87b6, 0x28a7a8f5fe5fcb53,
    0x22348db12c8fdd3c, 0x1c93c93b65eb47db, 0x17b4e705531f807e, 0x1386afdb6a919a90,
    0x0ff7a9ba3f9851c2, 0x0cf6879ad8c04146, 0x0a72874b5185c9a0, 0x085bbc81730ca531,
    0x06a3494ec7b51540, 0x053b84edd6bcd7ff, 0x04181280f8ac68a8, 0x032de9cafc939c8b,
    0x0273542a96d561ae, 0x01dfe0380a39e253, 0x016c4e5755c7b3d3, 0x011278682a8cf5dc,
    0x00cd36800cf9ad1d, 0x00984251fd4e9414, 0x00701a98abfa89e5, 0x0051e78a4d1abd91,
    0x003b6113f6cd9817, 0x002ab7592ac3b779, 0x001e7dbc92b77dd5, 0x00159889d603b99a,
    0x000f2d35ad4457d7, 0x000a95103dc63570, 0x000752352bfba7e1, 0x0005067b5a19ac15,
    0x00036c227c3b842e, 0x00024ffd2864529d, 0x00018cd98abbe2b4, 0x000107f0582b42f9,
    0x0000ae28198d2949, 0x00007201ca374ec1, 0x00004a0a87ada48e, 0x00002fb4613ec1a8,
    0x00001e7e02884402, 0x00001355e3545886, 0x00000c29d52d9f08, 0x000007973bef2519,
    0x000004b30b2c557c, 0x000002e2db827152, 0x000001c2270d9b45, 0x000001101114f1c7,
    0x000000a31e7d4e40, 0x000000610430889d, 0x000000393d396756, 0x00000021800a5802,
    0x00000013730368c6, 0x0000000b337a77ba, 0x000000066627be71, 0x00000003a0564fa4,
    0x0000000209daec53, 0x0000000122fec108, 0x00000000a0f51742, 0x00000000585012cb,
    0x000000003010708c, 0x0000000019f2b05a, 0x000000000de532a1, 0x000000000761862e,
    0x0000000003e39422, 0x000000000208538b, 0x00000000010dbe70, 0x00000000008ab540,
    0x000000000046bfe7, 0x000000000023cb6e, 0x000000000011f68f, 0x000000000008f10b,
    0x0000000000046a32, 0x0000000000022981, 0x0000000000010ce0, 0x000000000000818d,
    0x0000000000003deb, 0x0000000000001d5a, 0x0000000000000dcd, 0x0000000000000670,
    0x00000000000002fa, 0x000000000000015e, 0x000000000000009f, 0x0000000000000048,
    0x0000000000000020, 0x000000000000000e, 0x0000000000000006, 0x0000000000000003,
    0x0000000000000001, 0x0000000000000001,
];

#[cfg(test)]
mod tests;
