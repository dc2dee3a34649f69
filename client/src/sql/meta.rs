//! A table's metadata, the part of it that may decide a plan, and the caller's options.

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Column, Role, Schema};

/// Public metadata of a table at one epoch, as stated by a server.
#[derive(Debug, Clone, Copy)]
pub struct TableMeta<'a> {
    /// Its columns.
    pub schema: &'a Schema,
    /// Number of rows.
    pub rows: u64,
    /// One index for each searchable column.
    pub indexes: &'a [IndexMeta],
}

/// Public metadata of one searchable column's index.
#[derive(Debug, Clone, Copy)]
pub struct IndexMeta {
    /// Position of the column in the schema.
    pub column: usize,
    /// Number of rows in which the column is not NULL.
    pub non_null_rows: u64,
    /// Geometry of the matrix, which includes the rows per page.
    pub geometry: Geometry,
}

/// Options for one query.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Pages to fetch for each value if LIMIT does not determine the number; at least one.
    pub pages: u32,
    /// Whether a statement without a private plan may be answered by a public scan of the whole
    /// table.
    pub allow_public_scan: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { pages: 1, allow_public_scan: false }
    }
}

/// The metadata that may, together with the statement, decide which requests are sent.
///
/// This type omits types, nullability and columns that cannot be searched, so that no decision can
/// depend on them.
pub(super) struct PlanInput<'a> {
    /// The table's name.
    pub(super) name: &'a str,
    /// Number of rows.
    pub(super) rows: u64,
    /// Its KEY and INDEX columns.
    pub(super) searchable: Vec<SearchableColumn<'a>>,
}

/// A column that lookups can search.
pub(super) struct SearchableColumn<'a> {
    pub(super) name: &'a str,
    pub(super) role: Role,
    pub(super) non_null_rows: u64,
    pub(super) geometry: Geometry,
}

impl<'a> TableMeta<'a> {
    /// The part of the metadata that may decide a plan.
    pub(super) fn plan_input(&self) -> PlanInput<'a> {
        let Self { schema, rows, indexes } = *self;
        let searchable = indexes.iter().filter_map(|index| {
            let IndexMeta { column, non_null_rows, geometry } = *index;
            let Column { name, role, .. } = schema.columns().get(column)?;
            Some(SearchableColumn { name, role: *role, non_null_rows, geometry })
        });
        PlanInput { name: schema.table(), rows, searchable: searchable.collect() }
    }
}

impl PlanInput<'_> {
    pub(super) fn searchable(&self, name: &str) -> Option<&SearchableColumn<'_>> {
        self.searchable.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

impl SearchableColumn<'_> {
    /// Number of pages that hold all rows of any value of the column but NULL. It is one for a KEY,
    /// whose values are unique. Further pages would be empty, and this bound is public.
    pub(super) fn most_pages(&self) -> u64 {
        match self.role {
            Role::Key => 1,
            Role::Index | Role::Payload => self.geometry.pages_for(0, self.non_null_rows),
        }
    }

    /// Number of pages that hold all rows in which the column is NULL, in a table of `rows` rows.
    pub(super) fn null_pages(&self, rows: u64) -> u64 {
        self.geometry.pages_for(0, rows.saturating_sub(self.non_null_rows))
    }
}
