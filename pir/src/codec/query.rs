//! The query, which the client sends.

use super::header::{
    HEADER_BYTES, Marker, check_lookups, read_lookups, read_open_header, write_header,
};
use super::words::{block_bytes, read_buckets, write_buckets};
use super::{CodecError, Kind, Material};
use crate::geometry::Geometry;
use crate::reader::Reader;

/// Bytes of a query. The size depends only on geometry, kind of keys and number of lookups.
pub fn query_bytes(geometry: &Geometry, kind: Kind, lookups: u16) -> usize {
    let digest = if kind == Kind::Registered { 32 } else { 0 };
    HEADER_BYTES + 2 + 1 + digest + usize::from(lookups) * lookup_bytes(geometry, kind)
}

/// Bytes per lookup: C numbers and the encrypted secret.
pub(super) fn lookup_bytes(geometry: &Geometry, kind: Kind) -> usize {
    geometry.partitions() as usize * block_bytes(geometry) + kind.secret_bytes()
}

/// Encodes a query, lookup by lookup.
#[derive(Debug)]
pub struct QueryWriter {
    bytes: Vec<u8>,
    geometry: Geometry,
    kind: Kind,
    lookups: u16,
    written: u16,
}

impl QueryWriter {
    /// Starts a query of `lookups` lookups.
    ///
    /// # Errors
    /// There are none, or more than [`LOOKUPS_PER_MESSAGE`](super::LOOKUPS_PER_MESSAGE).
    pub fn new(
        geometry: &Geometry,
        epoch: u64,
        material: Material,
        lookups: u16,
    ) -> Result<Self, CodecError> {
        check_lookups(lookups)?;
        let kind = material.kind();
        let mut bytes = Vec::with_capacity(query_bytes(geometry, kind, lookups));
        write_header(&mut bytes, Marker::Query, kind, geometry, epoch);
        bytes.extend_from_slice(&lookups.to_le_bytes());
        material.write(&mut bytes);
        Ok(Self { bytes, geometry: *geometry, kind, lookups, written: 0 })
    }

    /// Appends one lookup: C words of the scan's ciphertext, which are rounded to
    /// [`Geometry::rounding`] here, and the encrypted secret.
    ///
    /// # Errors
    /// A size does not match the geometry, or all lookups have been written.
    pub fn lookup(&mut self, lwe: &[u32], encrypted_secret: &[u8]) -> Result<(), CodecError> {
        if self.written == self.lookups {
            let found = self.written + 1;
            return Err(CodecError::Lookups { expected: Some(self.lookups), found });
        }
        let buckets = self.geometry.buckets() as usize;
        for (what, expected, found) in [
            ("words of a lookup", buckets, lwe.len()),
            ("bytes of an encrypted secret", self.kind.secret_bytes(), encrypted_secret.len()),
        ] {
            if found != expected {
                return Err(CodecError::Shape { what, expected, found });
            }
        }
        write_buckets(&mut self.bytes, lwe, &self.geometry);
        self.bytes.extend_from_slice(encrypted_secret);
        self.written += 1;
        Ok(())
    }

    /// The encoded query.
    ///
    /// # Errors
    /// Lookups are missing.
    pub fn finish(self) -> Result<Vec<u8>, CodecError> {
        let Self { bytes, geometry: _, kind: _, lookups, written } = self;
        if written == lookups {
            Ok(bytes)
        } else {
            Err(CodecError::Lookups { expected: Some(lookups), found: written })
        }
    }
}

/// A query as a coordinator reads it, without copying.
#[derive(Debug, Clone)]
pub struct QueryView<'a> {
    geometry: Geometry,
    epoch: u64,
    material: Material,
    /// One per lookup: its numbers, then its encrypted secret.
    lookups: Vec<&'a [u8]>,
}

impl<'a> QueryView<'a> {
    /// Decodes a query for an index with this geometry at this epoch.
    ///
    /// # Errors
    /// The bytes are not such a query.
    pub fn decode(bytes: &'a [u8], geometry: &Geometry, epoch: u64) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let inline = read_open_header(&mut reader, Marker::Query, geometry, epoch)?;
        let lookups = read_lookups(&mut reader)?;
        let material = Material::read(&mut reader, inline)?;
        let bytes = lookup_bytes(geometry, material.kind());
        let lookups = (0..lookups).map(|_| reader.take(bytes));
        let lookups = lookups.collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { geometry: *geometry, epoch, material, lookups })
    }

    /// Geometry of the index.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The table's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The keys with which the hint is evaluated.
    pub fn material(&self) -> Material {
        self.material
    }

    /// Number of lookups, 1 to [`LOOKUPS_PER_MESSAGE`](super::LOOKUPS_PER_MESSAGE).
    #[expect(clippy::cast_possible_truncation, reason = "read from 16 bits")]
    pub fn lookups(&self) -> u16 {
        self.lookups.len() as u16
    }

    /// One partition's 1024 words of a lookup. `None` if either does not exist.
    pub fn lwe_partition(&self, lookup: u16, partition: u32) -> Option<Vec<u32>> {
        self.block(lookup, partition).map(|block| read_buckets(block, &self.geometry))
    }

    /// The same words as encoded.
    pub(super) fn block(&self, lookup: u16, partition: u32) -> Option<&'a [u8]> {
        let (blocks, _) = self.split(lookup)?;
        blocks.chunks_exact(block_bytes(&self.geometry)).nth(usize::try_from(partition).ok()?)
    }

    /// A lookup's encrypted secret; `None` if the lookup does not exist.
    pub fn encrypted_secret(&self, lookup: u16) -> Option<&'a [u8]> {
        self.split(lookup).map(|(_, secret)| secret)
    }

    fn split(&self, lookup: u16) -> Option<(&'a [u8], &'a [u8])> {
        self.lookups
            .get(usize::from(lookup))?
            .split_at_checked(self.geometry.partitions() as usize * block_bytes(&self.geometry))
    }
}
