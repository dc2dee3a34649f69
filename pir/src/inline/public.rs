//! The public halves of everything that a client sends.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

use super::params::{Q_PRIMES, SPECIAL_PRIMES, Variant};
use super::{Poly, rings};
use crate::seed::IndexSeed;

/// Bytes of keystream taken at a time.
const STREAM_BYTES: usize = 4096;

/// The `a` parts of the rotation key and of the B encryptions, in slots, uniform modulo each prime.
///
/// Both sides expand them from the index's seed; nobody sends them. One set serves every lookup of an
/// index's epoch: each lookup brings a fresh secret, which is the ordinary use of LWE.
pub struct PublicElements {
    pub(super) variant: Variant,
    /// Modulo q's primes, then P's.
    pub(super) key: [Box<Poly>; 4],
    /// `[b]`, modulo q's primes.
    pub(super) encryptions: Vec<[Box<Poly>; 2]>,
}

impl PublicElements {
    /// Expands the elements of one index and epoch.
    pub fn new(seed: &IndexSeed, variant: Variant) -> Self {
        let element = |role, prime: u32| element(seed, variant, role, prime);
        let [q0, q1] = Q_PRIMES;
        let [p0, p1] = SPECIAL_PRIMES;
        let encryptions = (0u32..).take(variant.baby_steps());
        Self {
            variant,
            key: [q0, q1, p0, p1].map(|prime| element(0, prime)),
            encryptions: encryptions.map(|b| Q_PRIMES.map(|q| element(1 + b, q))).collect(),
        }
    }

    /// The variant of the parameter set that they belong to.
    pub fn variant(&self) -> Variant {
        self.variant
    }
}

impl std::fmt::Debug for PublicElements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicElements").field("variant", &self.variant).finish_non_exhaustive()
    }
}

/// One polynomial: ChaCha20's keystream under a key that BLAKE3 derives from (seed, role, prime,
/// variant), read as little-endian words cut to the prime's bits; words that are not below the
/// prime are passed over, which makes the rest uniform.
fn element(seed: &IndexSeed, variant: Variant, role: u32, prime: u32) -> Box<Poly> {
    let mut hash = seed.derive("opaque 2026-11 public elements of inline keys");
    hash.update(&role.to_le_bytes()).update(&prime.to_le_bytes());
    hash.update(variant.name().as_bytes());
    let key = *hash.finalize().as_bytes();
    // The key is used for this one stream, so the nonce may be constant.
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
        let (two, four) = (Variant::Two, Variant::Four);
        let sets = [
            PublicElements::new(&seed(0, 0), two),
            PublicElements::new(&seed(1, 0), two),
            PublicElements::new(&seed(0, 1), two),
            PublicElements::new(&seed(0, 0), four),
        ];
        let mut all: Vec<&Poly> = Vec::new();
        for set in &sets {
            assert_eq!(set.encryptions.len(), set.variant().baby_steps());
            for (element, ntt) in set.key.iter().zip(rings::all()) {
                assert!(element.iter().all(|x| *x < ntt.modulus.value));
                all.push(element);
            }
            for element in set.encryptions.iter().flatten() {
                all.push(element);
            }
        }
        for (i, element) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(element));
        }
    }

    #[test]
    fn elements_are_uniform() {
        let set = PublicElements::new(&seed(3, 0), Variant::Two);
        for (element, ntt) in set.key.iter().zip(rings::all()) {
            let m = f64::from(ntt.modulus.value);
            let mean = element.iter().map(|x| f64::from(*x) / m).sum::<f64>() / 4096.0;
            // Deviation of the mean: 1/√(12·4096) = 0.0045.
            assert!((mean - 0.5).abs() < 0.025, "mean {mean}");
        }
    }
}
