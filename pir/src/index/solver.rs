//! Searches for a geometry in which no bucket overflows.
//!
//! Candidates are every R of [`BUCKET_SIZES`], every `page_rows` that is a power of two up to 1024,
//! and every C. The bucket of a page is a hash modulo C, so each C gives a new distribution of all
//! pages. The search hashes each page once per salt, and then distributes the pages for growing C
//! until everything fits.
//!
//! **Criterion.** The geometry minimizes the estimated time of a typical lookup:
//! [`Cost::lookup_micros`] times the pages of the value, averaged over all values. Only the first
//! 64 rows of a value count, because queries have a LIMIT or request a count. The time weighs a
//! transferred byte (160 ns on a [`Link`] of 50 Mbit/s) against the servers' work: small buckets
//! make the query long and the hint product cheap; large buckets do the reverse.
//!
//! **Limits.** A matrix takes at most 16 MiB or 4 times the rows, whichever is more. If no geometry
//! satisfies that, the limit is 1 GiB or 64 times the rows. Without a limit, a few large rows would
//! be spread over buckets that are almost empty. An index of 4 rows or more has at least 4
//! partitions, so that a cluster's shards have something to share. With buckets of 256 bytes this
//! costs 1 MiB, and 9 KiB more to send. Only a page of more than 2 KiB makes a tiny table take 16
//! MiB, which is 4 partitions of whole planes; the first limit permits that.
//!
//! [`Cost::lookup_micros`]: crate::cost::Cost::lookup_micros

use rayon::prelude::*;

use super::groups::Groups;
use super::{PlanError, RowRef};
use crate::cost::Link;
use crate::geometry::{BUCKET_SIZES, BUCKETS_PER_PARTITION, Geometry, SHARED_PARTITIONS};
use crate::layout::{HEADER_BYTES, Keys, MAX_ROW_BYTES, framed_row_bytes, page_bytes, reduce};
use crate::params::{MAX_BUCKET_BYTES, MAX_BUCKETS};

/// Maximum rows per page that are tried.
const MOST_PAGE_ROWS: u32 = 1024;
/// Number of rows of a value that a typical query requests.
const WANTED_ROWS: u32 = 64;
/// Number of rows from which on an index has [`SHARED_PARTITIONS`].
const SHARED_FROM_ROWS: usize = 4;
/// Limits of the matrix size: a minimum in bytes and a multiple of the rows' bytes. Each limit is
/// used only if nothing fits the one before.
const SIZE_LIMITS: [(u64, u64); 2] = [(16 << 20, 4), (1 << 30, 64)];
/// C grows by 1024, or by this fraction of itself if that is more.
const GROWTH: u32 = 64;

/// The pages of an index for one number of rows per page.
struct Cut {
    page_rows: u32,
    /// Hash and bytes of each page, in the order of groups.
    pages: Vec<(u64, u32)>,
    /// Bytes of all pages.
    bytes: u64,
    /// Bytes of the largest.
    largest: u64,
    /// Number of pages of a typical value.
    typical: f64,
}

/// One R and one cut, before C is determined.
struct Candidate<'a> {
    cut: &'a Cut,
    link: Link,
    bucket_bytes: u32,
    /// Minimum number of partitions.
    partitions: u32,
    /// Estimated time with that number.
    micros: f64,
}

/// Refuses rows that no salt can place.
pub(super) fn check(groups: &Groups, rows: &[RowRef<'_>]) -> Result<(), PlanError> {
    let capacity = capacity(MAX_BUCKET_BYTES as usize);
    let mut total = 0;
    for (start, end) in groups.ranges() {
        let numbers = groups.rows().get(start as usize..end as usize).unwrap_or_default();
        for number in numbers {
            let bytes = rows.get(*number as usize).map_or(0, |row| row.row.len());
            if bytes > MAX_ROW_BYTES {
                let limit = MAX_ROW_BYTES;
                return Err(PlanError::RowTooLarge { row: u64::from(*number), bytes, limit });
            }
            total += framed_row_bytes(u64::from(*number), bytes);
        }
    }
    if total > capacity * u64::from(MAX_BUCKETS) {
        return Err(does_not_fit(groups, rows));
    }
    Ok(())
}

/// The error, which names the largest value and the largest row.
pub(super) fn does_not_fit(groups: &Groups, rows: &[RowRef<'_>]) -> PlanError {
    let largest_value = groups.ranges().map(|(start, end)| end - start).max().unwrap_or(0);
    PlanError::DoesNotFit {
        rows: rows.len() as u64,
        largest_value_rows: u64::from(largest_value),
        largest_row_bytes: rows.iter().map(|row| row.row.len()).max().unwrap_or(0),
    }
}

/// The cheapest geometry under this salt, if there is one.
pub(super) fn geometry(
    groups: &Groups,
    keys: &Keys,
    rows: &[RowRef<'_>],
    link: Link,
) -> Option<Geometry> {
    let cuts = cuts(groups, keys, rows);
    // The first cut has the most pages. Their bytes are "the rows' bytes" in the limits.
    let bytes = cuts.first().map_or(0, |cut| cut.bytes);
    let fewest = if groups.row_count() >= SHARED_FROM_ROWS { SHARED_PARTITIONS } else { 1 };
    SIZE_LIMITS.iter().find_map(|(floor, times)| {
        cheapest(&cuts, link, fewest, (*floor).max(bytes.saturating_mul(*times)))
    })
}

fn cheapest(cuts: &[Cut], link: Link, fewest: u32, most_bytes: u64) -> Option<Geometry> {
    let mut candidates: Vec<_> = cuts
        .iter()
        .flat_map(|cut| BUCKET_SIZES.map(|bucket_bytes| (cut, bucket_bytes)))
        .filter(|(cut, bucket_bytes)| cut.largest <= capacity(*bucket_bytes as usize))
        .filter_map(|(cut, bucket_bytes)| Candidate::new(cut, link, bucket_bytes, fewest))
        .collect();
    candidates.sort_by(|a, b| a.micros.total_cmp(&b.micros));
    let mut best: Option<(f64, Geometry)> = None;
    let mut loads = Vec::new();
    for candidate in &candidates {
        let limit = best.as_ref().map_or(f64::INFINITY, |(micros, _)| *micros);
        best = candidate.search(limit, most_bytes, &mut loads).or(best);
    }
    best.map(|(_, geometry)| geometry)
}

impl<'a> Candidate<'a> {
    fn new(cut: &'a Cut, link: Link, bucket_bytes: u32, fewest: u32) -> Option<Self> {
        let full = cut
            .bytes
            .div_ceil(capacity(bucket_bytes as usize))
            .div_ceil(u64::from(BUCKETS_PER_PARTITION));
        let partitions = u32::try_from(full).ok()?.max(fewest);
        let mut candidate = Self { cut, link, bucket_bytes, partitions, micros: 0.0 };
        candidate.micros = candidate.micros(&candidate.geometry(partitions)?);
        Some(candidate)
    }

    fn geometry(&self, partitions: u32) -> Option<Geometry> {
        let buckets = partitions.checked_mul(BUCKETS_PER_PARTITION)?;
        Geometry::new(self.bucket_bytes, buckets, self.cut.page_rows).ok()
    }

    fn micros(&self, geometry: &Geometry) -> f64 {
        geometry.cost(self.link).lookup_micros() as f64 * self.cut.typical
    }

    /// The smallest C that works, if it is cheaper than `below` and keeps the matrix within its
    /// limit.
    fn search(&self, below: f64, most_bytes: u64, loads: &mut Vec<u32>) -> Option<(f64, Geometry)> {
        let mut partitions = self.partitions;
        loop {
            let geometry = self.geometry(partitions)?;
            let micros = self.micros(&geometry);
            // Both grow with C, so no larger C can be better.
            if micros >= below || geometry.matrix_bytes() > most_bytes {
                return None;
            }
            if self.cut.fits(&geometry, loads) {
                return Some((micros, geometry));
            }
            partitions += (partitions / GROWTH).max(1);
        }
    }
}

impl Cut {
    fn fits(&self, geometry: &Geometry, loads: &mut Vec<u32>) -> bool {
        let capacity = capacity(geometry.bucket_bytes());
        loads.clear();
        loads.resize(geometry.buckets() as usize, 0);
        self.pages.iter().all(|(hash, bytes)| {
            loads.get_mut(reduce(*hash, geometry.buckets()) as usize).is_some_and(|load| {
                // The load is at most R + R, because no page is larger than a bucket.
                *load += bytes;
                u64::from(*load) <= capacity
            })
        })
    }
}

/// Every way to split the groups into pages, with the fewest rows per page first.
fn cuts(groups: &Groups, keys: &Keys, rows: &[RowRef<'_>]) -> Vec<Cut> {
    let hashes = hashes(groups, keys, rows);
    let framed = framed(groups, rows);
    let most = groups.ranges().map(|(start, end)| end - start).max().unwrap_or(1);
    let most = most.next_power_of_two().min(MOST_PAGE_ROWS);
    let page_rows = (0..).map(|bits| 1u32 << bits).take_while(|page_rows| *page_rows <= most);
    page_rows.map(|page_rows| cut(groups, page_rows, &hashes, &framed)).collect()
}

fn cut(groups: &Groups, page_rows: u32, hashes: &[u64], framed: &[u64]) -> Cut {
    let mut cut = Cut { page_rows, pages: Vec::new(), bytes: 0, largest: 0, typical: 1.0 };
    let mut wanted_pages = 0u64;
    for (start, end) in groups.ranges() {
        wanted_pages += u64::from((end - start).min(WANTED_ROWS).div_ceil(page_rows));
        // A group's first hashes are those of its pages, independent of the rows per page.
        let group_hashes = hashes.get(start as usize..end as usize).unwrap_or_default();
        let firsts = (start..end).step_by(page_rows as usize);
        for ((page, first), hash) in (0..).zip(firsts).zip(group_hashes) {
            let last = first.saturating_add(page_rows).min(end);
            let sum = |at: u32| framed.get(at as usize).copied().unwrap_or(0);
            let value_rows = u64::from(end - start);
            let bytes =
                page_bytes(value_rows, page, u64::from(last - first), sum(last) - sum(first));
            cut.bytes += bytes;
            cut.largest = cut.largest.max(bytes);
            cut.pages.push((*hash, u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
    }
    if groups.len() > 0 {
        cut.typical = wanted_pages as f64 / groups.len() as f64;
    }
    cut
}

/// Entry `i` of a group's range in [`Groups::rows`] is the hash of its page `i`.
fn hashes(groups: &Groups, keys: &Keys, rows: &[RowRef<'_>]) -> Vec<u64> {
    let pages: Vec<u32> = groups.ranges().flat_map(|(start, end)| 0..end - start).collect();
    (groups.rows().par_iter().zip(&pages))
        .map(|(row, page)| rows.get(*row as usize).map_or(0, |row| keys.page_hash(row.key, *page)))
        .collect()
}

/// Running sums of the rows' bytes inside a page, in the order of [`Groups::rows`].
fn framed(groups: &Groups, rows: &[RowRef<'_>]) -> Vec<u64> {
    let mut sums = Vec::with_capacity(groups.row_count() + 1);
    let mut sum = 0;
    sums.push(sum);
    for number in groups.rows() {
        let bytes = rows.get(*number as usize).map_or(0, |row| row.row.len());
        sum += framed_row_bytes(u64::from(*number), bytes);
        sums.push(sum);
    }
    sums
}

/// Bytes of pages that fit into a bucket.
fn capacity(bucket_bytes: usize) -> u64 {
    bucket_bytes as u64 - HEADER_BYTES as u64
}
