//! Rows of a table from a CSV file.
//!
//! Columns are matched by the header, without regard to ASCII case. Lines in errors are those an
//! editor shows, whatever the line ends and however many lines a quoted field spans.

mod lines;

use csv::ByteRecord;
use opaque_pir::table::{Column, Schema, Value};

use self::lines::Lines;
use crate::input::Bytes;
use crate::reader::{Null, declared, shortened};
use crate::{HeaderMismatch, MAX_RECORD_BYTES, SourceError};

/// Typed rows of a CSV file, in file order.
pub(crate) struct CsvRows {
    csv: csv::Reader<Lines>,
    path: String,
    columns: Vec<Column>,
    /// For each column of the schema, its field in a record.
    fields: Vec<usize>,
    null: Null,
    record: ByteRecord,
    /// Where the last record began.
    line: u64,
}

impl CsvRows {
    /// Reads the header and checks it.
    pub(crate) fn open(
        path: String,
        bytes: Bytes,
        schema: &Schema,
        null: Null,
    ) -> Result<Self, SourceError> {
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            // Lengths are compared here, for an error with the right line.
            .flexible(true)
            .from_reader(Lines::new(bytes));
        csv.get_mut().read_until(MAX_RECORD_BYTES);
        let mut header = ByteRecord::new();
        match csv.read_byte_record(&mut header) {
            Ok(true) => {}
            Ok(false) => return Err(SourceError::Empty { path }),
            Err(source) => return Err(unread(&mut csv, &path, 0, source)),
        }
        let fields = matched(schema, &header, &path)?;
        let (columns, record) = (schema.columns().to_vec(), ByteRecord::new());
        Ok(Self { csv, path, columns, fields, null, record, line: 1 })
    }

    /// The line on which the row returned last begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        let before = self.csv.position().byte();
        self.csv.get_mut().read_until(before.saturating_add(MAX_RECORD_BYTES));
        match self.csv.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(unread(&mut self.csv, &self.path, before, source)),
        }
        let start = self.record.position().map_or(0, csv::Position::byte);
        let line = self.csv.get_mut().line_of(start);
        self.line = line;
        if self.record.len() != self.fields.len() {
            return Err(SourceError::Fields {
                line,
                expected: self.fields.len(),
                found: self.record.len(),
            });
        }
        let cells = self.columns.iter().zip(&self.fields);
        cells
            .map(|(column, field)| self.value(column, *field, line))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn value(&self, column: &Column, field: usize, line: u64) -> Result<Value, SourceError> {
        let bytes = self.record.get(field).unwrap_or_default();
        // A field may begin some lines below its record, after quoted line breaks.
        let line_of_field = || {
            let before = self.record.iter().take(field).flatten();
            line + before.filter(|byte| **byte == b'\n').count() as u64
        };
        let name = || column.name.clone();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(SourceError::Utf8 { line: line_of_field(), column: name() });
        };
        if text == self.null.text() {
            return if column.nullable {
                Ok(Value::Null)
            } else {
                let (declared, remedy) = (declared(column), self.null.remedy());
                let line = line_of_field();
                Err(SourceError::Null { line, column: name(), declared, remedy })
            };
        }
        Value::parse(column.column_type, text).map_err(|error| SourceError::Value {
            line: line_of_field(),
            column: name(),
            expected: error.expected,
            found: shortened(text),
        })
    }
}

/// Why a record could not be read; it began at byte `start`.
fn unread(csv: &mut csv::Reader<Lines>, path: &str, start: u64, source: csv::Error) -> SourceError {
    if csv.get_ref().is_at_end() {
        let line = csv.get_mut().line_of(start);
        return SourceError::TooLong { line, limit: MAX_RECORD_BYTES };
    }
    let line = csv.get_mut().line_of(u64::MAX);
    SourceError::Read { path: path.to_owned(), line, source: source.into() }
}

/// For each column of the schema, the position of its name in the header.
fn matched(schema: &Schema, header: &ByteRecord, path: &str) -> Result<Vec<usize>, SourceError> {
    let names: Vec<_> =
        header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let position = |name: &str| names.iter().position(|found| found.eq_ignore_ascii_case(name));
    let columns = schema.columns();
    let missing: Vec<_> =
        columns.iter().filter(|column| position(&column.name).is_none()).collect();
    let unknown = names.iter().filter(|name| schema.column(name).is_none());
    let repeated =
        names.iter().enumerate().filter(|(i, name)| position(name).is_some_and(|first| first < *i));
    let mismatch = Box::new(HeaderMismatch {
        missing: missing.into_iter().map(|column| column.name.clone()).collect(),
        unknown: unknown.cloned().collect(),
        repeated: repeated.map(|(_, name)| name.clone()).collect(),
        expected: columns.iter().map(|column| column.name.clone()).collect(),
        found: names.clone(),
    });
    // Without repetitions, equal numbers of names leave none unknown.
    let fields: Option<Vec<_>> = columns.iter().map(|column| position(&column.name)).collect();
    fields
        .filter(|fields| fields.len() == names.len())
        .ok_or_else(|| SourceError::Header { path: path.to_owned(), mismatch })
}

#[cfg(test)]
mod tests;
