//! Columns of a table.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// The columns in order, 1 to 256. A new epoch may add, drop or re-role columns; a column never
    /// changes its type.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.exists(c, c.role == 'key' || c.role == 'index')").message(
            "at least one column must have role key or index: only those can be looked up privately"
        ),
        validation = Rule::new("self.all(c, self.exists_one(d, d.name.lowerAscii() == c.name.lowerAscii()))").message(
            "column names must differ, also without regard to case"
        ),
        validation = Rule::new("self.all(c, !oldSelf.exists(d, d.name == c.name && d.type != c.type))").message(
            "the type of a column is immutable: add a column with another name"
        )
    )]
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.role != 'key' || !self.nullable").message(
    "a column with role key cannot be nullable: every row is found by its key"
))]
pub struct Column {
    /// Name in SQL and in the source's header.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message(
        "must be an SQL identifier: letters, digits and '_', not starting with a digit"
    ))]
    pub name: String,
    /// Type of the values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What the column is for: `key` is searchable and unique, `index` is searchable, `payload` is only
    /// returned. Each searchable column costs a copy of the table in the shards' memory.
    #[serde(default)]
    pub role: Role,
    /// Whether a row may lack a value.
    #[serde(default)]
    pub nullable: bool,
}

/// Type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ColumnType {
    /// Signed 64-bit integer.
    Int,
    /// IEEE 754 double.
    Real,
    /// UTF-8 text.
    Text,
    /// A JSON document.
    Json,
    /// True or false.
    Bool,
    /// An instant.
    Timestamp,
}

/// What a column is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Searchable; every value occurs once.
    Key,
    /// Searchable; values may repeat.
    Index,
    /// Only returned.
    #[default]
    Payload,
}
