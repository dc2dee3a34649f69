//! The shape of an index's matrix. [`index`](crate::index) chooses it by its [cost](crate::cost).

mod rounding;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use rounding::{Rounding, round_word};

use crate::params::{
    LAYOUT_VERSION, MAX_BUCKET_BYTES, MAX_BUCKETS, PARTITION_BUCKETS, PLANE_ROWS, ParamsId,
    RING_DEGREE,
};

#[expect(clippy::cast_possible_truncation, reason = "constants below 2^32")]
pub(crate) const BUCKETS_PER_PARTITION: u32 = PARTITION_BUCKETS as u32;

/// All valid R: the rows of a ring of inline keys, folded 8, 4 or 2 times, or of 1 to 32 whole
/// rings.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
pub const BUCKET_SIZES: [u32; 35] = {
    let mut sizes = [256; 35];
    let mut i = 1;
    while i < sizes.len() {
        sizes[i] = if i < 4 { 256 << i } else { sizes[i - 1] + 2048 };
        i += 1;
    }
    sizes
};
const _: () = assert!(matches!(BUCKET_SIZES, [256, 512, 1024, 2048, 4096, .., MAX_BUCKET_BYTES]));
/// Minimum number of partitions of an index with several rows, for the shards of a cluster to
/// share.
pub(crate) const SHARED_PARTITIONS: u32 = 4;

/// [`PARTITION_BUCKETS`] in the type that counts buckets.
#[expect(clippy::cast_possible_truncation, reason = "a constant of 11 bits")]
const WIDTH: u32 = PARTITION_BUCKETS as u32;

/// The shape of one index's matrix: R rows of bytes by C buckets.
///
/// Invariants, enforced by [`Geometry::new`]: R is one of [`BUCKET_SIZES`], C is a multiple of 1024
/// and at most [`MAX_BUCKETS`], and a page has at least one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawGeometry")]
pub struct Geometry {
    bucket_bytes: u32,
    buckets: u32,
    page_rows: u32,
}

#[derive(Deserialize)]
struct RawGeometry {
    bucket_bytes: u32,
    buckets: u32,
    page_rows: u32,
}

impl TryFrom<RawGeometry> for Geometry {
    type Error = GeometryError;

    fn try_from(raw: RawGeometry) -> Result<Self, GeometryError> {
        Self::new(raw.bucket_bytes, raw.buckets, raw.page_rows)
    }
}

impl Geometry {
    /// Creates a geometry if it satisfies every invariant of the type.
    pub fn new(bucket_bytes: u32, buckets: u32, page_rows: u32) -> Result<Self, GeometryError> {
        let whole_partitions =
            (1..=MAX_BUCKETS).contains(&buckets) && buckets.is_multiple_of(BUCKETS_PER_PARTITION);
        if BUCKET_SIZES.contains(&bucket_bytes) && whole_partitions && page_rows > 0 {
            Ok(Self { bucket_bytes, buckets, page_rows })
        } else {
            Err(GeometryError::Shape { bucket_bytes, buckets, page_rows })
        }
    }

    /// R: bytes per bucket, which is the number of rows of the matrix.
    pub fn bucket_bytes(&self) -> usize {
        self.bucket_bytes as usize
    }

    /// C: number of buckets, which is the number of columns of the matrix.
    pub fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Rows per page of one value. Only the value's last page may have fewer.
    pub fn page_rows(&self) -> u32 {
        self.page_rows
    }

    /// Number of partitions of 1024 buckets.
    pub fn partitions(&self) -> u32 {
        self.buckets / BUCKETS_PER_PARTITION
    }

    /// The partition that contains a bucket.
    pub fn partition_of(bucket: u32) -> u32 {
        bucket / WIDTH
    }

    /// The buckets of a partition.
    pub fn buckets_of(partition: u32) -> Range<u32> {
        let first = partition.saturating_mul(WIDTH);
        first..first.saturating_add(WIDTH)
    }

    /// Number of planes of the hint, of 4096 rows; the last may have fewer.
    pub fn planes(&self) -> usize {
        self.bucket_bytes().div_ceil(PLANE_ROWS)
    }

    /// Rows of a plane of the hint: 4096, or for the last plane the remaining rows, which are 2048,
    /// or R if that is less. 0 for a plane that does not exist.
    pub fn plane_rows(&self, plane: usize) -> usize {
        let before = plane.saturating_mul(PLANE_ROWS);
        self.bucket_bytes().saturating_sub(before).min(PLANE_ROWS)
    }

    /// Words of a plane of the hint, 1024 per row.
    pub fn plane_words(&self, plane: usize) -> usize {
        self.plane_rows(plane) * RING_DEGREE
    }

    /// The number of bits that are transferred for each bucket's number and for each row.
    pub fn rounding(&self) -> Rounding {
        Rounding::of(self.buckets, self.bucket_bytes)
    }

    /// Bytes of one partition of the matrix.
    pub fn partition_bytes(&self) -> usize {
        self.bucket_bytes() * PARTITION_BUCKETS
    }

    /// Bytes of the whole matrix.
    pub fn matrix_bytes(&self) -> u64 {
        self.partition_bytes() as u64 * u64::from(self.partitions())
    }

    /// Number of pages to fetch for the rows `offset..offset + limit` of a value; at least one. It
    /// depends on nothing else, so a query's size reveals nothing about the data.
    pub fn pages_for(&self, offset: u64, limit: u64) -> u64 {
        offset.saturating_add(limit).div_ceil(u64::from(self.page_rows)).max(1)
    }

    /// Identity of the parameter set, the layout version and the geometry.
    pub fn params_id(&self) -> ParamsId {
        let mut bytes = Vec::with_capacity(13);
        bytes.push(LAYOUT_VERSION);
        for number in [self.bucket_bytes, self.buckets, self.page_rows] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        ParamsId::new(&bytes)
    }
}

/// Why a geometry is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// The numbers are not a valid geometry.
    #[error(
        "no geometry: {bucket_bytes} bytes per bucket, {buckets} buckets, {page_rows} rows per page"
    )]
    Shape {
        /// R as given.
        bucket_bytes: u32,
        /// C as given.
        buckets: u32,
        /// Rows per page as given.
        page_rows: u32,
    },
}

#[cfg(test)]
mod tests;
