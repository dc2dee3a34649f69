//! Values of the table's types as SQLite stores them.

use std::borrow::Cow;
use std::cmp::Ordering;

use opaque_pir::table::{Column, ColumnType, Value, format_timestamp};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::quoted;
use crate::sql::{OutputColumn, SqlError};

/// Collation of TIMESTAMP columns.
pub(in crate::sql) const INSTANT: &str = "opaque_instant";

/// A column of a table of fetched rows. SQLite derives the affinity from the declared type: INTEGER
/// from INT, TEXT from TEXT.
pub(super) fn declaration(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.column_type {
        ColumnType::Int => format!("{name} INTEGER"),
        ColumnType::Real => format!("{name} REAL"),
        ColumnType::Text => format!("{name} TEXT"),
        ColumnType::Json => format!("{name} JSON_TEXT"),
        ColumnType::Bool => format!("{name} BOOL_INT"),
        ColumnType::Timestamp => format!("{name} TIME_TEXT COLLATE {INSTANT}"),
    }
}

/// The type of an answer's column that shows a table's column as it is.
pub(super) fn declared(declaration: &str) -> Option<ColumnType> {
    Some(match declaration {
        "INTEGER" => ColumnType::Int,
        "REAL" => ColumnType::Real,
        "TEXT" => ColumnType::Text,
        "JSON_TEXT" => ColumnType::Json,
        "BOOL_INT" => ColumnType::Bool,
        "TIME_TEXT" => ColumnType::Timestamp,
        _ => return None,
    })
}

/// A value as SQLite stores it.
pub(super) struct Stored(pub(super) Value);

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Value::Real(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Value::Text(text) | Value::Json(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
            Value::Bool(truth) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*truth))),
            Value::Timestamp(micros) => ToSqlOutput::from(instant(*micros)),
        })
    }
}

fn instant(micros: i64) -> String {
    // Every stored timestamp was parsed from text, so it is in range.
    let Some(text) = format_timestamp(micros) else { return micros.to_string() };
    match text.split_once('.') {
        Some((seconds, digits)) => format!("{seconds}.{:0<6}Z", digits.trim_end_matches('Z')),
        None => format!("{}.000000Z", text.trim_end_matches('Z')),
    }
}

pub(super) fn read(cell: ValueRef<'_>, column: &OutputColumn) -> Result<Value, SqlError> {
    Ok(match (cell, column.column_type) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number @ (0 | 1)), Some(ColumnType::Bool)) => Value::Bool(number == 1),
        (ValueRef::Integer(number), _) => Value::Int(number),
        (ValueRef::Real(number), _) => Value::real(number).unwrap_or(Value::Null),
        (ValueRef::Text(text), column_type) => {
            let text = String::from_utf8_lossy(text).into_owned();
            match column_type {
                Some(column_type @ (ColumnType::Json | ColumnType::Timestamp)) => {
                    Value::parse(column_type, &text).unwrap_or(Value::Text(text))
                }
                _ => Value::Text(text),
            }
        }
        (ValueRef::Blob(_), _) => return Err(SqlError::Blob { column: column.name.clone() }),
    })
}

/// Compares texts, of which those that are instants count as the text that is stored for these. A
/// text that is none, such as a date, is compared by bytes with the others.
pub(super) fn by_instant(left: &str, right: &str) -> Ordering {
    let stored = |text| match Value::parse(ColumnType::Timestamp, text) {
        Ok(Value::Timestamp(micros)) => Cow::Owned(instant(micros)),
        _ => Cow::Borrowed(text),
    };
    stored(left).cmp(&stored(right))
}
