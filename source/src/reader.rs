//! Reads typed rows from a file of either format.

use std::path::Path;

use opaque_pir::table::{Schema, Value};

use crate::SourceError;
use crate::csv_rows::CsvRows;
use crate::dialect::Detected;
use crate::input::{Input, Progress};
use crate::json_rows::JsonRows;
use crate::sample::sample;
use crate::settings::{Format, Null, Settings};
use crate::tokens::Bent;

/// Typed rows of a file, in file order. Iteration ends after the first error.
pub struct Reader {
    rows: Rows,
    name: String,
    progress: Progress,
    schema: Schema,
    failed: bool,
}

enum Rows {
    Csv(CsvRows),
    Json(JsonRows),
}

impl Reader {
    /// Opens a file, or standard input for `-`, and checks its header. A field that equals `null`
    /// is NULL. The other settings are the default ones.
    pub fn open(path: &Path, schema: &Schema, null: &str) -> Result<Self, SourceError> {
        let settings = Settings { null: Null::Text(null.to_owned()), ..Settings::default() };
        Self::new(Input::open(path)?, None, schema, &settings)
    }

    /// Reads rows of the given `format`, or of the one that the name or the first bytes show.
    /// Detects the dialect and checks the header if the format has them.
    pub fn new(
        input: Input,
        format: Option<Format>,
        schema: &Schema,
        settings: &Settings,
    ) -> Result<Self, SourceError> {
        let (path, bytes, progress) = input.into_parts();
        let name = path.clone();
        let (sample, bytes) = sample(bytes);
        let rows = match format.unwrap_or_else(|| Format::of(&path, &sample.bytes)) {
            Format::Csv => Rows::Csv(CsvRows::open(path, &sample, bytes, schema, settings)?),
            Format::Json => Rows::Json(JsonRows::new(path, bytes, schema, settings)),
        };
        Ok(Self { rows, name, progress, schema: schema.clone(), failed: false })
    }

    /// The name of the file, for errors.
    pub fn name(&self) -> &str {
        &self.name
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

    /// How the file is written, if it is delimited text.
    pub fn dialect(&self) -> Option<Detected> {
        match &self.rows {
            Rows::Csv(rows) => Some(rows.dialect()),
            Rows::Json(_) => None,
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
