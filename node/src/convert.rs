//! Between protocol buffers and the types of this crate and of `opaque-pir`.

use opaque_pir::table::{Column, ColumnType, Role, Schema};
use opaque_proto::v1;

use crate::error::NodeError;
use crate::store::Manifest;

/// A manifest as clients see it.
pub fn description(manifest: &Manifest, generation: u64) -> v1::TableDescription {
    let index = |index: &crate::store::IndexManifest| v1::Index {
        column: index.column,
        bucket_bytes: u32::try_from(index.geometry.bucket_bytes()).unwrap_or(u32::MAX),
        buckets: index.geometry.buckets(),
        page_rows: index.geometry.page_rows(),
        non_null_rows: index.non_null_rows,
        params_id: index.geometry.params_id().as_bytes().to_vec().into(),
        variant: index.variant.name().to_owned(),
        public_parts: index.public_parts.iter().map(|digest| digest.0.to_vec().into()).collect(),
    };
    v1::TableDescription {
        schema: Some(schema_to_proto(&manifest.schema)),
        epoch: manifest.epoch,
        generation,
        rows: manifest.rows,
        salt: manifest.salt.0.to_vec().into(),
        indexes: manifest.indexes.iter().map(index).collect(),
    }
}

/// A schema for the wire.
pub fn schema_to_proto(schema: &Schema) -> v1::Schema {
    let column = |column: &Column| v1::Column {
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
    v1::Schema {
        table: schema.table().to_owned(),
        columns: schema.columns().iter().map(column).collect(),
    }
}

/// A schema from the wire, with every invariant checked.
pub fn schema_from_proto(schema: v1::Schema) -> Result<Schema, NodeError> {
    let column = |column: v1::Column| {
        let column_type = match column.r#type() {
            v1::ColumnType::Int => ColumnType::Int,
            v1::ColumnType::Real => ColumnType::Real,
            v1::ColumnType::Text => ColumnType::Text,
            v1::ColumnType::Json => ColumnType::Json,
            v1::ColumnType::Bool => ColumnType::Bool,
            v1::ColumnType::Timestamp => ColumnType::Timestamp,
            v1::ColumnType::Unspecified => return Err(unknown("type", &column.name)),
        };
        let role = match column.role() {
            v1::ColumnRole::Key => Role::Key,
            v1::ColumnRole::Index => Role::Index,
            v1::ColumnRole::Payload => Role::Payload,
            v1::ColumnRole::Unspecified => return Err(unknown("role", &column.name)),
        };
        Ok(Column { name: column.name, column_type, role, nullable: column.nullable })
    };
    let columns = schema.columns.into_iter().map(column).collect::<Result<_, _>>()?;
    Schema::new(schema.table, columns).map_err(|error| NodeError::Malformed(error.to_string()))
}

fn unknown(what: &str, column: &str) -> NodeError {
    NodeError::Malformed(format!("column {column:?} has a {what} that this node does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_survives_the_wire() {
        let types = [
            ColumnType::Int,
            ColumnType::Real,
            ColumnType::Text,
            ColumnType::Json,
            ColumnType::Bool,
            ColumnType::Timestamp,
        ];
        let roles = [Role::Key, Role::Index, Role::Payload];
        let columns = types.iter().enumerate().map(|(i, column_type)| Column {
            name: format!("c{i}"),
            column_type: *column_type,
            role: roles[i % 3],
            nullable: i % 3 != 0 && i % 2 == 0,
        });
        let schema = Schema::new("weather".into(), columns.collect()).unwrap();
        assert_eq!(schema_from_proto(schema_to_proto(&schema)).unwrap(), schema);
    }

    #[test]
    fn unknown_enumerators_are_refused() {
        let column = v1::Column { name: "c".into(), r#type: 99, role: 1, nullable: false };
        let schema = v1::Schema { table: "t".into(), columns: vec![column] };
        assert!(matches!(schema_from_proto(schema), Err(NodeError::Malformed(_))));
    }
}
