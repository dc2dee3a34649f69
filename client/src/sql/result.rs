//! What goes into [`Plan::finish`](super::Plan::finish) and what comes out.

use opaque_pir::table::{ColumnType, Value};

/// What the plan's [`Source`](super::Source) brought.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// For [`Source::Count`](super::Source::Count).
    Nothing,
    /// For [`Source::Lookups`](super::Source::Lookups): one per value, in the same order.
    Lookups(Vec<Found>),
    /// For [`Source::PublicScan`](super::Source::PublicScan): row numbers and rows.
    Rows(Vec<(u64, Vec<Value>)>),
}

/// What the pages of one looked-up value held.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Rows of the table with this value, fetched or not; 0 when no page of it exists.
    pub total_rows: u64,
    /// Row numbers and rows of the fetched pages. They are the value's first ones in load order.
    pub rows: Vec<(u64, Vec<Value>)>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultSet {
    /// Names and types, in the order of the SELECT list.
    pub columns: Vec<OutputColumn>,
    /// Rows with one value per column.
    pub rows: Vec<Vec<Value>>,
}

/// One column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// As SQLite would name it: the alias, the declared name, or `COUNT(*)`.
    pub name: String,
    /// Type of its values.
    pub column_type: ColumnType,
}
