//! Why an index cannot be planned or built.

use thiserror::Error;

use crate::layout::LayoutError;
use crate::table::RowError;

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
    /// A row does not fit the schema.
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
    /// The bytes are no partition of the geometry, or it has no such buckets.
    #[error("a partition of {bytes} bytes does not have these buckets")]
    Shape {
        /// Bytes given.
        bytes: usize,
    },
}
