//! The public halves of everything that a client sends.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

use super::params::{ENCRYPTIONS, Q_PRIMES};
use super::{NAME, Poly, rings};
use crate::seed::IndexSeed;

/// Bytes of keystream that are drawn at a time.
const STREAM_BYTES: usize = 4096;

/// The `a` parts of the key and of the B encryptions, in slots, uniform modulo each prime of q.
///
/// Both sides expand them from the index's seed; they are never sent. One set serves every lookup
/// of an index's epoch: each lookup has a fresh secret, which is the ordinary use of LWE.
pub struct PublicElements {
    key: [Box<Poly>; 2],
    encryptions: [[Box<Poly>; 2]; ENCRYPTIONS],
}

impl PublicElements {
    /// Expands the elements of one index and epoch.
    pub fn new(seed: &IndexSeed) -> Self {
        // Role 0 is the key's; role 1 + b is that of encryption b.
        let element = |role| Q_PRIMES.map(|prime| element(seed, role, prime));
        Self { key: element(0), encryptions: [element(1), element(2)] }
    }

    /// The key's `a` part, modulo each prime of q.
    pub fn key(&self) -> &[Box<Poly>; 2] {
        &self.key
    }

    /// The `a` parts of the encryptions, modulo each prime of q.
    pub fn encryptions(&self) -> &[[Box<Poly>; 2]; ENCRYPTIONS] {
        &self.encryptions
    }
}

impl std::fmt::Debug for PublicElements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicElements").finish_non_exhaustive()
    }
}

/// One polynomial: ChaCha20's keystream under a key that BLAKE3 derives from (seed, role, prime,
/// parameter set), read as little-endian words cut to the prime's bits. Words that are not below
/// the prime are skipped, so that the rest is uniform.
fn element(seed: &IndexSeed, role: u32, prime: u32) -> Box<Poly> {
    let mut hash = seed.derive("opaque 2026-12 public elements of inline keys");
    hash.update(&role.to_le_bytes()).update(&prime.to_le_bytes());
    hash.update(NAME.as_bytes());
    let key = *hash.finalize().as_bytes();
    // The key is used only for this stream, so the nonce may be constant.
    let mut cipher = ChaCha20::new(&key.into(), &[0; 12].into());
    let mask = u32::MAX >> prime.leading_zeros();
    let mut element = rings::zero();
    let mut wanted = element.iter_mut();
    let mut stream = [0u8; STREAM_BYTES];
    while wanted.len() > 0 {
        stream.fill(0);
        cipher.apply_keystream(&mut stream);
        let words = stream.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word) & mask);
        for (word, value) in words.filter(|word| *word < prime).zip(wanted.by_ref()) {
            *value = word;
        }
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::seed;

    #[test]
    fn elements_are_reduced_and_differ_by_everything_that_names_them() {
        let sets = [
            PublicElements::new(&seed(0, 0)),
            PublicElements::new(&seed(1, 0)),
            PublicElements::new(&seed(0, 1)),
        ];
        let mut all: Vec<&Poly> = Vec::new();
        for set in &sets {
            for pair in set.encryptions.iter().chain([&set.key]) {
                for (element, prime) in pair.iter().zip(Q_PRIMES) {
                    assert!(element.iter().all(|x| *x < prime));
                    all.push(element);
                }
            }
        }
        for (i, element) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(element));
        }
    }

    #[test]
    fn elements_are_uniform() {
        let set = PublicElements::new(&seed(3, 0));
        for (element, prime) in set.key.iter().zip(Q_PRIMES) {
            let mean = element.iter().map(|x| f64::from(*x)).sum::<f64>() / 2048.0;
            // Deviation of the mean: 1/√(12·2048) = 0.0064.
            let mean = mean / f64::from(prime);
            assert!((mean - 0.5).abs() < 0.035, "mean {mean}");
        }
    }
}
