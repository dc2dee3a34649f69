//! What several tests need.

use opaque_pir::table::{Column, ColumnType, Role, Schema};

/// Nullable columns, of which the first is searchable.
pub(crate) fn schema(columns: &[(&str, ColumnType)]) -> Schema {
    let column = |(position, (name, column_type)): (usize, &(&str, ColumnType))| {
        let role = if position == 0 { Role::Index } else { Role::Payload };
        Column::new(name, *column_type, role, true)
    };
    let columns = columns.iter().enumerate().map(column).collect();
    Schema::new("t".to_owned(), columns).unwrap()
}
