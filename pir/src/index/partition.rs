//! Converts buckets to the bytes of a partition, and back.

use super::PartitionError;
use crate::geometry::Geometry;
use crate::layout::LayoutError;
use crate::params::PARTITION_BUCKETS;

/// Number of buckets that are written together: a cache line of each matrix row.
const STRIP: usize = 64;
/// Added to R between the buckets of a strip. R is a multiple of 256, mostly a power of two, and at
/// that distance many of the 64 buckets would share one set of the cache.
const PAD: usize = 64;
/// Number of matrix rows that are read together when buckets are extracted.
const BLOCK: usize = 32;

/// Builds a partition. `fill` receives the number of a bucket in the partition and writes all of
/// its R bytes.
pub(super) fn build(
    geometry: &Geometry,
    mut fill: impl FnMut(u32, &mut [u8]) -> Result<(), LayoutError>,
) -> Result<Vec<u8>, LayoutError> {
    let bucket_bytes = geometry.bucket_bytes();
    let stride = bucket_bytes + PAD;
    let mut partition = vec![0; geometry.partition_bytes()];
    let mut strip = vec![0; STRIP * stride];
    let mut k = 0;
    for first in (0..PARTITION_BUCKETS).step_by(STRIP) {
        for bucket in strip.chunks_exact_mut(stride) {
            let (bucket, _pad) = bucket.split_at_mut(bucket_bytes);
            fill(k, bucket)?;
            k += 1;
        }
        for (r, row) in partition.chunks_exact_mut(PARTITION_BUCKETS).enumerate() {
            let line = row.iter_mut().skip(first).take(STRIP);
            for (byte, bucket) in line.zip(strip.chunks_exact(stride)) {
                if let Some(value) = bucket.get(r) {
                    *byte = *value;
                }
            }
        }
    }
    Ok(partition)
}

/// Extracts whole buckets from a partition's bytes: `count` buckets from number `first` of the
/// partition, whitened as they are stored.
///
/// # Errors
/// The bytes are not a partition of this geometry, or it does not contain these buckets.
pub fn read_buckets(
    geometry: &Geometry,
    partition: &[u8],
    first: usize,
    count: usize,
) -> Result<Vec<Vec<u8>>, PartitionError> {
    let shape = PartitionError::Shape { bytes: partition.len() };
    let end = first.checked_add(count).filter(|end| *end <= PARTITION_BUCKETS);
    let Some(end) = end.filter(|_| partition.len() == geometry.partition_bytes()) else {
        return Err(shape);
    };
    let mut buckets: Vec<_> =
        (0..count).map(|_| Vec::with_capacity(geometry.bucket_bytes())).collect();
    for block in partition.chunks(BLOCK * PARTITION_BUCKETS) {
        for (k, bucket) in (first..end).zip(&mut buckets) {
            let rows = block.chunks_exact(PARTITION_BUCKETS);
            bucket.extend(rows.filter_map(|row| row.get(k)));
        }
    }
    Ok(buckets)
}
