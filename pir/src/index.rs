//! From rows to the partitions of an index's matrix.
//!
//! Rows of equal value in one searchable column form a *group* (NULL is a group too, so that every
//! index holds every row). A group is cut in load order into pages of exactly
//! [`Geometry::page_rows`] rows, of which only the last may have fewer; page `i` lives in bucket
//! [`page_bucket`](crate::layout::page_bucket)`(salt, column, value, i)`. [`IndexPlan::solve`]
//! picks a geometry in which no bucket overflows, and [`IndexPlan::partition`] builds the bytes.

use thiserror::Error;

use crate::geometry::{Cost, Geometry};
use crate::layout::{LayoutError, Salt};
use crate::table::{RowError, Schema};

/// One row of a table, as an index of one column sees it. Its position in a slice is its number.
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

/// Where every row of a table goes in one index.
pub struct IndexPlan {
    geometry: Geometry,
    cost: Cost,
}

impl IndexPlan {
    /// Picks the geometry of one index and places every row.
    ///
    /// # Errors
    /// When a row is too large for any bucket, or when no geometry holds the rows under this salt.
    pub fn solve(_salt: Salt, _column: u32, _rows: &[RowRef<'_>]) -> Result<Self, PlanError> {
        todo!()
    }

    /// The geometry that was picked.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What it costs.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// The bytes of one partition, whitened and row-major: byte `r·1024 + k` is at offset `r` of
    /// bucket `1024·partition + k`. `rows` are the rows that were planned (or just their bytes).
    pub fn partition<R: AsRef<[u8]> + Sync>(
        &self,
        _rows: &[R],
        _partition: u32,
    ) -> Result<Vec<u8>, PartitionError> {
        todo!()
    }
}

/// Reads whole buckets out of a partition's bytes: `count` buckets from the partition's bucket
/// `first`, still whitened.
pub fn read_buckets(
    _geometry: &Geometry,
    _partition: &[u8],
    _first: usize,
    _count: usize,
) -> Result<Vec<Vec<u8>>, PartitionError> {
    todo!()
}

/// One epoch of a table: its salt, and one plan for every searchable column.
pub struct TablePlan {
    /// The salt that every index was planned with.
    pub salt: Salt,
    /// In the order of the schema.
    pub indexes: Vec<PlannedIndex>,
}

/// The plan of one searchable column.
pub struct PlannedIndex {
    /// Position of the column in the schema.
    pub column: u32,
    /// Where the rows go.
    pub plan: IndexPlan,
    /// Rows whose value in this column is not NULL.
    pub non_null_rows: u64,
}

/// Plans every index of a table. `rows` are in load order; salts are drawn until one works.
///
/// # Errors
/// See [`PlanError`].
pub fn plan_table(
    _schema: &Schema,
    _rows: &[Vec<u8>],
    _next_salt: impl FnMut() -> Salt,
) -> Result<TablePlan, PlanError> {
    todo!()
}

/// Why rows cannot be planned. Rows are named by number; their content is left out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A row is larger than the largest bucket.
    #[error("row {row} takes {bytes} bytes; a row may take at most {limit}")]
    RowTooLarge {
        /// Number of the row, from 0.
        row: u64,
        /// Its bytes (row codec).
        bytes: usize,
        /// Most bytes that such a row may have.
        limit: usize,
    },
    /// No geometry holds the rows.
    #[error(
        "no matrix holds the {rows} rows: the most frequent value has {largest_value_rows} rows, the largest row takes {largest_row_bytes} bytes; split the table or shorten its rows"
    )]
    DoesNotFit {
        /// Rows of the table.
        rows: u64,
        /// Rows of the most frequent value.
        largest_value_rows: u64,
        /// Bytes of the largest row (row codec).
        largest_row_bytes: usize,
    },
    /// A value of a KEY column occurs twice.
    #[error("rows {first_row} and {second_row} have the same value in KEY column {column:?}")]
    DuplicateKey {
        /// Name of the column.
        column: String,
        /// Number of the value's first row, from 0.
        first_row: u64,
        /// Number of its second row.
        second_row: u64,
    },
    /// A row is none of the schema's.
    #[error("row {row}: {source}")]
    Row {
        /// Number of the row, from 0.
        row: u64,
        /// What is wrong with it.
        source: RowError,
    },
    /// More rows than an index can number.
    #[error("{rows} rows are too many: a table has at most 2^32 - 1")]
    TooManyRows {
        /// Rows given.
        rows: u64,
    },
}

/// Why a partition's bytes cannot be built or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The index has fewer partitions.
    #[error("no partition {partition}: the index has {partitions}")]
    Partition {
        /// The partition asked for.
        partition: u32,
        /// Partitions of the index.
        partitions: u32,
    },
    /// The rows are not those that were planned.
    #[error("{found} rows where {planned} were planned")]
    Rows {
        /// Rows planned.
        planned: usize,
        /// Rows given.
        found: usize,
    },
    /// A row is larger than when it was planned.
    #[error(transparent)]
    Bucket(#[from] LayoutError),
    /// The bytes are no partition of the geometry, or it has no such buckets.
    #[error("no such buckets in a partition of {bytes} bytes")]
    Shape {
        /// Bytes given.
        bytes: usize,
    },
}
