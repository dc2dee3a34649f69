//! The answer, which the client receives.

use super::header::{HEADER_BYTES, Marker, read_header, read_known_lookups, write_header};
use super::kind::scan_bytes;
use super::words::{read_residues, residues_are_reduced, write_residues};
use super::{CodecError, Kind};
use crate::geometry::Geometry;
use crate::inline;
use crate::params::{BYTE_VALUES, PLAINTEXT_MODULUS, PLANE_ROWS};
use crate::reader::Reader;

/// Bytes of an answer. The size depends only on geometry, kind of keys and number of lookups.
pub fn answer_bytes(geometry: &Geometry, kind: Kind, lookups: u16) -> usize {
    HEADER_BYTES + 2 + usize::from(lookups) * kind.lookup_answer_bytes(geometry)
}

/// Encodes an answer to a client's query from complete scans `[lookup][row]` and products
/// `[plane][lookup]`. With inline keys the products have been subtracted from the scans, and the
/// product lists are empty.
pub(super) fn encode_answer(
    geometry: &Geometry,
    kind: Kind,
    epoch: u64,
    scans: &[Vec<u32>],
    products: &[Vec<Vec<u8>>],
) -> Vec<u8> {
    // A combiner has at most 64.
    let lookups = u16::try_from(scans.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(answer_bytes(geometry, kind, lookups));
    write_header(&mut bytes, Marker::Answer, kind, geometry, epoch);
    bytes.extend_from_slice(&lookups.to_le_bytes());
    for (lookup, scan) in scans.iter().enumerate() {
        if kind == Kind::Inline {
            bytes.extend(inline::answer(scan, geometry.rounding().row_bits));
            continue;
        }
        for (rows, products) in scan.chunks(PLANE_ROWS).zip(products) {
            write_residues(&mut bytes, rows.iter().map(|c| switch_modulus(*c)));
            bytes.extend(products.get(lookup).into_iter().flatten());
        }
    }
    bytes
}

/// c' = round(c·t/2^32) modulo t.
#[inline]
fn switch_modulus(c: u32) -> u32 {
    let rounded = (u64::from(c) * u64::from(PLAINTEXT_MODULUS) + (1 << 31)) >> 32;
    // c near 2^32 rounds up to t itself, which is 0.
    (rounded as u32) % PLAINTEXT_MODULUS
}

/// An answer as a client reads it, without copying.
#[derive(Debug, Clone)]
pub struct AnswerView<'a> {
    /// `[lookup * planes + plane]`.
    shares: Vec<&'a [u8]>,
    kind: Kind,
    geometry: Geometry,
}

/// One plane's share of the answer to one lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share<'a> {
    /// With registered keys.
    Registered {
        /// c' modulo t, one value for each of the plane's rows.
        sums: Vec<u32>,
        /// The plane's hint product: a ciphertext of
        /// [`PLANE_CIPHERTEXT_BYTES`](crate::params::PLANE_CIPHERTEXT_BYTES).
        product: &'a [u8],
    },
    /// With inline keys: both combined, for decryption ([`inline`](crate::inline)), with
    /// [`row_bits`](crate::geometry::Rounding::row_bits) per row.
    Inline(&'a [u8]),
}

impl<'a> AnswerView<'a> {
    /// Decodes the answer to a query with this geometry, kind, epoch and number of lookups.
    ///
    /// # Errors
    /// The bytes are not such an answer.
    pub fn decode(
        bytes: &'a [u8],
        geometry: &Geometry,
        kind: Kind,
        epoch: u64,
        lookups: u16,
    ) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let found = read_header(&mut reader, Marker::Answer, kind, geometry)?;
        if found != epoch {
            return Err(CodecError::Epoch { expected: epoch, found });
        }
        read_known_lookups(&mut reader, lookups)?;
        let planes = geometry.planes();
        let mut shares = Vec::with_capacity(usize::from(lookups) * planes);
        for plane in (0..lookups).flat_map(|_| 0..planes) {
            let share = reader.take(kind.share_bytes(geometry, plane))?;
            let sums = share.get(..scan_bytes(geometry, plane)).unwrap_or_default();
            if kind == Kind::Registered && !residues_are_reduced(sums) {
                return Err(CodecError::Invalid { field: "residue modulo t" });
            }
            shares.push(share);
        }
        reader.finish()?;
        Ok(Self { shares, kind, geometry: *geometry })
    }

    /// One plane's share; `None` beyond the answer's end.
    pub fn share(&self, lookup: u16, plane: usize) -> Option<Share<'a>> {
        let shares = self.shares.chunks_exact(self.geometry.planes()).nth(usize::from(lookup))?;
        let share = *shares.get(plane)?;
        if self.kind != Kind::Registered {
            return Some(Share::Inline(share));
        }
        let (sums, product) = share.split_at_checked(scan_bytes(&self.geometry, plane))?;
        Some(Share::Registered { sums: read_residues(sums).collect(), product })
    }
}

/// The stored byte from `c'` and `H'·s`, both modulo t: round((c' − H's mod t)·p/t) modulo p.
///
/// The result is correct as long as the noise stays below t/2p = 2016 (see [`crate::params`]).
/// Constant time.
#[expect(clippy::cast_possible_truncation, reason = "modulo p = 2^8 is meant")]
pub fn recover_byte(c: u32, hs: u32) -> u8 {
    const T: u64 = PLAINTEXT_MODULUS as u64;
    let difference = (u64::from(c) % T + T - u64::from(hs) % T) % T;
    ((difference * u64::from(BYTE_VALUES) + T / 2) / T) as u8
}
