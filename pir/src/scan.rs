//! The scan: every row of the matrix times the query, modulo 2^32 (docs/ENGINE.md §5).
//!
//! ```text
//! c[r] = Σ_j Σ_k D[r][1024j+k]·b_j[k] mod 2^32
//! ```
//!
//! The scan is linear, so the scans of disjoint partitions add up to the scan of all, in any order
//! and grouping. Neither shards nor threads change a bit of the result. Every query reads every
//! byte, whatever the query contains.
//!
//! The scan is bound by memory: one query costs as much as reading the matrix once, and up to 64
//! queries ([`MAX_PASS`]) share a pass. Work is split into bands of rows, the same rows of every
//! partition. A band's sums and one partition's share of the queries stay in a core's second-level
//! cache while the matrix streams through. The kernel is chosen at run time ([`ScanKernel`]). All
//! kernels read the same layout of [`Partition`] and give the same sums.

mod kernel;
mod partition;
mod read;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use rayon::prelude::*;
use thiserror::Error;

pub use partition::Partition;
pub use read::plain_read;

use crate::geometry::Geometry;
use crate::machine::ScanKernel;
use crate::params::PARTITION_BUCKETS;

/// Number of queries that share a pass over the matrix. More queries take several passes.
pub const MAX_PASS: usize = 64;

/// Scans the given partitions for several queries, up to [`MAX_PASS`] in a pass over their bytes.
///
/// A query is the concatenation of its 1024-word blocks in the order of `partitions`. The result
/// holds, for each query, one wrapping sum per matrix row. Runs on the current rayon pool.
///
/// # Errors
/// A partition has another geometry, a query has another length, or this machine does not support
/// the kernel.
pub fn scan(
    kernel: ScanKernel,
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
    let mut sums = Vec::with_capacity(queries.len());
    for queries in queries.chunks(MAX_PASS) {
        sums.extend(pass(kernel, geometry, partitions, queries)?);
    }
    Ok(sums)
}

/// One pass, for at least one query.
fn pass(
    kernel: ScanKernel,
    geometry: &Geometry,
    partitions: &[&Partition],
    queries: &[&[u32]],
) -> Result<Vec<Vec<u32>>, ScanError> {
    let prepared = kernel.prepare(queries).ok_or(ScanError::Kernel { kernel: kernel.name() })?;
    let (rows, count) = (geometry.bucket_bytes(), queries.len());
    let band_rows = band_rows(rows, prepared.task_rows(), rayon::current_num_threads());
    // sums[row][query], in the order of computation.
    let mut sums = vec![0u32; rows * count];
    sums.par_chunks_mut(band_rows * count).enumerate().for_each(|(band, sums)| {
        let first = band * band_rows;
        let bands = partitions.iter().map(|partition| partition.rows(first, band_rows));
        // This thread's next task probably begins with them.
        let following = partitions.first().map(|all| all.rows(first + band_rows, band_rows));
        let bands: Vec<&[u8]> = bands.chain(following).collect();
        prepared.scan_rows(&bands, sums);
    });
    let column = |query| sums.iter().skip(query).step_by(count).copied().collect();
    Ok((0..count).into_par_iter().map(column).collect())
}

/// Number of rows per task: the kernel's preference, or fewer to give every thread two tasks.
///
/// The largest power of two that is at most the preference (itself a power of two), at most half of
/// R divided by the threads, and a divisor of R, so that bands divide the rows evenly.
fn band_rows(rows: usize, preferred: usize, threads: usize) -> usize {
    let share = (rows / (2 * threads.max(1))).max(kernel::ROW_UNIT);
    preferred.min(1 << share.ilog2()).min(1 << rows.trailing_zeros())
}

/// Why a scan was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A partition does not have the number of bytes that the geometry determines.
    #[error("bytes of a partition: expected {expected}, found {found}")]
    Partition {
        /// R·1024.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A query does not match the partitions.
    #[error("words of query {query}: expected {expected}, found {found}")]
    Query {
        /// Position of the query.
        query: usize,
        /// 1024 words per partition.
        expected: usize,
        /// Words given.
        found: usize,
    },
    /// The kernel needs instructions that this machine lacks or withholds.
    #[error("this machine does not run the {kernel} kernel")]
    Kernel {
        /// Its name.
        kernel: &'static str,
    },
}
