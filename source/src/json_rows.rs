//! Reads the rows of a table from JSON lines: one object per line, with columns as keys.
//!
//! Keys are matched ignoring ASCII case. A value must have its column's type. Numbers are not read
//! from strings, except `"inf"` and `"-inf"`, which JSON numbers cannot express. `null` and a
//! missing key mean NULL. A JSON column keeps the text of its value unchanged, so objects are not
//! parsed into maps.

mod members;

use std::io::{BufRead, BufReader, Read};

use opaque_pir::table::{Column, ColumnType, Schema, Value};
use serde::de::IgnoredAny;

use self::members::members;
use crate::input::Bytes;
use crate::settings::declared;
use crate::shown::{Names, quoted};
use crate::{MAX_RECORD_BYTES, SourceError};

/// Typed rows of a JSON lines file, in file order.
pub(crate) struct JsonRows {
    bytes: BufReader<Bytes>,
    path: String,
    schema: Schema,
    text: Vec<u8>,
    /// The line that was read last.
    line: u64,
}

impl JsonRows {
    pub(crate) fn new(path: String, bytes: Bytes, schema: &Schema) -> Self {
        let bytes = BufReader::with_capacity(1 << 16, bytes);
        Self { bytes, path, schema: schema.clone(), text: Vec::new(), line: 0 }
    }

    /// The line of the most recently returned row.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        while self.next_line()? {
            let line = self.line;
            let text = self.text.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1);
            let text = text.unwrap_or(&self.text).trim_ascii();
            if !text.is_empty() {
                return row(&self.schema, text, line).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads a line. Returns `false` at the end of the file.
    fn next_line(&mut self) -> Result<bool, SourceError> {
        self.text.clear();
        let mut bounded = self.bytes.by_ref().take(MAX_RECORD_BYTES.into());
        let length = bounded.read_until(b'\n', &mut self.text).map_err(|source| {
            SourceError::Read { path: self.path.clone(), line: self.line, source }
        })?;
        if length == 0 {
            return Ok(false);
        }
        self.line += 1;
        if length as u64 == u64::from(MAX_RECORD_BYTES) {
            let (line, limit) = (self.line, MAX_RECORD_BYTES.into());
            return Err(SourceError::TooLong { line, limit, quote: None });
        }
        Ok(true)
    }
}

/// The values of one object.
fn row(schema: &Schema, text: &[u8], line: u64) -> Result<Vec<Value>, SourceError> {
    let malformed = |character, reason: String| SourceError::Json { line, character, reason };
    let text = std::str::from_utf8(text)
        .map_err(|error| malformed(error.valid_up_to() + 1, error.to_string()))?;
    if !text.starts_with('{') {
        let array = if text.starts_with('[') {
            ", as an array does: write its elements, one a line, for instance with jq -c '.[]'"
        } else {
            ""
        };
        return Err(malformed(1, format!("it begins with {}{array}", quoted(text))));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        // The parser sees only one line and calls it line 1.
        let (column, text) = (error.column(), error.to_string());
        let reason = text.split(" at line ").next().unwrap_or_default();
        let cut = if error.is_eof() {
            "; write the whole object on one line, for instance with jq -c ."
        } else {
            ""
        };
        malformed(column, format!("{reason} at character {column}{cut}"))
    })?;
    let members = members(text).ok_or_else(|| malformed(1, "it cannot be split".to_owned()))?;
    let columns = schema.columns();
    let mut cells: Vec<Option<&str>> = vec![None; columns.len()];
    let (mut unknown, mut count) = (Names::default(), 0);
    for (key, value) in members {
        let column = schema.column(&key);
        let cell = column.and_then(|(at, column)| Some((cells.get_mut(at)?, column)));
        match cell {
            None => {
                unknown.add(&key);
                count += 1;
            }
            Some((cell @ None, _)) => *cell = Some(value),
            Some((Some(_), column)) => {
                return Err(SourceError::Repeated { line, column: column.name.clone() });
            }
        }
    }
    if !unknown.is_empty() {
        let expected = columns.iter().map(|column| &column.name).collect();
        return Err(SourceError::Keys { line, unknown, count, expected });
    }
    let cells = columns.iter().zip(cells);
    cells.map(|(column, cell)| value(column, cell.unwrap_or("null"), line)).collect()
}

/// Converts the text of a valid JSON value to the value of a cell.
fn value(column: &Column, text: &str, line: u64) -> Result<Value, SourceError> {
    let name = || column.name.clone();
    let refused =
        |expected| SourceError::Value { line, column: name(), expected, found: quoted(text) };
    if text == "null" {
        if column.nullable {
            return Ok(Value::Null);
        }
        let (declared, remedy) = (declared(column), "fill it in, or make the column nullable");
        return Err(SourceError::Null { line, column: name(), declared, remedy });
    }
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let string = || serde_json::from_str::<String>(text).ok();
    let of_type = |text: &str| Value::parse(column.column_type, text).ok();
    let instant = |text: String| Value::parse(ColumnType::Timestamp, &text);
    let (parsed, expected) = match column.column_type {
        ColumnType::Int => {
            (Some(text).filter(|_| number).and_then(of_type), "a whole number of 64 bits")
        }
        ColumnType::Real => {
            let real = match text {
                // JSON has no such numbers. Answers in JSON print them as strings.
                "\"inf\"" => Some(f64::INFINITY),
                "\"-inf\"" => Some(f64::NEG_INFINITY),
                _ => text.parse().ok().filter(|real: &f64| number && real.is_finite()),
            };
            (real.and_then(Value::real), "a number")
        }
        ColumnType::Bool => (
            Some(text).filter(|_| text == "true" || text == "false").and_then(of_type),
            "true or false",
        ),
        ColumnType::Text => (string().map(Value::Text), "a string"),
        ColumnType::Json => (Some(Value::Json(text.to_owned())), "a JSON document"),
        ColumnType::Timestamp => match string().map(instant) {
            None => (None, "a string with an RFC 3339 time such as 2026-11-21T09:30:00Z"),
            Some(Ok(value)) => (Some(value), ""),
            Some(Err(error)) => (None, error.expected),
        },
    };
    parsed.ok_or_else(|| refused(expected))
}

#[cfg(test)]
mod tests;
