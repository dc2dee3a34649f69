//! One partition of a matrix in memory.

use std::fmt;

use super::ScanError;
use crate::geometry::Geometry;
use crate::params::PARTITION_BUCKETS;

/// Bytes of a cache line, and of the widest vector load.
const ALIGNMENT: usize = 64;

/// R·1024 stored (whitened) bytes, row by row, aligned to cache lines. As matrix entries they count
/// as signed numbers from −128 to 127.
pub struct Partition {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl Partition {
    /// The bytes as stored: byte `r * 1024 + k` is offset `r` of the partition's bucket `k`.
    pub fn bytes(&self) -> &[u8] {
        // Never empty: `start + length` is within the storage by construction.
        self.storage.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// The bytes of some consecutive rows.
    pub(super) fn rows(&self, first: usize, count: usize) -> &[u8] {
        let range = first * PARTITION_BUCKETS..(first + count) * PARTITION_BUCKETS;
        self.bytes().get(range).unwrap_or_default()
    }
}

impl TryFrom<(Vec<u8>, &Geometry)> for Partition {
    type Error = ScanError;

    /// Takes bytes over, copying them once unless they happen to be aligned.
    fn try_from((bytes, geometry): (Vec<u8>, &Geometry)) -> Result<Self, ScanError> {
        let (length, expected) = (bytes.len(), geometry.partition_bytes());
        if length != expected {
            return Err(ScanError::Partition { expected, found: length });
        }
        if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
            return Ok(Self { storage: bytes, start: 0, length });
        }
        let mut storage: Vec<u8> = Vec::with_capacity(length + ALIGNMENT);
        // Zero or more bytes of padding; the capacity is never exceeded, so nothing moves.
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        storage.resize(start, 0);
        storage.extend_from_slice(&bytes);
        Ok(Self { storage, start, length })
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("bytes", &self.length).finish_non_exhaustive()
    }
}
