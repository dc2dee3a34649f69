//! Message formats of fixed size, bit-packed, and checked before SEAL sees a byte.
//!
//! ```text
//! evaluation keys   marker "OEK", version 1; for each rotation step, for each data prime (a digit
//!                   of the key-switching decomposition): c0 modulo the three primes, seed
//! encrypted secret  c0 modulo the two data primes, seed
//! answer            c0 and c1 modulo the first prime
//! ```
//!
//! SEAL's BLAKE2xb generator expands a seed of 64 bytes to c1, which is therefore uniform whatever
//! a client sends. The last two formats carry no version: the parameter set determines them, and
//! the enclosing messages name it.

use opaque_pir::params::{
    COEFFICIENT_MODULUS, ENCRYPTED_SECRET_BYTES, PLANE_CIPHERTEXT_BYTES, ROTATION_STEPS, SEED_BYTES,
};

use crate::bfv::DATA_PRIMES;
use crate::format::{GaloisKey, Seeded};
use crate::handle::{Ciphertext, GaloisKeys};
use crate::residues::{pack, packed_bytes, unpack};
use crate::{Bfv, SealError};

const KEYS_START: [u8; 4] = *b"OEK\x01";
const DIGIT_BYTES: usize = packed_bytes(COEFFICIENT_MODULUS.len()) + SEED_BYTES;

/// Size of a client's evaluation keys, which is constant.
pub const EVALUATION_KEYS_BYTES: usize =
    KEYS_START.len() + ROTATION_STEPS.len() * DATA_PRIMES * DIGIT_BYTES;

const _: () = assert!(EVALUATION_KEYS_BYTES == 217_348);
const _: () = assert!(packed_bytes(DATA_PRIMES) + SEED_BYTES == ENCRYPTED_SECRET_BYTES);
const _: () = assert!(2 * packed_bytes(1) == PLANE_CIPHERTEXT_BYTES);

/// A client's two Galois keys. They only let a server rotate that client's ciphertexts.
#[derive(Debug)]
pub struct EvaluationKeys(pub(crate) GaloisKeys);

impl EvaluationKeys {
    /// Checks [`EVALUATION_KEYS_BYTES`] bytes and loads the keys (0.9 MB in memory).
    ///
    /// Valid bytes are the keys of *some* client. With another client's keys, a product decrypts to
    /// noise.
    ///
    /// # Errors
    /// The size or version is wrong, or a residue is not below its prime.
    pub fn from_bytes(bfv: &Bfv, bytes: &[u8]) -> Result<Self, SealError> {
        const WHAT: &str = "evaluation keys";
        check_size(WHAT, bytes, EVALUATION_KEYS_BYTES)?;
        let rest = bytes.strip_prefix(&KEYS_START).ok_or(SealError::Version { what: WHAT })?;
        let mut keys = Vec::with_capacity(ROTATION_STEPS.len());
        for (slot, digits) in
            Bfv::galois_slots().into_iter().zip(rest.chunks_exact(DATA_PRIMES * DIGIT_BYTES))
        {
            let digits = digits.chunks_exact(DIGIT_BYTES);
            let digits = digits.map(|digit| seeded(WHAT, digit, COEFFICIENT_MODULUS.len()));
            keys.push((slot, digits.collect::<Result<Vec<_>, _>>()?));
        }
        GaloisKeys::load(&bfv.context, &bfv.galois_shape(), &keys).map(Self)
    }

    /// Encodes fresh keys: for each step, its digits.
    #[doc(hidden)]
    pub fn write(keys: &[GaloisKey]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EVALUATION_KEYS_BYTES);
        bytes.extend_from_slice(&KEYS_START);
        for (residues, seed) in keys.iter().flatten() {
            pack(residues, COEFFICIENT_MODULUS.len(), &mut bytes);
            bytes.extend_from_slice(seed);
        }
        bytes
    }
}

/// A fresh encryption of the scan's secret: slot `k` holds `s[k mod 1024]`.
#[derive(Debug)]
pub struct EncryptedSecret(pub(crate) Ciphertext);

impl EncryptedSecret {
    const WHAT: &str = "encrypted secret";

    /// Checks bytes as [`EncryptedSecret::from_bytes`] does, without creating a SEAL object: bytes
    /// that pass here can be loaded. Servers use it to refuse an invalid request before they work
    /// on it.
    ///
    /// # Errors
    /// The size is wrong, or a residue is not below its prime.
    pub fn check(bytes: &[u8]) -> Result<(), SealError> {
        Self::parse(bytes).map(drop)
    }

    /// Checks [`ENCRYPTED_SECRET_BYTES`] bytes and loads them.
    ///
    /// # Errors
    /// The size is wrong, or a residue is not below its prime.
    pub fn from_bytes(bfv: &Bfv, bytes: &[u8]) -> Result<Self, SealError> {
        let (residues, seed) = Self::parse(bytes)?;
        Ciphertext::load(&bfv.context, &bfv.data_shape(false, true), &residues, Some(&seed))
            .map(Self)
    }

    /// The ciphertext.
    #[doc(hidden)]
    pub fn ciphertext(&self) -> &Ciphertext {
        &self.0
    }

    fn parse(bytes: &[u8]) -> Result<Seeded, SealError> {
        check_size(Self::WHAT, bytes, ENCRYPTED_SECRET_BYTES)?;
        seeded(Self::WHAT, bytes, DATA_PRIMES)
    }

    /// Encodes a fresh seeded ciphertext.
    #[doc(hidden)]
    pub fn write(bfv: &Bfv, ciphertext: &Ciphertext) -> Result<Vec<u8>, SealError> {
        let mut residues = Vec::new();
        let seed = ciphertext.residues(&bfv.data_shape(false, true), &mut residues)?;
        let seed = seed.ok_or(SealError::Format { what: Self::WHAT })?;
        let mut bytes = Vec::with_capacity(ENCRYPTED_SECRET_BYTES);
        pack(&residues, DATA_PRIMES, &mut bytes);
        bytes.extend_from_slice(&seed);
        Ok(bytes)
    }
}

/// Encodes a plane's answer. `None` is the product with a plane of zeros.
pub(crate) fn write_answer(
    bfv: &Bfv,
    ciphertext: Option<&Ciphertext>,
) -> Result<Vec<u8>, SealError> {
    let Some(ciphertext) = ciphertext else {
        return Ok(vec![0; PLANE_CIPHERTEXT_BYTES]);
    };
    let mut residues = Vec::new();
    ciphertext.residues(&bfv.answer_shape(), &mut residues)?;
    let mut bytes = Vec::with_capacity(PLANE_CIPHERTEXT_BYTES);
    pack(&residues, 1, &mut bytes);
    Ok(bytes)
}

/// Checks and loads a plane's answer.
pub fn read_answer(bfv: &Bfv, bytes: &[u8]) -> Result<Ciphertext, SealError> {
    const WHAT: &str = "plane ciphertext";
    check_size(WHAT, bytes, PLANE_CIPHERTEXT_BYTES)?;
    let mut residues = Vec::new();
    unpack(WHAT, bytes, 1, &mut residues)?;
    Ciphertext::load(&bfv.context, &bfv.answer_shape(), &residues, None)
}

fn check_size(what: &'static str, bytes: &[u8], expected: usize) -> Result<(), SealError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(SealError::Size { what, expected, found: bytes.len() })
}

/// Reads one polynomial modulo `primes` primes, and the seed of the other.
fn seeded(what: &'static str, bytes: &[u8], primes: usize) -> Result<Seeded, SealError> {
    let size = SealError::Size { what, expected: SEED_BYTES, found: bytes.len() };
    let (packed, seed) = bytes.split_last_chunk().ok_or(size)?;
    let mut residues = Vec::new();
    unpack(what, packed, primes, &mut residues)?;
    Ok((residues, *seed))
}
