//! Reads typed rows from a file of any format.

use std::path::Path;

use opaque_pir::table::{Schema, Value};

use crate::csv_rows::CsvRows;
use crate::dialect::Detected;
use crate::input::{Input, Parts, Progress};
use crate::json_rows::JsonRows;
#[cfg(feature = "parquet")]
use crate::parquet_rows::ParquetRows;
use crate::sample::sample;
use crate::settings::{Format, Null, Settings};
use crate::tokens::Bent;
use crate::{At, SourceError};

/// Typed rows of a file, in file order. Iteration ends after the first error.
pub struct Reader {
    rows: Rows,
    name: String,
    progress: Progress,
    schema: Schema,
    settings: Settings,
    failed: bool,
}

enum Rows {
    Csv(CsvRows),
    Json(JsonRows),
    #[cfg(feature = "parquet")]
    Parquet(ParquetRows),
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
        let Parts { name: path, bytes, progress, file } = input.into_parts();
        let name = path.clone();
        let (sample, bytes) = sample(bytes);
        if is_page(&sample.bytes) {
            return Err(SourceError::Page { path });
        }
        let rows = match format.unwrap_or_else(|| Format::of(&path, &sample.bytes)) {
            Format::Csv => Rows::Csv(CsvRows::open(path, &sample, bytes, schema, settings)?),
            Format::Json => Rows::Json(JsonRows::new(path, bytes, schema, settings)),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                Rows::Parquet(ParquetRows::open(path, bytes, file, schema, settings)?)
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                drop(file);
                return Err(SourceError::NoParquet { path });
            }
        };
        Ok(Self {
            rows,
            name,
            progress,
            schema: schema.clone(),
            settings: settings.clone(),
            failed: false,
        })
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

    /// The place of the most recently returned row.
    pub fn at(&self) -> At {
        match &self.rows {
            Rows::Csv(rows) => At::Line(rows.line()),
            Rows::Json(rows) => At::Line(rows.line()),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => At::Row(rows.row()),
        }
    }

    /// How the file is written, if it is delimited text.
    pub fn dialect(&self) -> Option<Detected> {
        match &self.rows {
            Rows::Csv(rows) => Some(rows.dialect()),
            Rows::Json(_) => None,
            #[cfg(feature = "parquet")]
            Rows::Parquet(_) => None,
        }
    }

    /// Records so far that [`crate::Quotes::Lenient`] accepts and [`crate::Quotes::Strict`]
    /// refuses.
    pub fn bent(&self) -> Option<Bent> {
        match &self.rows {
            Rows::Csv(rows) => rows.bent(),
            Rows::Json(_) => None,
            #[cfg(feature = "parquet")]
            Rows::Parquet(_) => None,
        }
    }

    /// The row, unless a value exceeds a limit of its column.
    fn within_limits(&self, row: Vec<Value>) -> Result<Vec<Value>, SourceError> {
        let Some((at, limit)) = self.settings.beyond(&row) else { return Ok(row) };
        let column = self.schema.columns().get(at).map(|column| column.name.clone());
        let (at, column) = (self.at(), column.unwrap_or_default());
        Err(SourceError::Limit { at, column, limit })
    }

    /// The table's schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// Whether a file begins like an HTML page, which servers send in place of a file that is not
/// there.
pub(crate) fn is_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
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
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.read(),
        };
        let row = row.transpose().map(|row| self.within_limits(row?));
        self.failed = !matches!(row, Some(Ok(_)));
        row
    }
}
