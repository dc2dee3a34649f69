//! The kernels of the scan, one module for each [`ScanKernel`].
//!
//! A kernel converts the queries to its own form ([`ScanKernel::prepare`]), which succeeds only on
//! a machine that supports it. Then it sums bands of rows ([`RowScan`]). Every kernel gives the
//! same sums bit for bit.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod limbs;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod lines;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod staged;
#[cfg(target_arch = "x86_64")]
mod vnni;

use rayon::prelude::*;

use crate::machine::ScanKernel;
#[cfg(target_arch = "x86_64")]
use crate::machine::detect;
use crate::params::PARTITION_BUCKETS;

impl ScanKernel {
    /// Rearranges queries (equal lengths, whole partitions) for this kernel; `None` if this machine
    /// does not support it.
    pub(super) fn prepare(self, queries: &[&[u32]]) -> Option<Box<dyn RowScan>> {
        match self {
            Self::Scalar => Some(Box::new(scalar::Queries::new(queries))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(Box::new(avx2::Queries::new(queries)?)),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Some(Box::new(avx_vnni::prepare(queries)?)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni if queries.len() == 1 && detect::amd() => staged(queries),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => prefetching(queries),
            // This check is not left to `tiles`, which also succeeds with a test's emulation.
            #[cfg(target_arch = "x86_64")]
            Self::Amx if !self.is_available() => None,
            // Every processor with tiles has VNNI.
            #[cfg(target_arch = "x86_64")]
            Self::Amx if queries.len() == 1 => {
                Self::Avx512Vnni.prepare(queries).or_else(|| tiles(queries))
            }
            #[cfg(target_arch = "x86_64")]
            Self::Amx => tiles(queries),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Some(Box::new(neon::prepare(queries)?)),
            // The kernel belongs to another architecture.
            _ => None,
        }
    }
}

/// AVX-512 VNNI code for any number of queries, with prefetching.
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetching(queries: &[&[u32]]) -> Option<Box<dyn RowScan>> {
    Some(Box::new(vnni::prepare(queries)?))
}

/// AVX-512 VNNI code for a single query, which copies rows first.
#[cfg(target_arch = "x86_64")]
pub(super) fn staged(queries: &[&[u32]]) -> Option<Box<dyn RowScan>> {
    let [query] = queries else { return None };
    Some(Box::new(staged::prepare(query)?))
}

/// The tile code, for any number of queries.
#[cfg(target_arch = "x86_64")]
pub(super) fn tiles(queries: &[&[u32]]) -> Option<Box<dyn RowScan>> {
    Some(Box::new(amx::Queries::new(queries)?))
}

/// AVX-VNNI code in AVX-512's encoding; `None` if this machine lacks that.
#[cfg(all(test, target_arch = "x86_64"))]
pub(super) fn narrow(queries: &[&[u32]]) -> Option<Box<dyn RowScan>> {
    Some(Box::new(avx_vnni::prepare_evex(queries)?))
}

/// Emulates tiles in this test's process, on any processor.
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(super) fn emulate_tiles() {
    if !ScanKernel::Amx.is_available() {
        amx::emulation::install();
    }
}

/// Queries in a kernel's own form.
pub(super) trait RowScan: Send + Sync {
    /// Preferred number of rows per task, a power of two: enough to reuse loaded queries often, and
    /// few enough that the sums stay in the second-level cache.
    fn task_rows(&self) -> usize;

    /// sums\[row\]\[query\] += row · query, wrapping.
    ///
    /// `bands` holds the same rows of each partition, in the queries' order: whole rows of 1024
    /// bytes, a multiple of [`ROW_UNIT`]. One more band may follow, and may be empty. It is not
    /// scanned; it is the memory to prefetch at the end. Without it, a shard of two partitions
    /// would wait for half of its memory.
    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]);
}

/// Converts queries (equal lengths, whole partitions) to a kernel's form. For each partition and
/// each `group` of queries, `block` converts their 1024 words. All blocks of a partition are
/// contiguous.
///
/// All threads share this work. On a single thread, its part of a scan's time would grow with the
/// number of threads.
fn blocks<B: Send>(
    queries: &[&[u32]],
    group: usize,
    block: impl Fn(&[&[u32]]) -> B + Sync,
) -> Vec<B> {
    let words = queries.first().map_or(0, |query| query.len());
    let groups: Vec<&[&[u32]]> = queries.chunks(group).collect();
    let starts = (0..words).step_by(PARTITION_BUCKETS);
    let places: Vec<_> = starts.flat_map(|start| groups.iter().map(move |g| (start, *g))).collect();
    let block = |(start, queries): (usize, &[&[u32]])| {
        let words = start..start + PARTITION_BUCKETS;
        let words = queries.iter().map(|query| query.get(words.clone()).unwrap_or_default());
        block(&words.collect::<Vec<_>>())
    };
    places.into_par_iter().map(block).collect()
}

/// The number of rows is a multiple of this.
pub(super) const ROW_UNIT: usize = 32;
