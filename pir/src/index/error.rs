//! Why an index cannot be planned or built.

use thiserror::Error;

use crate::layout::LayoutError;
use crate::table::RowError;

/// Why rows cannot be planned. Rows are named by number, without their content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A row is larger than the largest bucket.
    #[error("row {row} takes {bytes} bytes; a row may take at most {limit}")]
    RowTooLarge {
        /// Number of the row, counted from 0.
        row: u64,
        /// Its bytes (row codec).
        bytes: usize,
        /// Maximum bytes of such a row.
        limit: usize,
    },
    /// No geometry can hold the rows.
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
        /// Number of the value's first row, counted from 0.
        first_row: u64,
        /// Number of its second row.
        second_row: u64,
    },
    /// A row does not fit the schema.
    #[error("row {row}: {source}")]
    Row {
        /// Number of the row, counted from 0.
        row: u64,
        /// The error in the row.
        source: RowError,
    },
    /// The table has more rows than an index can number.
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
    /// The partition does not exist.
    #[error("no partition {partition}: the index has {partitions}")]
    Partition {
        /// The requested partition.
        partition: u32,
        /// Partitions of the index.
        partitions: u32,
    },
    /// The rows are not the planned ones.
    #[error("rows: {planned} were planned, {found} were found")]
    Rows {
        /// Rows planned.
        planned: usize,
        /// Rows given.
        found: usize,
    },
    /// A row is larger than when it was planned.
    #[error(transparent)]
    Bucket(#[from] LayoutError),
    /// The bytes are not a partition of the geometry, or it does not contain these buckets.
    #[error("a partition of {bytes} bytes does not have these buckets")]
    Shape {
        /// Bytes given.
        bytes: usize,
    },
}
