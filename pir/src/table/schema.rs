//! A table's columns and their roles.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Maximum columns of a table.
pub const MAX_COLUMNS: usize = 256;
/// Maximum bytes of a table's or column's name.
pub const MAX_NAME_BYTES: usize = 63;

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ColumnType {
    /// Signed 64-bit integer.
    Int,
    /// IEEE 754 double; NaN is not a value.
    Real,
    /// UTF-8 text, compared byte by byte.
    Text,
    /// A JSON document, stored as written.
    Json,
    /// True or false.
    Bool,
    /// An instant, in microseconds since 1970-01-01 UTC.
    Timestamp,
}

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Searchable. Every value occurs once and none is NULL.
    Key,
    /// Searchable. Values may repeat and may be NULL.
    Index,
    /// Only returned, not searchable.
    Payload,
}

impl Role {
    /// Whether the column has a matrix, so that its values can be looked up privately.
    pub fn is_searchable(self) -> bool {
        matches!(self, Self::Key | Self::Index)
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Unique in its table, ignoring ASCII case.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What it is for.
    pub role: Role,
    /// Whether values may be NULL.
    pub nullable: bool,
}

impl Column {
    /// A column with these properties.
    pub fn new(name: &str, column_type: ColumnType, role: Role, nullable: bool) -> Self {
        Self { name: name.to_owned(), column_type, role, nullable }
    }
}

/// A table's name and columns.
///
/// Invariants, enforced by [`Schema::new`] (the fields are private): names are non-empty
/// identifiers of at most [`MAX_NAME_BYTES`], column names differ, there are 1 to [`MAX_COLUMNS`]
/// columns, at least one is searchable, and no KEY is nullable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSchema")]
pub struct Schema {
    table: String,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct RawSchema {
    table: String,
    columns: Vec<Column>,
}

impl TryFrom<RawSchema> for Schema {
    type Error = SchemaError;

    fn try_from(raw: RawSchema) -> Result<Self, SchemaError> {
        Self::new(raw.table, raw.columns)
    }
}

impl Schema {
    /// Creates a schema if it satisfies every invariant of the type.
    pub fn new(table: String, columns: Vec<Column>) -> Result<Self, SchemaError> {
        check_name(&table)?;
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return Err(SchemaError::ColumnCount(columns.len()));
        }
        let mut names = HashSet::new();
        for column in &columns {
            check_name(&column.name)?;
            if !names.insert(column.name.to_ascii_lowercase()) {
                return Err(SchemaError::DuplicateColumn(column.name.clone()));
            }
            if column.role == Role::Key && column.nullable {
                return Err(SchemaError::NullableKey(column.name.clone()));
            }
        }
        if !columns.iter().any(|column| column.role.is_searchable()) {
            return Err(SchemaError::NothingSearchable);
        }
        Ok(Self { table, columns })
    }

    /// The table's name as declared.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The columns in declaration order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Finds a column, ignoring ASCII case.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name.eq_ignore_ascii_case(name))
    }

    /// Positions of the KEY and INDEX columns, in order.
    pub fn searchable(&self) -> impl Iterator<Item = usize> + '_ {
        let searchable = |(i, column): (usize, &Column)| column.role.is_searchable().then_some(i);
        self.columns.iter().enumerate().filter_map(searchable)
    }
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts_well
        && name.len() <= MAX_NAME_BYTES
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        Ok(())
    } else {
        Err(SchemaError::Name(name.to_owned()))
    }
}

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A name is not an identifier.
    #[error(
        "{0:?} is not a name: use letters, digits and _, not a digit first, at most {MAX_NAME_BYTES} bytes"
    )]
    Name(String),
    /// There are no columns, or too many.
    #[error("a table has 1 to {MAX_COLUMNS} columns, not {0}")]
    ColumnCount(usize),
    /// Two columns share a name.
    #[error("column {0:?} is declared twice")]
    DuplicateColumn(String),
    /// A KEY is declared nullable.
    #[error("column {0:?} is a KEY and cannot be NULL: declare it INDEX, or drop NULL")]
    NullableKey(String),
    /// No column is searchable.
    #[error("no column is searchable: mark at least one KEY (unique values) or INDEX")]
    NothingSearchable,
}
