//! SQLite as the oracle.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "test support: a failure is a failed test"
)]

use opaque_client::sql::ResultSet;
use opaque_pir::table::{ColumnType, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::statements::{Table, instant};

/// The table in a fresh SQLite database, rows in load order.
pub(crate) fn sqlite(table: &Table) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    add(&connection, table);
    connection
}

/// Adds a table to a database.
pub(crate) fn add(connection: &Connection, table: &Table) {
    let columns: Vec<_> = table
        .schema
        .columns()
        .iter()
        .map(|column| format!("{} {}", column.name, affinity(column.column_type)))
        .collect();
    let name = table.schema.table();
    connection.execute_batch(&format!("CREATE TABLE {name} ({})", columns.join(", "))).unwrap();
    let marks = vec!["?"; columns.len()].join(", ");
    let mut insert = connection.prepare(&format!("INSERT INTO {name} VALUES ({marks})")).unwrap();
    for row in &table.rows {
        insert.execute(params_from_iter(row.iter().map(stored))).unwrap();
    }
}

fn affinity(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Int => "INTEGER",
        ColumnType::Real => "REAL",
        ColumnType::Text | ColumnType::Json | ColumnType::Timestamp => "TEXT",
        ColumnType::Bool => "BOOLEAN",
    }
}

fn stored(value: &Value) -> Box<dyn ToSql> {
    match value {
        Value::Null => Box::new(rusqlite::types::Null),
        Value::Int(number) => Box::new(*number),
        Value::Real(number) => Box::new(*number),
        Value::Text(text) | Value::Json(text) => Box::new(text.clone()),
        Value::Bool(truth) => Box::new(*truth),
        Value::Timestamp(_) => Box::new(instant(value)),
    }
}

/// SQLite's answer, with the types of `like`, the answer to compare it with. Also checks that the
/// columns have the same names.
pub(crate) fn answer(connection: &Connection, sql: &str, like: &ResultSet) -> Vec<Vec<Value>> {
    let statement = connection.prepare(sql).unwrap();
    let names: Vec<_> = like.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(statement.column_names().collect::<Vec<_>>(), names, "{sql}");
    let types: Vec<_> = like.columns.iter().map(|column| column.column_type).collect();
    rows(connection, sql, &types)
}

/// SQLite's answer. `None` is the type of a computed column.
pub(crate) fn rows(
    connection: &Connection,
    sql: &str,
    types: &[Option<ColumnType>],
) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows = statement.query([]).unwrap();
    let mut answer = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cell = |(i, column_type): (usize, &Option<ColumnType>)| {
            let cell = row.get_ref(i).unwrap();
            column_type.map_or_else(|| computed(cell), |column_type| read(cell, column_type))
        };
        answer.push(types.iter().enumerate().map(cell).collect());
    }
    answer
}

/// A value of no declared type.
fn computed(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).unwrap().to_owned()),
        ValueRef::Blob(_) => panic!("a BLOB"),
    }
}

fn read(cell: ValueRef<'_>, column_type: ColumnType) -> Value {
    match (cell, column_type) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number), ColumnType::Bool) => Value::Bool(number != 0),
        (ValueRef::Integer(number), ColumnType::Int) => Value::Int(number),
        (ValueRef::Real(number), ColumnType::Real) => Value::Real(number),
        (ValueRef::Text(text), ColumnType::Int | ColumnType::Real | ColumnType::Bool) => {
            panic!("text {text:?} in a {column_type:?} column")
        }
        (ValueRef::Text(text), _) => {
            let text = std::str::from_utf8(text).unwrap();
            Value::parse(column_type, text).unwrap_or_else(|_| Value::Text(text.to_owned()))
        }
        (cell, _) => panic!("{cell:?} in a {column_type:?} column"),
    }
}
