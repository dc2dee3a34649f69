//! Polynomials modulo x^1024 + 1 with coefficients modulo 2^32, and their exact products.
//!
//! A product is computed over one 61-bit prime (that of `ntt::Ntt`) and reduced modulo 2^32. This
//! is exact as long as the integer result stays below half the prime. The bounds are stated where
//! they are used, and here once for all of them:
//!
//! ```text
//! p > 2^60, so |result| < 2^59 is exact.
//! hint:  |D| <= 2^7,  |a| <= 2^31, 2^10 terms, 2^10 partitions: 2^7 · 2^31 · 2^20 = 2^58
//! query: |s| <= 2^17, |a| <= 2^31, 2^10 terms:                  2^17 · 2^31 · 2^10 = 2^58
//! ```
//!
//! The hint of the largest matrix therefore needs no intermediate reduction modulo 2^32.

mod multiplier;
mod ntt;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

pub(crate) use ntt::{Factor, NTT, lift, signed_residue};

pub use multiplier::{Multiplier, Transformed};

use crate::params::RING_DEGREE;
use crate::seed::IndexSeed;

/// A ring element: coefficient of x^k at position k, modulo 2^32.
pub type Poly = [u32; RING_DEGREE];

/// The public ring element a_j of one partition of one searchable column (docs/ENGINE.md §4).
///
/// ChaCha20's keystream under a key that BLAKE3 derives from (seed, partition), read as
/// little-endian words. Both sides compute it, so it is never sent.
pub fn public_element(seed: &IndexSeed, partition: u32) -> Box<Poly> {
    let mut hash = seed.derive("opaque 2026-11 public ring element");
    hash.update(&partition.to_le_bytes());
    let key = *hash.finalize().as_bytes();
    // The key is used only for this stream, so the nonce may be constant.
    let mut cipher = ChaCha20::new(&key.into(), &[0; 12].into());
    let mut stream = [0u8; RING_DEGREE * 4];
    cipher.apply_keystream(&mut stream);
    let mut element = Box::new([0; RING_DEGREE]);
    let (words, _) = stream.as_chunks();
    for (coefficient, word) in element.iter_mut().zip(words) {
        *coefficient = u32::from_le_bytes(*word);
    }
    element
}

/// Row `k` of the negacyclic matrix A of `a`, for which (a·s)\[k\] = Σ_i A\[k\]\[i\]·s\[i\]:
/// A\[k\]\[i\] = a\[k−i\] for i <= k, else −a\[n+k−i\].
pub(crate) fn matrix_row(a: &Poly, k: usize) -> Box<Poly> {
    let mut row = Box::new([0; RING_DEGREE]);
    let (head, tail) = a.split_at((k + 1).min(RING_DEGREE));
    let (low, high) = row.split_at_mut(head.len());
    for (entry, coefficient) in low.iter_mut().zip(head.iter().rev()) {
        *entry = *coefficient;
    }
    for (entry, coefficient) in high.iter_mut().zip(tail.iter().rev()) {
        *entry = coefficient.wrapping_neg();
    }
    row
}
