//! What planning may know: public metadata of the table, and the caller's choices.

use opaque_pir::geometry::Geometry;
use opaque_pir::table::{Role, Schema};

/// Public metadata of a table at one epoch.
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

impl TableMeta<'_> {
    pub(super) fn index(&self, column: usize) -> Option<&IndexMeta> {
        self.indexes.iter().find(|index| index.column == column)
    }

    /// Pages that hold every row of any value of the indexed column: one for a KEY, since its
    /// values are unique. Asking for more of them could only find nothing, and the bound is public.
    pub(super) fn most_pages(&self, index: &IndexMeta) -> u64 {
        match self.schema.columns().get(index.column).map(|column| column.role) {
            Some(Role::Key) | None => 1,
            Some(Role::Index | Role::Payload) => index.geometry.pages_for(0, index.non_null_rows),
        }
    }
}
