//! The input and output of [`Plan::finish`](super::Plan::finish).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use opaque_pir::table::{ColumnType, Value};

/// The data that the plan's [`Source`](super::Source) returned. `Debug` shows the kind but none of
/// the data.
#[derive(Clone)]
pub enum Fetched {
    /// For [`Source::Count`](super::Source::Count).
    Nothing,
    /// For [`Source::Lookups`](super::Source::Lookups): one result per value, in the same order.
    Lookups(Vec<Found>),
    /// For [`Source::PublicScan`](super::Source::PublicScan): the rows by number, in any order.
    /// Tables that were scanned once for several references share them.
    Rows(Arc<[(u64, Vec<Value>)]>),
}

/// The rows found for one value. `Debug` shows nothing: even the total is private.
#[derive(Clone, Default)]
pub struct Found {
    /// Number of rows in the table with this value, fetched or not; 0 if its first page does not
    /// exist.
    pub total_rows: u64,
    /// Row numbers and rows of the fetched pages. These are the value's first rows in load order.
    pub rows: Vec<(u64, Vec<Value>)>,
}

/// Limits on the computation of an answer.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Maximum bytes of the answer.
    pub bytes: u64,
    /// Set this to stop the computation.
    pub stop: Arc<AtomicBool>,
}

impl Default for Bounds {
    /// 1 GiB.
    fn default() -> Self {
        Self { bytes: 1 << 30, stop: Arc::default() }
    }
}

/// The answer to a statement. `Debug` shows only its columns.
#[derive(Clone, PartialEq)]
pub struct ResultSet {
    /// Names and types, in the order of the SELECT list.
    pub columns: Vec<OutputColumn>,
    /// Rows with one value per column.
    pub rows: Vec<Vec<Value>>,
}

/// One column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// The alias, the declared name, or the text of the expression.
    pub name: String,
    /// Type of the table's column that it shows. `None` for a computed column, whose values may
    /// have different types.
    pub column_type: Option<ColumnType>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Lookups(found) => f.debug_tuple("Lookups").field(&found.len()).finish(),
            Self::Rows(_) => f.write_str("Rows(..)"),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

impl fmt::Debug for ResultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultSet").field("columns", &self.columns).finish_non_exhaustive()
    }
}
