//! Reads the rows of a table from JSON: objects one after another, as JSON lines have them, or one
//! array of objects. Each object is a row, with columns as keys.
//!
//! Keys are matched ignoring ASCII case. A value must have its column's type. Numbers are not read
//! from strings, except `"inf"` and `"-inf"`, which JSON numbers cannot express. `null` and a
//! missing key mean NULL. A JSON column keeps the text of its value unchanged, so objects are not
//! parsed into maps.

mod members;
mod objects;

use opaque_pir::table::{Column, ColumnType, Schema, Value};
use serde::de::IgnoredAny;

use self::members::members;
use self::objects::{Objects, Place};
use crate::input::Bytes;
use crate::names::Names;
use crate::settings::{Settings, declared};
use crate::shown::{self, quoted};
use crate::values::whole;
use crate::{At, SourceError};

/// Typed rows of a JSON file, in file order.
pub(crate) struct JsonRows {
    objects: Objects,
    schema: Schema,
    names: Names,
    skips_extra: bool,
}

impl JsonRows {
    pub(crate) fn new(path: String, bytes: Bytes, schema: &Schema, settings: &Settings) -> Self {
        let (objects, schema) = (Objects::new(path, bytes), schema.clone());
        let names = Names::new(&schema, &settings.columns);
        Self { objects, schema, names, skips_extra: settings.skips_extra() }
    }

    /// The line on which the most recently returned row begins.
    pub(crate) fn line(&self) -> u64 {
        self.objects.start().line
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        if !self.objects.read()? {
            return Ok(None);
        }
        let (start, text) = (self.objects.start(), self.objects.text());
        row(&self.schema, &self.names, text, start, self.skips_extra).map(Some)
    }
}

/// Why the text of an object is not valid.
struct Invalid {
    line: u64,
    character: usize,
    reason: String,
    /// Whether the text is valid as far as it goes.
    is_cut: bool,
}

impl From<Invalid> for SourceError {
    fn from(invalid: Invalid) -> Self {
        let Invalid { line, character, reason, is_cut: _ } = invalid;
        Self::Json { line, character, reason }
    }
}

/// The members of the objects of a JSON file, as text.
pub(crate) struct JsonMembers(Objects);

impl JsonMembers {
    pub(crate) fn new(path: String, bytes: Bytes) -> Self {
        Self(Objects::new(path, bytes))
    }

    /// The keys of the next object, and the text of their values.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<(String, &str)>>, SourceError> {
        if !self.0.read()? {
            return Ok(None);
        }
        split(self.0.text(), self.0.start()).map(Some)
    }
}

/// The members of an object that begins at `start`.
fn split(text: &[u8], start: Place) -> Result<Vec<(String, &str)>, SourceError> {
    let malformed = || SourceError::Json {
        line: start.line,
        character: start.before + 1,
        reason: "its members cannot be told apart".to_owned(),
    };
    members(validated(text, start)?).ok_or_else(malformed)
}

/// The text of an object that begins at `start`, if it is valid.
fn validated(text: &[u8], start: Place) -> Result<&str, Invalid> {
    // Positions on the first line are those of the file.
    let place = |line: usize, column: usize| {
        let before = if line <= 1 { start.before } else { 0 };
        (start.line + (line.max(1) - 1) as u64, before + column)
    };
    let text = std::str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        let lines = valid.split(|byte| *byte == b'\n');
        let (count, last) = lines.fold((0, 0), |(count, _), line| (count + 1, line.len()));
        let (line, character) = place(count, last + 1);
        let reason = format!("not valid UTF-8 at character {character}");
        Invalid { line, character, reason, is_cut: false }
    })?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let (line, character) = place(error.line(), error.column());
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        let reason = format!("{reason} at character {character}");
        Invalid { line, character, reason, is_cut: error.is_eof() }
    })?;
    Ok(text)
}

/// The values of one object.
fn row(
    schema: &Schema,
    names: &Names,
    text: &[u8],
    start: Place,
    skips_extra: bool,
) -> Result<Vec<Value>, SourceError> {
    let line = start.line;
    let members = split(text, start)?;
    let columns = schema.columns();
    let mut cells: Vec<Option<&str>> = vec![None; columns.len()];
    let (mut unknown, mut count) = (shown::Names::default(), 0);
    for (key, value) in members {
        let column = names.find(&key);
        let cell = column.and_then(|at| Some((cells.get_mut(at)?, columns.get(at)?)));
        match cell {
            None if skips_extra => {}
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
        let expected = names.labels().iter().collect();
        return Err(SourceError::Keys { line, unknown, count, expected });
    }
    let cells = columns.iter().zip(cells);
    cells.map(|(column, cell)| value(column, cell.unwrap_or("null"), line)).collect()
}

/// Converts the text of a valid JSON value to the value of a cell.
fn value(column: &Column, text: &str, line: u64) -> Result<Value, SourceError> {
    let name = || column.name.clone();
    let refused = |expected| SourceError::Value {
        at: At::Line(line),
        column: name(),
        expected,
        found: quoted(text),
    };
    if text == "null" {
        if column.nullable {
            return Ok(Value::Null);
        }
        let (declared, remedy) = (declared(column), "fill it in, or make the column nullable");
        return Err(SourceError::Null { at: At::Line(line), column: name(), declared, remedy });
    }
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let string = || serde_json::from_str::<String>(text).ok();
    let of_type = |text: &str| Value::parse(column.column_type, text).ok();
    let instant = |text: String| Value::parse(ColumnType::Timestamp, &text);
    let (parsed, expected) = match column.column_type {
        ColumnType::Int => {
            (Some(whole(text)).filter(|_| number).and_then(of_type), "a whole number of 64 bits")
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
