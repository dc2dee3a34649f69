//! One partition of a matrix in memory.

use super::ScanError;
use crate::geometry::Geometry;
use crate::machine::Pages;
use crate::params::PARTITION_BUCKETS;

/// R·1024 stored (whitened) bytes, row by row, in large pages where the system gives them. As
/// matrix entries they count as signed numbers from −128 to 127.
///
/// Every kernel reads the bytes as they are stored: no second layout, no conversion at load.
#[derive(Debug)]
pub struct Partition(Pages);

impl Partition {
    /// The bytes as stored: byte `r * 1024 + k` is offset `r` of the partition's bucket `k`.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the system accepted the request to keep the bytes in 2 MiB pages.
    pub fn large_pages(&self) -> bool {
        self.0.large()
    }

    /// The bytes of some consecutive rows.
    pub(super) fn rows(&self, first: usize, count: usize) -> &[u8] {
        let range = first * PARTITION_BUCKETS..(first + count) * PARTITION_BUCKETS;
        self.bytes().get(range).unwrap_or_default()
    }
}

impl TryFrom<(&[u8], &Geometry)> for Partition {
    type Error = ScanError;

    /// Copies bytes to memory that suits the scan.
    fn try_from((bytes, geometry): (&[u8], &Geometry)) -> Result<Self, ScanError> {
        let wrong =
            ScanError::Partition { expected: geometry.partition_bytes(), found: bytes.len() };
        if bytes.len() != geometry.partition_bytes() {
            return Err(wrong);
        }
        Pages::copy(bytes).map(Self).ok_or(wrong)
    }
}
