//! Conversion of schemas between the protocol and the engine.

use opaque_pir::table::{self, ColumnType, Role, Schema};
use thiserror::Error;

use crate::v1;

impl From<&Schema> for v1::Schema {
    fn from(schema: &Schema) -> Self {
        let column = |column: &table::Column| v1::Column {
            name: column.name.clone(),
            r#type: match column.column_type {
                ColumnType::Int => v1::ColumnType::Int,
                ColumnType::Real => v1::ColumnType::Real,
                ColumnType::Text => v1::ColumnType::Text,
                ColumnType::Json => v1::ColumnType::Json,
                ColumnType::Bool => v1::ColumnType::Bool,
                ColumnType::Timestamp => v1::ColumnType::Timestamp,
            }
            .into(),
            role: match column.role {
                Role::Key => v1::ColumnRole::Key,
                Role::Index => v1::ColumnRole::Index,
                Role::Payload => v1::ColumnRole::Payload,
            }
            .into(),
            nullable: column.nullable,
        };
        let columns = schema.columns().iter().map(column).collect();
        Self { table: schema.table().to_owned(), columns }
    }
}

/// Checks all invariants of a schema.
impl TryFrom<v1::Schema> for Schema {
    type Error = SchemaError;

    fn try_from(wire: v1::Schema) -> Result<Self, SchemaError> {
        let v1::Schema { table, columns } = wire;
        let columns = columns.into_iter().map(column).collect::<Result<_, _>>()?;
        Ok(Self::new(table, columns)?)
    }
}

fn column(wire: v1::Column) -> Result<table::Column, SchemaError> {
    let column_type = match wire.r#type() {
        v1::ColumnType::Unspecified => return Err(SchemaError::unknown("type", wire)),
        v1::ColumnType::Int => ColumnType::Int,
        v1::ColumnType::Real => ColumnType::Real,
        v1::ColumnType::Text => ColumnType::Text,
        v1::ColumnType::Json => ColumnType::Json,
        v1::ColumnType::Bool => ColumnType::Bool,
        v1::ColumnType::Timestamp => ColumnType::Timestamp,
    };
    let role = match wire.role() {
        v1::ColumnRole::Unspecified => return Err(SchemaError::unknown("role", wire)),
        v1::ColumnRole::Key => Role::Key,
        v1::ColumnRole::Index => Role::Index,
        v1::ColumnRole::Payload => Role::Payload,
    };
    Ok(table::Column { column_type, role, nullable: wire.nullable, name: wire.name })
}

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A type or role is missing, or belongs to a newer version.
    #[error("column {column:?} has a {what} that this version does not know")]
    Unknown {
        /// Type or role.
        what: &'static str,
        /// The column's name.
        column: String,
    },
    /// The columns do not make a schema.
    #[error(transparent)]
    Invalid(#[from] table::SchemaError),
}

impl SchemaError {
    fn unknown(what: &'static str, column: v1::Column) -> Self {
        Self::Unknown { what, column: column.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let types = [
            ColumnType::Int,
            ColumnType::Real,
            ColumnType::Text,
            ColumnType::Json,
            ColumnType::Bool,
            ColumnType::Timestamp,
        ];
        let roles = [Role::Key, Role::Index, Role::Payload];
        let columns = types.iter().enumerate().map(|(i, column_type)| table::Column {
            name: format!("c{i}"),
            column_type: *column_type,
            role: roles[i % 3],
            nullable: i % 3 != 0 && i % 2 == 0,
        });
        Schema::new("weather".into(), columns.collect()).unwrap()
    }

    #[test]
    fn a_schema_survives_the_wire() {
        assert_eq!(Schema::try_from(v1::Schema::from(&schema())), Ok(schema()));
    }

    #[test]
    fn what_is_unknown_or_no_schema_is_refused() {
        let refused = |change: fn(&mut v1::Schema)| {
            let mut wire = v1::Schema::from(&schema());
            change(&mut wire);
            Schema::try_from(wire).unwrap_err()
        };
        let unknown = |what| SchemaError::Unknown { what, column: "c1".to_owned() };
        assert_eq!(refused(|wire| wire.columns[1].r#type = 99), unknown("type"));
        assert_eq!(refused(|wire| wire.columns[1].r#type = 0), unknown("type"));
        assert_eq!(refused(|wire| wire.columns[1].role = -1), unknown("role"));
        let twice = table::SchemaError::DuplicateColumn("c0".to_owned());
        assert_eq!(refused(|wire| wire.columns[1].name = "c0".to_owned()), twice.into());
    }
}
