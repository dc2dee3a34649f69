//! A table's public description, converted from its message and checked.

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

/// One epoch of a table, as a client needs it. All of its fields are public.
///
/// Invariant, enforced by the conversion from the message: there is exactly one index for each
/// searchable column, in the schema's order, and client and cluster agree on the parameters of its
/// geometry.
#[derive(Debug, Clone)]
pub struct Table {
    /// The table's name and columns.
    pub schema: Schema,
    /// The epoch, which numbers versions of the data.
    pub epoch: u64,
    /// Generation of the shard map under which the table was described.
    pub generation: u64,
    /// Number of rows.
    pub rows: u64,
    /// The epoch's public random salt.
    pub salt: Salt,
    /// One index for each searchable column.
    pub indexes: Vec<IndexMeta>,
    /// Metadata for inline keys, one entry for each index, in the same order.
    pub inline: Vec<InlineMeta>,
    /// Statistics of row lengths, if the cluster reports them.
    pub sizes: Option<RowSizes>,
    /// The clients' link speed for which the geometries were chosen, as reported by the cluster. It
    /// is only displayed.
    pub link: Link,
}

/// Metadata of an index that lookups with inline keys need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineMeta {
    /// The variant of inline keys that the cluster serves.
    pub variant: Variant,
    /// Digests of the public parts, one for each plane.
    pub public_parts: Vec<[u8; 32]>,
}

impl Table {
    /// The public metadata that a plan may depend on.
    pub fn meta(&self) -> TableMeta<'_> {
        TableMeta { schema: &self.schema, rows: self.rows, indexes: &self.indexes }
    }

    /// The table's costs for the nodes, and the row that determines them, if the cluster reports
    /// row lengths.
    pub fn figures(&self) -> Option<TableFigures> {
        let cost = TableCost::of(self.indexes.iter().map(|index| &index.geometry), self.link);
        self.sizes.clone().map(|sizes| TableFigures { cost, sizes })
    }

    /// The index of the column at this position.
    pub fn index(&self, column: usize) -> Option<&IndexMeta> {
        self.indexes.iter().find(|index| index.column == column)
    }

    /// The seed from which the public elements of a column's index are expanded. Columns are given
    /// by position.
    pub fn seed(&self, column: usize) -> Option<IndexSeed> {
        let geometry = &self.index(column)?.geometry;
        let (table, number) = (self.schema.table(), u32::try_from(column).ok()?);
        Some(IndexSeed::new(&self.salt, table, self.epoch, number, geometry))
    }

    /// Metadata for inline keys of the column at this position.
    pub fn inline(&self, column: usize) -> Option<&InlineMeta> {
        let mut both = self.indexes.iter().zip(&self.inline);
        both.find_map(|(index, inline)| (index.column == column).then_some(inline))
    }
}
