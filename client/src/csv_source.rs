//! Rows of a table from a CSV file.
//!
//! Columns are matched by the header, without regard to ASCII case. Lines in errors are those an
//! editor shows, whatever the line ends and however many lines a quoted field spans.

mod error;
mod input;

use std::path::Path;

use csv::ByteRecord;
use opaque_pir::table::{Column, Role, Schema, Value};

pub use self::error::{CsvError, HeaderMismatch};
use self::input::{Input, Lines};

/// Typed rows of a CSV file, in file order. Ends after the first error.
pub struct Reader {
    csv: csv::Reader<Lines>,
    path: String,
    columns: Vec<Column>,
    /// For each column of the schema, its field in a record.
    fields: Vec<usize>,
    null: String,
    record: ByteRecord,
    input: Input,
    /// Where the last record began.
    line: u64,
    failed: bool,
}

impl Reader {
    /// Opens a file, or standard input for `-`, and checks its header. gzip and zstd are recognised
    /// by their first bytes. A field that equals `null` is NULL.
    pub fn open(path: &Path, schema: &Schema, null: &str) -> Result<Self, CsvError> {
        let (input, bytes) = Input::open(path)?;
        let path = path.display().to_string();
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            // Lengths are compared here, for an error with the right line.
            .flexible(true)
            .from_reader(Lines::new(bytes));
        let mut header = ByteRecord::new();
        match csv.read_byte_record(&mut header) {
            Ok(true) => {}
            Ok(false) => return Err(CsvError::Empty { path }),
            Err(source) => return Err(CsvError::Read { path, line: 1, source: source.into() }),
        }
        let fields = matched(schema, &header, &path)?;
        Ok(Self {
            csv,
            path,
            columns: schema.columns().to_vec(),
            fields,
            null: null.to_owned(),
            record: ByteRecord::new(),
            input,
            line: 1,
            failed: false,
        })
    }

    /// Bytes of the file (of its compressed form, if it is compressed) read so far.
    pub fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }

    /// Size of the file in the same bytes, unless it is a stream.
    pub fn total_bytes(&self) -> Option<u64> {
        self.input.total_bytes()
    }

    /// The line on which the row returned last begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn read(&mut self) -> Result<Option<Vec<Value>>, CsvError> {
        match self.csv.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => {
                let line = self.csv.get_mut().line_of(u64::MAX);
                return Err(CsvError::Read {
                    path: self.path.clone(),
                    line,
                    source: source.into(),
                });
            }
        }
        let start = self.record.position().map_or(0, csv::Position::byte);
        let line = self.csv.get_mut().line_of(start);
        self.line = line;
        if self.record.len() != self.fields.len() {
            return Err(CsvError::Fields {
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

    fn value(&self, column: &Column, field: usize, line: u64) -> Result<Value, CsvError> {
        let bytes = self.record.get(field).unwrap_or_default();
        // A field may begin some lines below its record, after quoted line breaks.
        let line_of_field = || {
            let before = self.record.iter().take(field).flatten();
            line + before.filter(|byte| **byte == b'\n').count() as u64
        };
        let name = || column.name.clone();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(CsvError::Utf8 { line: line_of_field(), column: name() });
        };
        if text == self.null {
            return if column.nullable {
                Ok(Value::Null)
            } else {
                let declared = if column.role == Role::Key { "a KEY" } else { "NOT NULL" };
                Err(CsvError::Null { line: line_of_field(), column: name(), declared })
            };
        }
        Value::parse(column.column_type, text).map_err(|error| CsvError::Value {
            line: line_of_field(),
            column: name(),
            expected: error.expected,
            found: shortened(text),
        })
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<Value>, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.read().transpose();
        self.failed = !matches!(row, Some(Ok(_)));
        row
    }
}

/// For each column of the schema, the position of its name in the header.
fn matched(schema: &Schema, header: &ByteRecord, path: &str) -> Result<Vec<usize>, CsvError> {
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
        .ok_or_else(|| CsvError::Header { path: path.to_owned(), mismatch })
}

/// The beginning of a field, for an error.
fn shortened(text: &str) -> String {
    const CHARS: usize = 40;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
