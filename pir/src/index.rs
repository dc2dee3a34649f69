//! Builds the partitions of an index's matrix from rows.
//!
//! Rows with the same value in one searchable column form a *group*. NULL is a group too, so that
//! every index holds every row. A group is split in load order into pages of exactly
//! [`Geometry::page_rows`] rows; only the last page may have fewer. Page `i` is in bucket
//! [`page_bucket`](crate::layout::page_bucket)`(salt, column, value, i)`. [`IndexPlan::solve`]
//! chooses a geometry in which no bucket overflows, and [`IndexPlan::partition`] builds the bytes.

mod error;
mod groups;
mod partition;
mod sizes;
mod solver;
mod table_plan;

use std::fmt;

use rayon::prelude::*;

pub use error::{PartitionError, PlanError};
pub use partition::read_buckets;
pub use sizes::{RowSizes, Shorter, TableCost, TableFigures, Weight};
pub use table_plan::{Forecast, IndexForecast, PlannedIndex, TablePlan, forecast, plan_table};

use crate::cost::Link;
use crate::geometry::{BUCKETS_PER_PARTITION, Geometry};
use crate::layout::{BucketWriter, Keys, reduce};
use crate::seed::Salt;
use groups::Groups;

/// One row of a table, as the index of one column uses it. Its position in a slice is its number.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    /// [`Value::search_key`](crate::table::Value::search_key) of the column.
    pub key: &'a [u8],
    /// The row's bytes (row codec).
    pub row: &'a [u8],
}

impl AsRef<[u8]> for RowRef<'_> {
    /// The row's bytes.
    fn as_ref(&self) -> &[u8] {
        self.row
    }
}

/// The positions of all rows of a table in one index.
///
/// Invariants: `pages` holds every page of every group once, ordered by bucket, and within a bucket
/// by group. The pages of bucket `b` are those from `bucket_starts[b]` up to
/// `bucket_starts[b + 1]`, and they fit.
pub struct IndexPlan {
    geometry: Geometry,
    keys: Keys,
    groups: Groups,
    pages: Vec<PlacedPage>,
    bucket_starts: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct PlacedPage {
    group: u32,
    page: u32,
}

impl IndexPlan {
    /// Chooses the geometry of one index and places every row. See the [module](self) for the
    /// method, and `index/solver.rs` for the criterion.
    ///
    /// # Errors
    /// A row is too large for any bucket, or no geometry holds the rows under this salt.
    pub fn solve(
        salt: Salt,
        column: u32,
        rows: &[RowRef<'_>],
        link: Link,
    ) -> Result<Self, PlanError> {
        let groups = Groups::new(rows)?;
        solver::check(&groups, rows)?;
        let geometry = solver::geometry(&groups, &Keys::new(&salt, column), rows, link)
            .ok_or_else(|| solver::does_not_fit(&groups, rows))?;
        Ok(Self::place(salt, column, geometry, groups, rows))
    }

    fn place(
        salt: Salt,
        column: u32,
        geometry: Geometry,
        groups: Groups,
        rows: &[RowRef<'_>],
    ) -> Self {
        let keys = Keys::new(&salt, column);
        let pages: Vec<_> = (0..)
            .zip(groups.ranges())
            .flat_map(|(group, (start, end))| {
                let pages = 0..(end - start).div_ceil(geometry.page_rows());
                pages.map(move |page| PlacedPage { group, page })
            })
            .collect();
        let bucket_of = |PlacedPage { group, page }: &PlacedPage| {
            let first = groups.group(*group).first();
            let row = first.and_then(|first| rows.get(*first as usize));
            let hash = row.map_or(0, |row| keys.page_hash(row.key, *page));
            reduce(hash, geometry.buckets())
        };
        let buckets: Vec<u32> = pages.par_iter().map(bucket_of).collect();
        let (pages, bucket_starts) = sort_by_bucket(&pages, &buckets, geometry.buckets());
        Self { geometry, keys, groups, pages, bucket_starts }
    }

    /// The chosen geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The bytes of one partition, whitened and row-major: byte `r·1024 + k` is at offset `r` of
    /// bucket `1024·partition + k`. `rows` are the planned rows, or only their bytes. Uses one
    /// core; several partitions may be built at the same time.
    ///
    /// # Errors
    /// The partition does not exist, or `rows` are not the planned rows.
    pub fn partition<R: AsRef<[u8]>>(
        &self,
        rows: &[R],
        partition: u32,
    ) -> Result<Vec<u8>, PartitionError> {
        let partitions = self.geometry.partitions();
        if partition >= partitions {
            return Err(PartitionError::Partition { partition, partitions });
        }
        let planned = self.groups.row_count();
        if rows.len() != planned {
            return Err(PartitionError::Rows { planned, found: rows.len() });
        }
        let mut writer = BucketWriter::default();
        let first = partition * BUCKETS_PER_PARTITION;
        let bytes = partition::build(&self.geometry, |k, bytes| {
            let bucket = first + k;
            for page in self.pages_of(bucket) {
                self.write_page(page, rows, &mut writer);
            }
            writer.finish(&self.keys, bucket, bytes)?;
            self.keys.mask(bucket, bytes);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn pages_of(&self, bucket: u32) -> &[PlacedPage] {
        let start = self.bucket_starts.get(bucket as usize);
        let bounds = start.zip(self.bucket_starts.get(bucket as usize + 1));
        let pages = bounds.map(|(start, end)| self.pages.get(*start as usize..*end as usize));
        pages.flatten().unwrap_or_default()
    }

    fn write_page<R: AsRef<[u8]>>(&self, page: &PlacedPage, rows: &[R], writer: &mut BucketWriter) {
        let PlacedPage { group, page } = *page;
        let group = self.groups.group(group);
        let page_rows = self.geometry.page_rows() as usize;
        let numbers = group.chunks(page_rows).nth(page as usize).unwrap_or_default();
        let rows = numbers.iter().map(|number| {
            let row = rows.get(*number as usize).map_or(&[][..], AsRef::as_ref);
            (u64::from(*number), row)
        });
        writer.page(group.len() as u64, page, rows);
    }
}

/// Sorts by counting, so that pages of one bucket keep their order.
fn sort_by_bucket(
    pages: &[PlacedPage],
    buckets: &[u32],
    bucket_count: u32,
) -> (Vec<PlacedPage>, Vec<u32>) {
    let mut lengths = vec![0u32; bucket_count as usize];
    for bucket in buckets {
        if let Some(length) = lengths.get_mut(*bucket as usize) {
            *length += 1;
        }
    }
    let starts = groups::starts(&lengths);
    let mut next = starts.clone();
    let mut sorted = vec![PlacedPage::default(); pages.len()];
    for (page, bucket) in pages.iter().zip(buckets) {
        if let Some(at) = next.get_mut(*bucket as usize)
            && let Some(slot) = sorted.get_mut(*at as usize)
        {
            *slot = *page;
            *at += 1;
        }
    }
    (sorted, starts)
}

impl fmt::Debug for IndexPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexPlan").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
