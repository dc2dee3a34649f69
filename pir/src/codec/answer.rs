//! The answer: what a client gets back.

use super::bits::{read_residues, residues_are_reduced, write_residues};
use super::header::{HEADER_BYTES, Marker, read_header_of_epoch, read_known_lookups, write_header};
use super::{CodecError, Reader};
use crate::geometry::Geometry;
use crate::params::{
    BYTE_VALUES, PLAINTEXT_MODULUS, PLANE_CIPHERTEXT_BYTES, PLANE_ROWS, PLANE_SCAN_BYTES,
};

/// Bytes of an answer: depends on geometry and number of lookups only.
pub fn answer_bytes(geometry: &Geometry, lookups: u16) -> usize {
    HEADER_BYTES + 2 + usize::from(lookups) * geometry.answer_bytes()
}

/// Writes an answer from whole scans `[lookup][row]` and products `[plane][lookup]`.
pub(super) fn encode_answer(
    geometry: &Geometry,
    epoch: u64,
    lookups: u16,
    scans: &[Vec<u32>],
    products: &[Vec<Vec<u8>>],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(answer_bytes(geometry, lookups));
    write_header(&mut bytes, Marker::Answer, geometry, epoch);
    bytes.extend_from_slice(&lookups.to_le_bytes());
    for (lookup, scan) in scans.iter().enumerate() {
        for (rows, products) in scan.chunks(PLANE_ROWS).zip(products) {
            let residues: Vec<u32> = rows.iter().map(|c| switch_modulus(*c)).collect();
            write_residues(&mut bytes, &residues);
            bytes.extend(products.get(lookup).into_iter().flatten());
        }
    }
    bytes
}

/// c' = round(c·t/2^32) modulo t.
#[inline]
pub(crate) fn switch_modulus(c: u32) -> u32 {
    let rounded = (u64::from(c) * u64::from(PLAINTEXT_MODULUS) + (1 << 31)) >> 32;
    // c near 2^32 rounds up to t itself, which is 0.
    (rounded as u32) % PLAINTEXT_MODULUS
}

/// An answer as a client reads it, in place.
#[derive(Debug, Clone)]
pub struct AnswerView<'a> {
    /// `[lookup * planes + plane]`: sums modulo t, then the product.
    parts: Vec<(&'a [u8], &'a [u8])>,
    planes: usize,
}

impl<'a> AnswerView<'a> {
    /// Reads the answer to a query of this geometry, epoch and number of lookups.
    ///
    /// # Errors
    /// When the bytes are no such answer.
    pub fn decode(
        bytes: &'a [u8],
        geometry: &Geometry,
        epoch: u64,
        lookups: u16,
    ) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        read_header_of_epoch(&mut reader, Marker::Answer, geometry, epoch)?;
        read_known_lookups(&mut reader, lookups)?;
        let planes = geometry.planes();
        let mut parts = Vec::with_capacity(usize::from(lookups) * planes);
        for _ in 0..usize::from(lookups) * planes {
            let scan = reader.take(PLANE_SCAN_BYTES)?;
            if !residues_are_reduced(scan) {
                return Err(CodecError::Invalid { field: "residue modulo t" });
            }
            parts.push((scan, reader.take(PLANE_CIPHERTEXT_BYTES)?));
        }
        reader.finish()?;
        Ok(Self { parts, planes })
    }

    /// c' modulo t, one value for each of the plane's 4096 rows; `None` beyond the answer's end.
    pub fn scan(&self, lookup: u16, plane: usize) -> Option<Vec<u32>> {
        self.part(lookup, plane).map(|(scan, _)| read_residues(scan).collect())
    }

    /// The plane's hint product, [`PLANE_CIPHERTEXT_BYTES`]; `None` beyond the answer's end.
    pub fn ciphertext(&self, lookup: u16, plane: usize) -> Option<&'a [u8]> {
        self.part(lookup, plane).map(|(_, ciphertext)| ciphertext)
    }

    fn part(&self, lookup: u16, plane: usize) -> Option<(&'a [u8], &'a [u8])> {
        let parts = self.parts.chunks_exact(self.planes).nth(usize::from(lookup))?;
        parts.get(plane).copied()
    }
}

/// The stored byte from `c'` and `H'·s`, both modulo t: round((c' − H's mod t)·p/t) modulo p.
///
/// Right as long as the noise stays below t/2p = 2016 (see [`crate::params`]). Constant time.
#[expect(clippy::cast_possible_truncation, reason = "modulo p = 2^8 is meant")]
pub fn recover_byte(c: u32, hs: u32) -> u8 {
    const T: u64 = PLAINTEXT_MODULUS as u64;
    let difference = (u64::from(c) % T + T - u64::from(hs) % T) % T;
    ((difference * u64::from(BYTE_VALUES) + T / 2) / T) as u8
}
