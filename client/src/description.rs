//! A table's public description: from the wire, checked, to the types that queries use.

#[cfg(not(target_family = "wasm"))]
mod wire;

use opaque_pir::{
    cost::Link,
    index::{RowSizes, TableCost, TableFigures},
    inline::Variant,
    seed::IndexSeed,
    seed::Salt,
    table::Schema,
};

#[cfg(not(target_family = "wasm"))]
pub use self::wire::DescriptionError;
use crate::sql::{IndexMeta, TableMeta};

/// One epoch of a table, as a client needs it. All of it is public.
///
/// Invariant, held by `TryFrom` of a message: there is exactly one index for each searchable column, in the
/// schema's order, of a geometry whose identity both ends agree on.
#[derive(Debug, Clone)]
pub struct Table {
    /// Name and columns.
    pub schema: Schema,
    /// Version of the data.
    pub epoch: u64,
    /// Version of the shard map that served it.
    pub generation: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Public randomness of the epoch.
    pub salt: Salt,
    /// One per searchable column.
    pub indexes: Vec<IndexMeta>,
    /// For each of them what inline keys need, in the same order.
    pub inline: Vec<InlineMeta>,
    /// Lengths of its rows, where the cluster says so.
    pub sizes: Option<RowSizes>,
    /// The clients' link that geometries were chosen for, as the cluster says: it is shown, and nothing depends on it.
    pub link: Link,
}

/// What lookups with inline keys need to know of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineMeta {
    /// The variant that the cluster serves.
    pub variant: Variant,
    /// Digests of the public parts, plane by plane.
    pub public_parts: Vec<[u8; 32]>,
}

impl Table {
    /// What planning may know.
    pub fn meta(&self) -> TableMeta<'_> {
        TableMeta { schema: &self.schema, rows: self.rows, indexes: &self.indexes }
    }

    /// What the table costs the nodes, and which row makes it cost so much; where the cluster says so.
    pub fn figures(&self) -> Option<TableFigures> {
        let cost = TableCost::of(self.indexes.iter().map(|index| &index.geometry), self.link);
        self.sizes.clone().map(|sizes| TableFigures { cost, sizes })
    }

    /// The index of a column, by the column's position.
    pub fn index(&self, column: usize) -> Option<&IndexMeta> {
        self.indexes.iter().find(|index| index.column == column)
    }

    /// What the public elements of a column's index are expanded from, by the column's position.
    pub fn seed(&self, column: usize) -> Option<IndexSeed> {
        let geometry = &self.index(column)?.geometry;
        let (table, number) = (self.schema.table(), u32::try_from(column).ok()?);
        Some(IndexSeed::new(&self.salt, table, self.epoch, number, geometry))
    }

    /// What inline keys need for a column, by the column's position.
    pub fn inline(&self, column: usize) -> Option<&InlineMeta> {
        let mut both = self.indexes.iter().zip(&self.inline);
        both.find_map(|(index, inline)| (index.column == column).then_some(inline))
    }
}
