//! The search for a geometry in which no bucket overflows.
//!
//! Candidates are every R of [`BUCKET_SIZES`], every `page_rows` that is a power of two up to 1024,
//! and every C. Which bucket a page falls into is a hash modulo C, so that each C is a fresh throw
//! of all pages: the search hashes each page once per salt and then throws, for growing C, until
//! everything fits.
//!
//! **Aim.** The least estimated time of looking up a typical value: [`Cost::lookup_micros`] times
//! the pages of the value, averaged over all values; of a value's rows the first 64 count, because
//! queries have a LIMIT or want a count. That time weighs a byte to send or receive (160 ns on a
//! [`Link`] of 50 Mbit/s) against the servers' work: small buckets make a long query and a cheap
//! hint product, large ones the reverse.
//!
//! **Limits.** A matrix takes at most 16 MiB or 4 times the rows, whichever is more; only where no
//! geometry does that, up to 1 GiB or 64 times. A few large rows would otherwise be spread over
//! buckets that are nearly all empty. An index of 4 rows or more has at least 4 partitions, so that
//! a cluster's shards have something to share; with buckets of 256 bytes that is 1 MiB, and 9 KiB
//! more to send. Only a page of more than 2 KiB makes a tiny table take the 16 MiB that 4
//! partitions of whole planes are, which the first limit leaves room for.
//!
//! [`Cost::lookup_micros`]: crate::cost::Cost::lookup_micros

use rayon::prelude::*;

use super::groups::Groups;
use super::{PlanError, RowRef};
use crate::cost::Link;
use crate::geometry::{BUCKET_SIZES, BUCKETS_PER_PARTITION, Geometry, SHARED_PARTITIONS};
use crate::layout::{HEADER_BYTES, Keys, MAX_ROW_BYTES, framed_row_bytes, page_bytes, reduce};
use crate::params::{MAX_BUCKET_BYTES, MAX_BUCKETS};

/// Most rows per page that is tried.
const MOST_PAGE_ROWS: u32 = 1024;
/// Rows of a value that a typical query wants.
const WANTED_ROWS: u32 = 64;
/// Rows from which on an index has [`SHARED_PARTITIONS`].
const SHARED_FROM_ROWS: usize = 4;
/// Matrix sizes allowed, the next only where nothing fits the one before: a floor in bytes, and a
/// multiple of the rows' bytes.
const SIZE_LIMITS: [(u64, u64); 2] = [(16 << 20, 4), (1 << 30, 64)];
/// C grows by 1024, and by no less than this part of itself.
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
    /// Pages that a typical value has.
    typical: f64,
}

/// One R and one cut, before C is known.
struct Candidate<'a> {
    cut: &'a Cut,
    link: Link,
    bucket_bytes: u32,
    /// Fewest partitions that could do.
    partitions: u32,
    /// Estimated time with that many.
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

/// The error that names what makes packing hard.
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
    // The first cut has the most pages; what they take is "the rows' bytes" of the limits.
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

    /// The smallest C tried that works, is cheaper than `below` and keeps the matrix in its limit.
    fn search(&self, below: f64, most_bytes: u64, loads: &mut Vec<u32>) -> Option<(f64, Geometry)> {
        let mut partitions = self.partitions;
        loop {
            let geometry = self.geometry(partitions)?;
            let micros = self.micros(&geometry);
            // Both grow with C, so that nothing further on could do better.
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
                // At most R + R, since no page is larger than a bucket.
                *load += bytes;
                u64::from(*load) <= capacity
            })
        })
    }
}

/// Every way to cut the groups into pages, fewest rows per page first.
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
        // A group's first hashes are those of its pages, however many rows a page has.
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

/// At a group's position `i` of [`Groups::rows`], the hash of its page `i`.
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

/// Bytes of pages that a bucket holds.
fn capacity(bucket_bytes: usize) -> u64 {
    bucket_bytes as u64 - HEADER_BYTES as u64
}
