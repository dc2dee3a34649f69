//! SEAL 4.0's serialization without compression, limited to the parts that are used.
//!
//! An object is written here and loaded by SEAL, or written by SEAL and read here. One function
//! describes the bytes before an object's residues. Writing emits them, and reading requires them
//! byte for byte, so that SEAL's format is never interpreted. A test per object checks the
//! agreement.
//!
//! ```text
//! header      magic u16, header size u8, version major u8, minor u8, compression u8, 0 u16,
//!             size u64
//! ciphertext  header, parms id [u64; 4], NTT form u8, polynomials u64, degree u64, primes u64,
//!             scale f64, correction factor u64, array; with a seed, half the array and a generator
//! plaintext   header, parms id, coefficients u64, scale f64, array
//! array       header, length u64, values [u64]
//! generator   header, kind u8, seed [u8; 64]
//! key switch  header, parms id, slots u64, then for each slot: digits u64, that many ciphertexts
//! ```

use opaque_pir::params::{PLANE_ROWS, SEED_BYTES};

use crate::SealError;

/// SEAL's digest of one level of the modulus chain.
pub(crate) type ParmsId = [u64; 4];
/// A seed of SEAL's generator.
pub(crate) type Seed = [u8; SEED_BYTES];
/// A seeded ciphertext: the residues of its first polynomial, and the seed of its second.
pub(crate) type Seeded = (Vec<u64>, Seed);
/// A Galois key: one ciphertext for each digit.
pub type GaloisKey = Vec<Seeded>;

const HEADER_BYTES: usize = 16;
/// Magic number, size of the header, SEAL 4.0, no compression.
const HEADER_START: [u8; 8] = [0x5e, 0xa1, 16, 4, 0, 0, 0, 0];
const PARMS_ID_BYTES: usize = 32;
/// Members of a ciphertext before its array.
const CIPHERTEXT_MEMBERS: usize = PARMS_ID_BYTES + 1 + 5 * 8;
const PLAINTEXT_MEMBERS: usize = PARMS_ID_BYTES + 2 * 8;
const GENERATOR_BYTES: usize = HEADER_BYTES + 1 + SEED_BYTES;
/// SEAL's number for its BLAKE2xb generator.
const BLAKE2XB: u8 = 1;

/// Shape of a ciphertext of two polynomials.
#[derive(Clone, Copy, Debug)]
pub struct CiphertextShape {
    /// Its level.
    pub parms_id: ParmsId,
    /// Number of primes at this level of the modulus chain.
    pub primes: usize,
    /// Whether it is in NTT form.
    pub ntt: bool,
    /// Whether the second polynomial is given by a seed.
    pub seeded: bool,
}

impl CiphertextShape {
    /// Number of stored residues.
    pub fn residues(&self) -> usize {
        let polynomials = if self.seeded { 1 } else { 2 };
        polynomials * self.primes * PLANE_ROWS
    }

    /// Bytes of the whole object.
    pub fn bytes(&self) -> usize {
        let seed = if self.seeded { GENERATOR_BYTES } else { 0 };
        HEADER_BYTES + CIPHERTEXT_MEMBERS + array_bytes(self.residues()) + seed
    }

    fn start(&self, out: &mut Vec<u8>) {
        header(self.bytes(), out);
        words(&self.parms_id, out);
        out.push(u8::from(self.ntt));
        words(&[2, PLANE_ROWS as u64, self.primes as u64, 1.0_f64.to_bits(), 1], out);
        array_start(self.residues(), out);
    }

    /// Appends the object. `residues` has [`CiphertextShape::residues`] entries; `seed` is present
    /// exactly when the shape is seeded.
    pub fn write(&self, residues: &[u64], seed: Option<&Seed>, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        self.start(out);
        words(residues, out);
        if let Some(seed) = seed {
            generator_start(out);
            out.extend_from_slice(seed);
        }
    }

    /// Reads the object from the front of `bytes`: appends its residues and returns its seed.
    pub fn read(&self, bytes: &mut &[u8], out: &mut Vec<u64>) -> Result<Option<Seed>, SealError> {
        const WHAT: &str = "ciphertext";
        let mut start = Vec::new();
        self.start(&mut start);
        strip(WHAT, bytes, &start)?;
        read_words(WHAT, bytes, self.residues(), out)?;
        if !self.seeded {
            return Ok(None);
        }
        start.clear();
        generator_start(&mut start);
        strip(WHAT, bytes, &start)?;
        let (seed, rest) = bytes.split_first_chunk().ok_or(SealError::Format { what: WHAT })?;
        *bytes = rest;
        Ok(Some(*seed))
    }
}

/// Shape of a plaintext in NTT form.
#[derive(Clone, Copy, Debug)]
pub struct PlaintextShape {
    /// Its level.
    pub parms_id: ParmsId,
    /// Primes of that level.
    pub primes: usize,
}

impl PlaintextShape {
    /// Number of stored residues.
    pub fn residues(&self) -> usize {
        self.primes * PLANE_ROWS
    }

    /// Bytes of the whole object.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + PLAINTEXT_MEMBERS + array_bytes(self.residues())
    }

    fn start(&self, out: &mut Vec<u8>) {
        header(self.bytes(), out);
        words(&self.parms_id, out);
        words(&[self.residues() as u64, 1.0_f64.to_bits()], out);
        array_start(self.residues(), out);
    }

    /// Appends the object. `residues` has [`PlaintextShape::residues`] entries.
    pub fn write(&self, residues: &[u64], out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        self.start(out);
        words(residues, out);
    }

    /// Reads the object from the front of `bytes` and appends its residues.
    pub fn read(&self, bytes: &mut &[u8], out: &mut Vec<u64>) -> Result<(), SealError> {
        const WHAT: &str = "plaintext";
        let mut start = Vec::new();
        self.start(&mut start);
        strip(WHAT, bytes, &start)?;
        read_words(WHAT, bytes, self.residues(), out)
    }
}

/// Shape of Galois keys: seeded ciphertexts, with `digits` of them in each filled slot.
#[derive(Clone, Copy, Debug)]
pub struct GaloisShape {
    /// Shape of one digit.
    pub digit: CiphertextShape,
    /// Number of digits per key.
    pub digits: usize,
    /// Number of filled slots.
    pub keys: usize,
}

impl GaloisShape {
    /// Bytes of the whole object.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES
            + PARMS_ID_BYTES
            + 8
            + PLANE_ROWS * 8
            + self.keys * self.digits * self.digit.bytes()
    }

    fn start(&self, out: &mut Vec<u8>) {
        header(self.bytes(), out);
        words(&self.digit.parms_id, out);
        words(&[PLANE_ROWS as u64], out);
    }

    /// Appends the object. `keys` lists, for each filled slot, its number and its digits; slots
    /// differ and are below N.
    pub fn write(&self, keys: &[(usize, GaloisKey)], out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        self.start(out);
        for slot in 0..PLANE_ROWS {
            let digits =
                keys.iter().find(|(at, _)| *at == slot).map_or(&[][..], |(_, digits)| digits);
            words(&[digits.len() as u64], out);
            for (residues, seed) in digits {
                self.digit.write(residues, Some(seed), out);
            }
        }
    }

    /// Reads the object. Returns the digits of each of `slots`, in that order.
    pub fn read(&self, mut bytes: &[u8], slots: &[usize]) -> Result<Vec<GaloisKey>, SealError> {
        const WHAT: &str = "Galois keys";
        let mut start = Vec::new();
        self.start(&mut start);
        strip(WHAT, &mut bytes, &start)?;
        let mut found: Vec<Vec<_>> =
            slots.iter().map(|_| Vec::with_capacity(self.digits)).collect();
        for slot in 0..PLANE_ROWS {
            let key = slots.iter().zip(&mut found).find(|(at, _)| **at == slot);
            let digits = if key.is_some() { self.digits as u64 } else { 0 };
            strip(WHAT, &mut bytes, &digits.to_le_bytes())?;
            let Some((_, key)) = key else { continue };
            for _ in 0..self.digits {
                let mut residues = Vec::with_capacity(self.digit.residues());
                let seed = self.digit.read(&mut bytes, &mut residues)?;
                key.push((residues, seed.ok_or(SealError::Format { what: WHAT })?));
            }
        }
        Ok(found)
    }
}

/// The slot in which SEAL stores the key for a rotation by `step`: element `3^step mod 2N`, halved.
pub(crate) fn galois_slot(step: i32) -> usize {
    let element = (0..step).fold(1, |element, _| element * 3 % (2 * PLANE_ROWS));
    element / 2
}

fn header(size: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER_START);
    words(&[size as u64], out);
}

const fn array_bytes(length: usize) -> usize {
    HEADER_BYTES + 8 + 8 * length
}

fn array_start(length: usize, out: &mut Vec<u8>) {
    header(array_bytes(length), out);
    words(&[length as u64], out);
}

fn generator_start(out: &mut Vec<u8>) {
    header(GENERATOR_BYTES, out);
    out.push(BLAKE2XB);
}

fn words(values: &[u64], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn read_words(
    what: &'static str,
    bytes: &mut &[u8],
    count: usize,
    out: &mut Vec<u64>,
) -> Result<(), SealError> {
    let (values, rest) = bytes.split_at_checked(8 * count).ok_or(SealError::Format { what })?;
    let (values, _) = values.as_chunks();
    out.extend(values.iter().map(|value| u64::from_le_bytes(*value)));
    *bytes = rest;
    Ok(())
}

fn strip(what: &'static str, bytes: &mut &[u8], prefix: &[u8]) -> Result<(), SealError> {
    *bytes = bytes.strip_prefix(prefix).ok_or(SealError::Format { what })?;
    Ok(())
}
