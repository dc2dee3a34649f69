//! One partition of a matrix in memory.

use super::ScanError;
use crate::geometry::Geometry;
use crate::machine::Pages;
use crate::params::PARTITION_BUCKETS;

/// R·1024 stored (whitened) bytes, row by row, in large pages if the system provides them. As
/// matrix entries they are signed numbers from −128 to 127.
///
/// Every kernel reads the bytes as stored. There is no second layout and no conversion when
/// loading.
#[derive(Debug)]
pub struct Partition(Pages);

impl Partition {
    /// The stored bytes: byte `r * 1024 + k` is offset `r` of the partition's bucket `k`.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the system granted 2 MiB pages for the bytes.
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

    /// Copies bytes to memory that is suitable for the scan.
    fn try_from((bytes, geometry): (&[u8], &Geometry)) -> Result<Self, ScanError> {
        let wrong =
            ScanError::Partition { expected: geometry.partition_bytes(), found: bytes.len() };
        if bytes.len() != geometry.partition_bytes() {
            return Err(wrong);
        }
        Pages::copy(bytes).map(Self).ok_or(wrong)
    }
}
