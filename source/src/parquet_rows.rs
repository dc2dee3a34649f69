//! Reads the rows of a table from a Parquet file.
//!
//! **What.** Columns are matched by name, ignoring ASCII case, and only those of the schema are
//! read. A column's type must fit: numbers are not read from text. Nested columns become JSON text.
//!
//! **Why not arrow.** The rows are encoded one by one, so columns in memory would not help, and
//! arrow is a hundred thousand lines more.
//!
//! **Guarantees.** The crate `parquet` may panic on damaged files. This is caught and becomes an
//! error, like every other damage.
//!
//! **Limits.** The format begins at its end, so a file that is compressed as a whole, or comes from
//! the network, is first written to an unnamed temporary file. Timestamps in 96 bits are refused,
//! because their reader would cut them to milliseconds.

mod nested;
mod types;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opaque_pir::table::{Column, ColumnType, Schema, Value};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use self::types::{Kind, converted};
use crate::header::matched;
use crate::input::Bytes;
use crate::names::Names;
use crate::settings::{Settings, declared};
use crate::shown::quoted;
use crate::{At, SourceError};

/// Typed rows of a Parquet file, in file order.
pub(crate) struct ParquetRows {
    rows: RowIter<'static>,
    path: String,
    columns: Vec<ColumnReader>,
    /// The number of the row that was read last, counted from 1.
    row: u64,
}

/// A column of the schema.
struct ColumnReader {
    column: Column,
    /// What the file's column contains.
    kind: Kind,
    /// Its position among those that are read.
    at: usize,
}

impl ParquetRows {
    /// Reads the file's schema and matches its columns. `bytes` are those of `file`, if there is
    /// one.
    pub(crate) fn open(
        path: String,
        mut bytes: Bytes,
        file: Option<File>,
        schema: &Schema,
        settings: &Settings,
    ) -> Result<Self, SourceError> {
        let file = match file {
            Some(file) => file,
            None => spooled(&mut bytes).map_err(|source| SourceError::Read {
                path: path.clone(),
                line: 0,
                source,
            })?,
        };
        drop(bytes);
        let reader = caught(&path, || SerializedFileReader::new(file))?;
        let root = reader.metadata().file_metadata().schema().clone();
        let fields = root.get_fields();
        let names: Vec<&[u8]> = fields.iter().map(|field| field.name().as_bytes()).collect();
        let positions =
            matched(&Names::new(schema, &settings.columns), &names, settings.skips_extra())
                .map_err(|mismatch| SourceError::Header { path: path.clone(), mismatch })?;
        let mut wanted = positions.clone();
        wanted.sort_unstable();
        let projected = wanted.iter().filter_map(|at| fields.get(*at)).map(Arc::clone).collect();
        let columns = schema.columns().iter().zip(&positions).filter_map(|(column, position)| {
            let at = wanted.iter().position(|other| other == position)?;
            Some((column, at, fields.get(*position)?))
        });
        let columns = columns.map(|(column, at, field)| {
            let refused = |found, expected| SourceError::ParquetColumn {
                path: path.clone(),
                column: column.name.clone(),
                found,
                expected,
            };
            let kind = Kind::of(field, column.column_type)
                .map_err(|(found, expected)| refused(found, expected))?;
            Ok(ColumnReader { column: column.clone(), kind, at })
        });
        let columns = columns.collect::<Result<_, SourceError>>()?;
        let rows = caught(&path, || {
            let root = Type::group_type_builder(root.name()).with_fields(projected).build()?;
            RowIter::from_file_into(Box::new(reader)).project(Some(root))
        })?;
        Ok(Self { rows, path, columns, row: 0 })
    }

    /// The number of the most recently returned row.
    pub(crate) fn row(&self) -> u64 {
        self.row
    }

    pub(crate) fn read(&mut self) -> Result<Option<Vec<Value>>, SourceError> {
        let rows = &mut self.rows;
        let Some(row) = caught(&self.path, || rows.next().transpose())? else { return Ok(None) };
        self.row += 1;
        let fields: Vec<&Field> = fields(&row);
        let cells = self.columns.iter().map(|reader| {
            cell(reader, fields.get(reader.at).copied().unwrap_or(&Field::Null), At::Row(self.row))
        });
        cells.collect::<Result<_, _>>().map(Some)
    }
}

/// The names of a file's columns, and the type that holds each, or what it contains if none does.
/// Also returns a handle of the file.
#[expect(clippy::type_complexity, reason = "the parts are named in the comment")]
pub(crate) fn columns(
    path: &str,
    mut bytes: Bytes,
    file: Option<File>,
) -> Result<(File, Vec<(String, Result<ColumnType, String>)>), SourceError> {
    let unread = |source| SourceError::Read { path: path.to_owned(), line: 0, source };
    let file = match file {
        Some(file) => file,
        None => spooled(&mut bytes).map_err(unread)?,
    };
    let again = file.try_clone().map_err(unread)?;
    let reader = caught(path, || SerializedFileReader::new(again))?;
    let root = reader.metadata().file_metadata().schema().clone();
    let column = |field: &Arc<Type>| (field.name().to_owned(), types::stated(field));
    Ok((file, root.get_fields().iter().map(column).collect()))
}

fn fields(row: &Row) -> Vec<&Field> {
    row.get_column_iter().map(|(_, field)| field).collect()
}

fn cell(reader: &ColumnReader, field: &Field, at: At) -> Result<Value, SourceError> {
    let ColumnReader { column, kind, at: _ } = reader;
    let name = || column.name.clone();
    let value = converted(field, *kind, column.column_type).map_err(|expected| {
        let found = quoted(&nested::shown(field));
        SourceError::Value { at, column: name(), expected, found }
    })?;
    if value == Value::Null && !column.nullable {
        let (declared, remedy) = (declared(column), "fill it in, or make the column nullable");
        return Err(SourceError::Null { at, column: name(), declared, remedy });
    }
    Ok(value)
}

/// All bytes in a temporary file, which has no name and ends with its handle.
fn spooled(bytes: &mut Bytes) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(bytes, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Calls the crate `parquet`, and takes a panic for an error.
fn caught<T>(path: &str, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, SourceError> {
    let failed = |reason: String| SourceError::Parquet { path: path.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(short(&error.to_string()))),
        // What was read is not used any more.
        Err(_) => Err(failed("it is damaged".to_owned())),
    }
}

/// The reader's text, without control characters and with bounded length.
fn short(text: &str) -> String {
    quoted(text).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests;
