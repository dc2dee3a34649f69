//! Encryption of one lookup's scan.
//!
//! Let `s` be a fresh secret and `e_j` errors, both rounded Gaussians of deviation 11 (SimplePIR,
//! Henzinger et al., USENIX Security 2023, in its ring form). A lookup of bucket `k*` is
//!
//! ```text
//! b_j[k] = (a_j·s)[k] + e_j[k] + (1024j + k = k*)·Δ    mod 2^32, for every partition j
//! ```
//!
//! together with an encryption of `s` ([`index_keys`](super::index_keys)). Every position adds Δ
//! times a bit, and the bit is 1 only at `k*`. Neither a branch nor an address depends on `k*`.

use opaque_pir::{
    geometry::Geometry,
    params::{DELTA, PARTITION_BUCKETS, RING_DEGREE},
    ring::{Multiplier, Poly, public_element},
    seed::IndexSeed,
};
use opaque_secrets::sampling::{SCAN_ERRORS, Stream};
use rand::TryCryptoRng;
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Number of buckets in a partition.
const PARTITION_WIDTH: u32 = 1024;
const _: () = assert!(PARTITION_WIDTH as usize == PARTITION_BUCKETS);

/// The bucket of one index that is looked up.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The seed from which the index's public elements are expanded.
    pub seed: &'a IndexSeed,
    /// Geometry of the index's matrix.
    pub geometry: &'a Geometry,
    /// The bucket's number. Secret.
    pub bucket: u32,
}

/// The randomness of one lookup's scan. Its secret and all its errors are derived from these bytes.
///
/// A seed is used once: [`encrypt`] consumes it. It is boxed, so that a move leaves no copy behind.
pub struct Seed(Box<Zeroizing<[u8; 32]>>);

impl Seed {
    /// Draws a seed. Treat the generator's state as secret: it determines the seed.
    ///
    /// # Errors
    /// The errors of `rng`.
    pub fn draw<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut seed = Self(Box::new(Zeroizing::new([0; 32])));
        rng.try_fill_bytes(seed.0.as_mut_slice())?;
        Ok(seed)
    }
}

/// One lookup's scan, encrypted.
pub struct ScanQuery {
    /// `b_0, b_1, …`: one number per bucket, sent to the servers.
    pub lwe: Vec<u32>,
    /// `s`, which is encrypted for the hint product and then dropped.
    pub secret: Box<Zeroizing<[i32; RING_DEGREE]>>,
}

/// Encrypts one lookup's scan.
pub fn encrypt(target: Target<'_>, seed: Seed) -> ScanQuery {
    let Seed(seed) = seed;
    let mut secret = Box::new(Zeroizing::new([0i32; RING_DEGREE]));
    // Lane u32::MAX derives the secret. Other lanes are partition numbers, of which there are at
    // most 2^10.
    let values = secret.as_mut_slice();
    Stream::new(&seed, u32::MAX).fill(&SCAN_ERRORS, values, |value, sample| *value = sample);
    let multiplier = Multiplier::new(&secret);
    let mut lwe = vec![0u32; target.geometry.buckets() as usize];
    let partitions = lwe.par_chunks_mut(PARTITION_BUCKETS).zip(0u32..target.geometry.partitions());
    partitions.for_each_init(
        || Zeroizing::new([0u32; RING_DEGREE]),
        |product: &mut Zeroizing<Poly>, (block, j)| {
            let a = public_element(target.seed, j);
            multiplier.times(&a, product);
            block.copy_from_slice(product.as_slice());
            Stream::new(&seed, j).fill(&SCAN_ERRORS, block, |b, error| {
                *b = b.wrapping_add(error.cast_unsigned());
            });
            for (b, k) in block.iter_mut().zip(j * PARTITION_WIDTH..) {
                *b = b.wrapping_add(DELTA * equal(k, target.bucket));
            }
        },
    );
    ScanQuery { lwe, secret }
}

/// Returns 1 if the numbers are equal, else 0, without a branch.
fn equal(a: u32, b: u32) -> u32 {
    let difference = a ^ b;
    1 ^ ((difference | difference.wrapping_neg()) >> 31)
}

#[cfg(test)]
mod tests;
