//! Reads typed rows from a file of either format.

use std::path::Path;

use opaque_pir::table::{Schema, Value};

use crate::SourceError;
use crate::csv_rows::CsvRows;
use crate::input::{Input, Progress};
use crate::json_rows::JsonRows;
use crate::settings::{CsvSettings, Format, Null};
use crate::tokens::{Bent, Quotes};

/// Typed rows of a file, in file order. Iteration ends after the first error.
pub struct Reader {
    rows: Rows,
    progress: Progress,
    schema: Schema,
    failed: bool,
}

enum Rows {
    Csv(CsvRows),
    Json(JsonRows),
}

impl Reader {
    /// Opens a CSV file, or standard input for `-`, and checks its header. gzip and zstd are
    /// recognized by their first bytes. A field that equals `null` is NULL. Quotes are strict.
    pub fn open(path: &Path, schema: &Schema, null: &str) -> Result<Self, SourceError> {
        let csv = CsvSettings { null: Null::Text(null.to_owned()), quotes: Quotes::Strict };
        Self::new(Input::open(path)?, Format::Csv, schema, csv)
    }

    /// Reads rows of the given `format`; `csv` applies to CSV only. Checks the header if the format
    /// has one.
    pub fn new(
        input: Input,
        format: Format,
        schema: &Schema,
        csv: CsvSettings,
    ) -> Result<Self, SourceError> {
        let (path, bytes, progress) = input.into_parts();
        let rows = match format {
            Format::Csv => Rows::Csv(CsvRows::open(path, bytes, schema, csv)?),
            Format::Jsonl => Rows::Json(JsonRows::new(path, bytes, schema)),
        };
        Ok(Self { rows, progress, schema: schema.clone(), failed: false })
    }

    /// Number of bytes read so far from the file, in compressed form if it is compressed.
    pub fn bytes_read(&self) -> u64 {
        self.progress.bytes_read()
    }

    /// Size of the file, counted in the same way, unless it is a stream of unknown length.
    pub fn total_bytes(&self) -> Option<u64> {
        self.progress.total_bytes()
    }

    /// The line on which the most recently returned row begins.
    pub fn line(&self) -> u64 {
        match &self.rows {
            Rows::Csv(rows) => rows.line(),
            Rows::Json(rows) => rows.line(),
        }
    }

    /// Records so far that [`Quotes::Lenient`] accepts and [`Quotes::Strict`] refuses.
    pub fn bent(&self) -> Option<Bent> {
        match &self.rows {
            Rows::Csv(rows) => rows.bent(),
            Rows::Json(_) => None,
        }
    }

    /// The table's schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<Value>, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = match &mut self.rows {
            Rows::Csv(rows) => rows.read(),
            Rows::Json(rows) => rows.read(),
        };
        let row = row.transpose();
        self.failed = !matches!(row, Some(Ok(_)));
        row
    }
}
