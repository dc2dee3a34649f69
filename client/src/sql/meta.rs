//! What is known of a table, what of it may decide a plan, and the caller's choices.

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Column, Role, Schema};

/// Public metadata of a table at one epoch, as a server states it.
#[derive(Debug, Clone, Copy)]
pub struct TableMeta<'a> {
    /// Its columns.
    pub schema: &'a Schema,
    /// Rows of the table.
    pub rows: u64,
    /// One index for each searchable column.
    pub indexes: &'a [IndexMeta],
}

/// Public metadata of one searchable column's index.
#[derive(Debug, Clone, Copy)]
pub struct IndexMeta {
    /// Position of the column in the schema.
    pub column: usize,
    /// Rows in which the column is not NULL.
    pub non_null_rows: u64,
    /// Shape of the matrix; holds the rows per page.
    pub geometry: Geometry,
}

/// What the caller chose for one query.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Pages to fetch of each value where LIMIT does not decide; at least one.
    pub pages: u32,
    /// Whether what has no private plan may be answered by a public scan of the whole table.
    pub allow_public_scan: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { pages: 1, allow_public_scan: false }
    }
}

/// What may decide, beside the statement, whether and what is sent.
///
/// Types, nullability and columns that cannot be searched are left out, so that nothing that decides
/// can depend on them.
pub(super) struct PlanInput<'a> {
    /// The table's name.
    pub(super) name: &'a str,
    /// Its rows.
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
    /// The part of it that may decide.
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
    /// Pages that hold every row of any value of the column: one for a KEY, since its values are
    /// unique. Asking for more of them could only find nothing, and the bound is public.
    pub(super) fn most_pages(&self) -> u64 {
        match self.role {
            Role::Key => 1,
            Role::Index | Role::Payload => self.geometry.pages_for(0, self.non_null_rows),
        }
    }
}
