//! The scan: every row of the matrix times the query, modulo 2^32 (engine.md §4).
//!
//! ```text
//! c[r] = Σ_j Σ_k D[r][1024j+k]·b_j[k] mod 2^32
//! ```
//!
//! It is linear, so the scans of disjoint partitions add up to the scan of all, in any order and
//! grouping: neither shards nor threads change a bit of the result. Every byte is touched for every
//! query, whatever the query holds.

mod kernel;
mod partition;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use rayon::prelude::*;
use thiserror::Error;

pub use kernel::Kernel;
pub use partition::Partition;

use crate::geometry::Geometry;
use crate::params::PARTITION_BUCKETS;

/// Rows that one task scans. R is a multiple of 4096, so there are at least 32 tasks.
const TASK_ROWS: usize = 128;

/// Scans the given partitions for several queries in one pass over their bytes.
///
/// A query is the concatenation of its 1024-word blocks in the order of `partitions`; the result
/// holds, for each query, one wrapping sum per matrix row. Runs on the current rayon pool.
///
/// # Errors
/// When a partition is of another geometry, or a query of another length.
pub fn scan(
    kernel: Kernel,
    geometry: &Geometry,
    partitions: &[&Partition],
    queries: &[&[u32]],
) -> Result<Vec<Vec<u32>>, ScanError> {
    for partition in partitions {
        if partition.bytes().len() != geometry.partition_bytes() {
            return Err(ScanError::Partition {
                expected: geometry.partition_bytes(),
                found: partition.bytes().len(),
            });
        }
    }
    let words = partitions.len() * PARTITION_BUCKETS;
    for (query, block) in queries.iter().enumerate() {
        if block.len() != words {
            return Err(ScanError::Query { query, expected: words, found: block.len() });
        }
    }
    let rows = geometry.bucket_bytes();
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let prepared = kernel.prepare(queries);
    // sums[row][query]: the order in which they are made.
    let mut sums = vec![0u32; rows * queries.len()];
    let task = |(task, sums): (usize, &mut [u32])| {
        for (partition, block) in partitions.iter().zip(prepared.partitions()) {
            let bytes = partition.rows(task * TASK_ROWS, TASK_ROWS);
            prepared.accumulate(bytes, block, sums);
        }
    };
    sums.par_chunks_mut(TASK_ROWS * queries.len()).enumerate().for_each(task);
    let column = |query| sums.iter().skip(query).step_by(queries.len()).copied().collect();
    Ok((0..queries.len()).into_par_iter().map(column).collect())
}

/// Why a scan was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A partition has not the bytes that the geometry fixes.
    #[error("a partition has {found} bytes instead of {expected}")]
    Partition {
        /// R·1024.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A query does not match the partitions.
    #[error("query {query} has {found} words instead of {expected}")]
    Query {
        /// Position of the query.
        query: usize,
        /// 1024 words per partition.
        expected: usize,
        /// Words given.
        found: usize,
    },
}
