//! Columns of a table.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// The columns in order, from 1 to 256. A new epoch may add columns, drop columns or change
    /// their roles. The type of a column is immutable.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.exists(c, c.role == 'key' || c.role == 'index')").message(
            "at least one column must have role key or index: only those can be looked up privately"
        ),
        validation = Rule::new("self.all(c, self.exists_one(d, d.name.lowerAscii() == c.name.lowerAscii()))").message(
            "column names must differ by more than case"
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
    /// Name of the column in SQL, and in the source unless `from` is set.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message(
        "must be an SQL identifier: letters, digits and '_', not starting with a digit"
    ))]
    pub name: String,
    /// Name of the column in the source, exactly as written there, if it is another: the header, or
    /// the key of JSON objects. If a column has one, columns of the source that the schema does not
    /// name are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub from: Option<String>,
    /// Type of the values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Role of the column: `key` is searchable and unique, `index` is searchable, `payload` is only
    /// returned. Each searchable column needs at least one copy of the table in the memory of the
    /// shards.
    #[serde(default)]
    pub role: Role,
    /// Whether the column may be NULL.
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
    /// A point in time.
    Timestamp,
}

/// Role of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Searchable. Every value occurs once.
    Key,
    /// Searchable. Values may repeat.
    Index,
    /// Only returned.
    #[default]
    Payload,
}
