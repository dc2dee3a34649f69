//! Reads the rows of a table from a CSV file.
//!
//! Columns are matched by the header, ignoring ASCII case. Line numbers in errors are those of an
//! editor, for every kind of line end and for quoted fields that span lines.

use opaque_pir::table::{Column, Schema, Value};

use crate::header::matched;
use crate::input::Bytes;
use crate::settings::{CsvSettings, Null, declared};
use crate::shown::quoted;
use crate::tokens::{Bent, Dialect, Record, TokenError, Tokenizer};
use crate::{MAX_RECORD_BYTES, SourceError};

/// Typed rows of a CSV file, in file order.
pub(crate) struct CsvRows {
    tokens: Tokenizer<Bytes>,
    path: String,
    columns: Vec<Column>,
    /// For each column of the schema, the number of its field in a record.
    fields: Vec<usize>,
    null: Null,
    /// The line on which the last record began.
    line: u64,
}

impl CsvRows {
    /// Reads the header and checks it.
    pub(crate) fn open(
        path: String,
        bytes: Bytes,
        schema: &Schema,
        csv: CsvSettings,
    ) -> Result<Self, SourceError> {
        let CsvSettings { null, quotes } = csv;
        let mut tokens = Tokenizer::new(bytes, Dialect::CSV, quotes, MAX_RECORD_BYTES);
        let fields = match tokens.read() {
            Ok(None) => return Err(SourceError::Empty { path }),
            Ok(Some(header)) => matched(schema, &header)
                .map_err(|mismatch| SourceError::Header { path: path.clone(), mismatch }),
            Err(error) => Err(unread(&path, error)),
        };
        let fields = fields.map_err(|error| match error {
            SourceError::Read { .. } => error,
            // If the file has another format, that error is more useful than one about names or
            // quotes.
            error => not_csv(&path, tokens.record()).unwrap_or(error),
        })?;
        Ok(Self { tokens, path, columns: schema.columns().to_vec(), fields, null, line: 1 })
    }

    /// The line on which the most recently returned row begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn bent(&self) -> Option<Bent> {
        self.tokens.bent()
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        let record = self.tokens.read().map_err(|error| unread(&self.path, error))?;
        let Some(record) = record else { return Ok(None) };
        self.line = record.line();
        if record.count() != self.fields.len() {
            let (expected, found) = (self.fields.len(), record.count());
            return Err(SourceError::Fields { line: self.line, expected, found });
        }
        let cells = self.columns.iter().zip(&self.fields);
        cells
            .map(|(column, field)| value(column, &record, *field, &self.null))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

fn value(
    column: &Column,
    record: &Record<'_>,
    field: usize,
    null: &Null,
) -> Result<Value, SourceError> {
    let (line, name) = (|| record.line_of(field), || column.name.clone());
    let Ok(text) = std::str::from_utf8(record.field(field).unwrap_or_default()) else {
        return Err(SourceError::Utf8 { line: line(), column: name() });
    };
    if text == null.text() {
        return if column.nullable {
            Ok(Value::Null)
        } else {
            let (declared, remedy) = (declared(column), null.remedy());
            Err(SourceError::Null { line: line(), column: name(), declared, remedy })
        };
    }
    Value::parse(column.column_type, text).map_err(|error| SourceError::Value {
        line: line(),
        column: name(),
        expected: error.expected,
        found: quoted(text),
    })
}

fn unread(path: &str, error: TokenError) -> SourceError {
    match error {
        TokenError::Read { line, source } => {
            SourceError::Read { path: path.to_owned(), line, source }
        }
        TokenError::TooLong { line, limit, quote } => SourceError::TooLong { line, limit, quote },
        TokenError::Unclosed { quote } => SourceError::Unclosed { quote },
        TokenError::Followed { quote, closed, escaped, by } => {
            let remedy = match by {
                _ if escaped => {
                    "a backslash does not escape a quote: write a quote that is data twice"
                }
                b';' | b'\t' | b'|' => {
                    "fields are separated by commas: does the file have another separator?"
                }
                _ => "write a quote that is data twice",
            };
            SourceError::Followed { quote, closed, remedy }
        }
    }
}

/// Recognizes another format by its first byte. No sensible CSV header begins with these bytes,
/// although a name may.
fn not_csv(path: &str, start: &[u8]) -> Option<SourceError> {
    let (found, remedy) = match start.trim_ascii_start().first()? {
        b'{' | b'[' => {
            ("JSON", "convert it, for instance with jq, or load one object a line as JSON lines")
        }
        b'<' => ("HTML or XML", "does the address lead to a page about the file?"),
        _ => return None,
    };
    Some(SourceError::NotCsv { path: path.to_owned(), found, remedy })
}

#[cfg(test)]
mod tests;
