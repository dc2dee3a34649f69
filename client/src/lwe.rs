//! Encryption of one lookup and decryption of its answer.
//!
//! With a fresh secret `s` and errors `e_j`, both rounded Gaussians of deviation 11 (SimplePIR,
//! Henzinger et al., USENIX Security 2023, in its ring form), a lookup of bucket `k*` is
//!
//! ```text
//! b_j[k] = (a_j·s)[k] + e_j[k] + (1024j + k = k*)·Δ    mod 2^32, for every partition j
//! ```
//!
//! together with `Enc_BFV(s)`. Δ is added everywhere, times a bit that says where: neither a branch
//! nor an address depends on `k*`. From the answer, `byte[r] = round((c'[r] − H'·s[r] mod t)·p/t)`.

mod gaussian;

use opaque_pir::{
    codec::{AnswerView, recover_byte},
    geometry::Geometry,
    layout::Salt,
    params::{DELTA, PARTITION_BUCKETS, PLANE_ROWS, RING_DEGREE},
    ring::{Multiplier, Poly, public_element},
};
use opaque_seal::{Bfv, SealError, secrets::SecretKey};
use rand::TryCryptoRng;
use rayon::prelude::*;
use thiserror::Error;
use zeroize::Zeroizing;

use gaussian::Gaussian;

/// Buckets of a partition, as bucket numbers count them.
const PARTITION_WIDTH: u32 = 1024;
const _: () = assert!(PARTITION_WIDTH as usize == PARTITION_BUCKETS);

/// The bucket of one index that a lookup asks for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Public randomness of the table's epoch.
    pub salt: &'a Salt,
    /// Position of the searched column in the schema.
    pub column: u32,
    /// Shape of that column's matrix.
    pub geometry: &'a Geometry,
    /// The bucket. Secret.
    pub bucket: u32,
}

/// The randomness of one lookup's scan: its secret and all of its errors follow from these bytes.
///
/// Used once: [`encrypt`] consumes it. Boxed, so that moving it leaves no copy behind.
pub struct Seed(Box<Zeroizing<[u8; 32]>>);

impl Seed {
    /// Draws a seed. Whatever `rng` is, what it keeps of its state is as secret as the seed.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn draw<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut seed = Self(Box::new(Zeroizing::new([0; 32])));
        rng.try_fill_bytes(seed.0.as_mut_slice())?;
        Ok(seed)
    }
}

/// What leaves the client for one lookup: C numbers and the encrypted secret.
pub struct EncryptedLookup {
    /// `b_0, b_1, …`: one number per bucket.
    pub lwe: Vec<u32>,
    /// `Enc_BFV(s)`, seeded.
    pub encrypted_secret: Vec<u8>,
}

/// What opens one answer, once: [`LookupSecret::decrypt`] consumes it.
pub struct LookupSecret {
    bucket: Zeroizing<u32>,
}

/// Encrypts one lookup.
///
/// # Errors
/// When SEAL refuses to encrypt; never for a reason that depends on the bucket.
pub fn encrypt(
    bfv: &Bfv,
    key: &SecretKey,
    target: Target<'_>,
    seed: Seed,
) -> Result<(EncryptedLookup, LookupSecret), SealError> {
    let (lwe, secret) = encrypt_scan(target, seed);
    let encrypted_secret = key.encrypt(bfv, &secret)?;
    let open = LookupSecret { bucket: Zeroizing::new(target.bucket) };
    Ok((EncryptedLookup { lwe, encrypted_secret }, open))
}

/// The scan's part of a lookup, `b_0, b_1, …`, and its secret `s`.
pub(crate) fn encrypt_scan(
    target: Target<'_>,
    seed: Seed,
) -> (Vec<u32>, Zeroizing<[i32; RING_DEGREE]>) {
    let Seed(seed) = seed;
    let mut secret = Zeroizing::new([0i32; RING_DEGREE]);
    // Lane u32::MAX is the secret's: there are at most 2^10 partitions.
    Gaussian::new(&seed, u32::MAX).fill(secret.as_mut_slice(), |coefficient, sample| {
        *coefficient = sample;
    });
    let multiplier = Multiplier::new(&secret);
    let mut lwe = vec![0u32; target.geometry.buckets() as usize];
    let partitions = lwe.par_chunks_mut(PARTITION_BUCKETS).zip(0u32..target.geometry.partitions());
    partitions.for_each_init(
        || Zeroizing::new([0u32; RING_DEGREE]),
        |product: &mut Zeroizing<Poly>, (block, j)| {
            let a = public_element(target.salt, target.column, j);
            multiplier.times(&a, product);
            block.copy_from_slice(product.as_slice());
            Gaussian::new(&seed, j).fill(block, |b, error| {
                *b = b.wrapping_add(error.cast_unsigned());
            });
            for (b, k) in block.iter_mut().zip(j * PARTITION_WIDTH..) {
                *b = b.wrapping_add(DELTA * equal(k, target.bucket));
            }
        },
    );
    (lwe, secret)
}

impl LookupSecret {
    /// Which bucket the answer holds.
    pub fn bucket(&self) -> u32 {
        *self.bucket
    }

    /// The bucket's R whitened bytes from the answer to lookup number `lookup`.
    pub fn decrypt(
        self,
        bfv: &Bfv,
        key: &SecretKey,
        geometry: &Geometry,
        answer: &AnswerView<'_>,
        lookup: u16,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(geometry.bucket_bytes()));
        for plane in 0..geometry.planes() {
            let parts = answer.scan(lookup, plane).zip(answer.ciphertext(lookup, plane));
            let (scan, product) = parts.ok_or(DecryptError::Rows)?;
            let product = key.decrypt(bfv, product)?;
            if scan.len() != PLANE_ROWS || product.len() != PLANE_ROWS {
                return Err(DecryptError::Rows);
            }
            bytes.extend(scan.iter().zip(product.iter()).map(|(&c, &hs)| recover_byte(c, hs)));
        }
        Ok(bytes)
    }
}

/// 1 where the numbers are equal, else 0, without a branch.
fn equal(a: u32, b: u32) -> u32 {
    let difference = a ^ b;
    1 ^ ((difference | difference.wrapping_neg()) >> 31)
}

/// Why an answer did not decrypt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// A plane has another number of rows than the parameter set's.
    #[error("a plane of the answer has too few or too many rows")]
    Rows,
    /// SEAL refused the ciphertext.
    #[error(transparent)]
    Seal(#[from] SealError),
}

#[cfg(test)]
mod tests;
