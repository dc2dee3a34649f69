//! A BFV secret key, its evaluation keys, encryption and decryption.

use std::fmt;

use opaque_pir::params::{COEFFICIENT_MODULUS, PLAINTEXT_MODULUS, PLANE_ROWS, RING_DEGREE};
use opaque_seal::internal::{
    Ciphertext, Plaintext, PlaintextShape, pack, packed_bytes, read_answer, unpack,
};
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, SealError};
use zeroize::Zeroizing;

use crate::handle::{self, clear};

const START: [u8; 4] = *b"OSK\x01";
const CHECK_BYTES: usize = 16;
const PRIMES: usize = COEFFICIENT_MODULUS.len();

/// Bytes of a stored secret key: marker and version, residues, checksum.
pub const SECRET_KEY_BYTES: usize = START.len() + packed_bytes(PRIMES) + CHECK_BYTES;

/// A client's BFV secret key. It is ternary and is reused for every table and query.
///
/// It is in memory that SEAL clears on drop. It cannot be printed, compared or cloned.
pub struct SecretKey {
    key: handle::SecretKey,
    shape: PlaintextShape,
}

impl SecretKey {
    /// A fresh key. SEAL draws the randomness from the operating system.
    ///
    /// # Errors
    /// [`SealError::Randomness`] if the system's randomness cannot be read.
    pub fn generate(bfv: &Bfv) -> Result<Self, SealError> {
        Ok(Self { key: handle::SecretKey::generate(bfv.context())?, shape: bfv.full_shape() })
    }

    /// Encodes the key as [`SECRET_KEY_BYTES`] bytes, for the client's profile.
    ///
    /// # Errors
    /// SEAL cannot save the key, which does not happen for a key of this module.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let shape = self.shape;
        let mut object = Zeroizing::new(vec![0; shape.bytes()]);
        self.key.save(&shape, &mut object)?;
        // The full capacity is reserved, so that growing leaves no copy behind.
        let mut residues = Zeroizing::new(Vec::with_capacity(shape.residues()));
        shape.read(&mut object.as_slice(), &mut residues)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_KEY_BYTES));
        bytes.extend_from_slice(&START);
        pack(&residues, PRIMES, &mut bytes);
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        Ok(bytes)
    }

    /// Decodes a key that [`SecretKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// The size or version is wrong, or [`SealError::Checksum`] if the bytes are damaged.
    pub fn from_bytes(bfv: &Bfv, bytes: &[u8]) -> Result<Self, SealError> {
        const WHAT: &str = "secret key";
        let size = SealError::Size { what: WHAT, expected: SECRET_KEY_BYTES, found: bytes.len() };
        if bytes.len() != SECRET_KEY_BYTES {
            return Err(size);
        }
        let packed = bytes.strip_prefix(&START).ok_or(SealError::Version { what: WHAT })?;
        let (packed, check) = packed.split_last_chunk::<CHECK_BYTES>().ok_or(size)?;
        let checked = bytes.len() - CHECK_BYTES;
        if bytes.get(..checked).map(checksum) != Some(*check) {
            return Err(SealError::Checksum);
        }
        let shape = bfv.full_shape();
        let mut residues = Zeroizing::new(Vec::with_capacity(shape.residues()));
        unpack(WHAT, packed, PRIMES, &mut residues)?;
        let mut object = Zeroizing::new(Vec::with_capacity(shape.bytes()));
        shape.write(&residues, &mut object);
        Ok(Self { key: handle::SecretKey::load(bfv.context(), &object)?, shape })
    }

    /// Fresh evaluation keys for this secret, to be registered with servers:
    /// [`EVALUATION_KEYS_BYTES`](opaque_seal::EVALUATION_KEYS_BYTES) public bytes.
    ///
    /// # Errors
    /// [`SealError::Randomness`] if the system's randomness cannot be read.
    pub fn evaluation_keys(&self, bfv: &Bfv) -> Result<Vec<u8>, SealError> {
        let keys =
            self.key.galois_keys(bfv.context(), &bfv.galois_shape(), &Bfv::galois_slots())?;
        Ok(EvaluationKeys::write(&keys))
    }

    /// Encrypts the scan's secret with fresh randomness: slot `k` holds `s[k mod 1024]`. The result
    /// has `ENCRYPTED_SECRET_BYTES` bytes.
    ///
    /// SEAL's encoder leaves a copy of `s` in memory that is freed but not cleared. `s` is used for
    /// one query only.
    ///
    /// # Errors
    /// A coefficient outside ±t/2, or [`SealError::Randomness`].
    pub fn encrypt(&self, bfv: &Bfv, s: &[i32; RING_DEGREE]) -> Result<Vec<u8>, SealError> {
        let limit = PLAINTEXT_MODULUS / 2;
        if s.iter().any(|coefficient| coefficient.unsigned_abs() > limit) {
            return Err(SealError::Coefficient);
        }
        let mut slots = Zeroizing::new(Vec::with_capacity(PLANE_ROWS));
        slots.extend(s.iter().cycle().take(PLANE_ROWS).map(|coefficient| i64::from(*coefficient)));
        let failed = |_| SealError::Encoder { call: "BatchEncoder_Encode2" };
        let mut plaintext = bfv.encoder().encode_signed(&slots).map_err(failed)?;
        let ciphertext = self.key.encrypt(bfv.context(), &plaintext);
        clear(&mut plaintext)?;
        EncryptedSecret::write(bfv, &ciphertext?)
    }

    /// Decrypts one plane of an answer (`PLANE_CIPHERTEXT_BYTES` bytes) to `H'·s`: 4096 values
    /// modulo t.
    ///
    /// An answer for other keys decrypts to noise: a ciphertext does not show for which keys it was
    /// computed.
    ///
    /// The values reveal `s` to everyone who knows the hint, so they are cleared on drop. SEAL's
    /// decoder leaves copies in memory that is freed but not cleared.
    ///
    /// # Errors
    /// A wrong size, or a residue that is not below its prime.
    pub fn decrypt(&self, bfv: &Bfv, answer: &[u8]) -> Result<Zeroizing<Vec<u32>>, SealError> {
        let ciphertext = read_answer(bfv, answer)?;
        let mut plaintext =
            Plaintext::new().map_err(|_| SealError::Encoder { call: "Plaintext_Create1" })?;
        let slots = self.decrypt_slots(bfv, &ciphertext, &mut plaintext);
        clear(&mut plaintext)?;
        let slots = slots?;
        // The full capacity is reserved, so that growing leaves no copy behind.
        let mut values = Zeroizing::new(Vec::with_capacity(slots.len()));
        for slot in slots.iter() {
            let value = u32::try_from(*slot);
            values.push(value.map_err(|_| SealError::Format { what: "plaintext" })?);
        }
        Ok(values)
    }

    fn decrypt_slots(
        &self,
        bfv: &Bfv,
        ciphertext: &Ciphertext,
        plaintext: &mut Plaintext,
    ) -> Result<Zeroizing<Vec<u64>>, SealError> {
        self.key.decrypt(bfv.context(), ciphertext, plaintext)?;
        let slots = bfv.encoder().decode_unsigned(plaintext);
        slots.map(Zeroizing::new).map_err(|_| SealError::Encoder { call: "BatchEncoder_Decode1" })
    }

    /// Remaining noise budget of one plane of an answer in bits. Zero means that the plane decrypts
    /// to noise.
    ///
    /// # Errors
    /// The same as for [`SecretKey::decrypt`].
    pub fn noise_budget(&self, bfv: &Bfv, answer: &[u8]) -> Result<u32, SealError> {
        self.key.noise_budget(bfv.context(), &read_answer(bfv, answer)?)
    }

    #[cfg(test)]
    pub(crate) fn handle(&self) -> &handle::SecretKey {
        &self.key
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

/// Distinguishes a key from a damaged file. No secret depends on it.
fn checksum(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let mut hash = blake3::Hasher::new_derive_key("opaque 2026-11 secret key checksum");
    hash.update(bytes).finalize_xof().fill(&mut check);
    check
}
