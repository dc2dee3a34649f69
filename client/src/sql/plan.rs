//! Statement to plan.
use opaque_pir::table::Value;

use super::{Fetched, Options, Parameters, ResultSet, SqlError, Statement, TableMeta};

/// What a plan needs fetched.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// Nothing: public metadata answers `COUNT(*)`.
    Count(u64),
    /// Private lookups.
    Lookups {
        /// Position of the searched column.
        column: usize,
        /// One value per literal, of the column's type, repeated where the literal is repeated.
        values: Vec<Value>,
        /// Pages to fetch of each value, from page 0; at least one.
        pages: u32,
    },
    /// Every row of the table, in row order, not private.
    PublicScan {
        /// Rows after which the scan may stop. Only for a statement without WHERE.
        enough_rows: Option<u64>,
    },
}

/// What to fetch for a statement, and how to make the answer of it.
#[derive(Debug, Clone)]
pub struct Plan {
    source: Source,
}

impl Plan {
    /// What to fetch.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether the answer comes from a public scan.
    pub fn is_public(&self) -> bool {
        matches!(self.source, Source::PublicScan { .. })
    }

    /// Makes the answer.
    pub fn finish(&self, _fetched: Fetched) -> Result<ResultSet, SqlError> {
        todo!()
    }
}

/// Plans a statement.
pub fn plan(
    _statement: &Statement,
    _parameters: &Parameters,
    _table: &TableMeta<'_>,
    _options: &Options,
) -> Result<Plan, SqlError> {
    todo!()
}
