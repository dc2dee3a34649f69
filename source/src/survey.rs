//! Reads a file of which no schema is known, and says what its columns hold.
//!
//! **What.** [`Survey`] reads whole files. [`Surveyed`] has, for each column, the name in the file,
//! the narrowest type of which all values are, and how many values differ.
//!
//! **Why whole files.** A column of a million numbers may end with `n/a`. A type that a sample
//! showed would then fail after the user has waited for the load.
//!
//! **Flow.** `layout` detects how delimited text is written, without types. The rows are then read
//! as text, and `kind` narrows each column's type value by value. JSON objects are read member by
//! member, and Parquet states the types.
//!
//! **Limits.** No value is counted twice, so the number of different values is exact, but it is
//! given up for a column with repetitions and more than a million different values. Names of nested
//! columns are not looked into: such a column is JSON.

mod kind;
mod layout;

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use opaque_pir::table::{Column, ColumnType, MAX_COLUMNS, Role, Schema, Value};

use self::kind::Kind;
use self::layout::Layout;
use crate::SourceError;
use crate::csv_rows::CsvRows;
use crate::input::{Input, Parts, Progress};
use crate::json_rows::JsonMembers;
#[cfg(feature = "parquet")]
use crate::parquet_rows::{self, ParquetRows};
use crate::sample::{Sample, sample};
use crate::settings::{ColumnSource, Format, Settings};

/// Different values that are counted in a column with repetitions.
const MAX_COUNTED: usize = 1 << 20;
/// Different values that are counted in a column without repetitions.
const MAX_UNIQUE: usize = 1 << 25;

/// Reads files of one table.
pub struct Survey {
    format: Option<Format>,
    settings: Settings,
    columns: Vec<ColumnSurvey>,
    positions: HashMap<String, usize>,
    hasher: RandomState,
    rows: u64,
    has_header: Option<bool>,
    is_named: bool,
    skipped: Vec<(String, String)>,
}

/// What files show about their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// The columns, in the order in which the files name them.
    pub columns: Vec<SurveyedColumn>,
    /// Number of rows.
    pub rows: u64,
    /// Whether the files have a header, if they are delimited text.
    pub has_header: Option<bool>,
    /// Whether the columns have their names in the files, or from the settings.
    pub is_named: bool,
    /// Columns that no type can hold: the name, and what they contain.
    pub skipped: Vec<(String, String)>,
}

/// What files show about one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedColumn {
    /// Its name in the files. Without a header, `column_1` and so on.
    pub name: String,
    /// The narrowest type of which all values are.
    pub column_type: ColumnType,
    /// Number of rows in which it is NULL or missing.
    pub nulls: u64,
    /// Number of different values without NULL, unless there are too many to count.
    pub distinct: Option<u64>,
    /// Whether no value occurs twice, as far as this was counted.
    pub is_unique: bool,
    /// Bytes of the longest value as text.
    pub longest: usize,
}

struct ColumnSurvey {
    name: String,
    kind: Kind,
    values: u64,
    seen: Option<HashSet<u64>>,
    is_unique: bool,
    longest: usize,
    /// Values that are text, and that types other than TEXT take for NULL.
    blanks: u64,
}

impl ColumnSurvey {
    fn new(name: String, kind: Kind) -> Self {
        let seen = Some(HashSet::new());
        Self { name, kind, values: 0, seen, is_unique: true, longest: 0, blanks: 0 }
    }

    /// Counts a value that is not NULL, by its text.
    fn count(&mut self, hasher: &RandomState, text: &[u8]) {
        self.values += 1;
        self.longest = self.longest.max(text.len());
        let Some(seen) = &mut self.seen else { return };
        self.is_unique &= seen.insert(hasher.hash_one(text));
        if seen.len() > if self.is_unique { MAX_UNIQUE } else { MAX_COUNTED } {
            self.seen = None;
            self.is_unique = false;
        }
    }
}

impl Survey {
    /// Starts without columns. `format` and `settings` are those of
    /// [`Reader::new`](crate::Reader::new).
    pub fn new(format: Option<Format>, settings: Settings) -> Self {
        Self {
            format,
            settings,
            columns: Vec::new(),
            positions: HashMap::new(),
            hasher: RandomState::new(),
            rows: 0,
            has_header: None,
            is_named: true,
            skipped: Vec::new(),
        }
    }

    /// Reads a file. `on_bytes` receives the number of bytes read so far and the file's size if
    /// known.
    ///
    /// # Errors
    /// It cannot be read, or its dialect cannot be told, or it has too many columns for a table.
    pub fn read(
        &mut self,
        input: Input,
        mut on_bytes: impl FnMut(u64, Option<u64>),
    ) -> Result<(), SourceError> {
        let Parts { name: path, bytes, progress, file } = input.into_parts();
        let (sample, bytes) = sample(bytes);
        if crate::reader::is_page(&sample.bytes) {
            return Err(SourceError::Page { path });
        }
        let mut on_row = |progress: &Progress| {
            on_bytes(progress.bytes_read(), progress.total_bytes());
        };
        match self.format.unwrap_or_else(|| Format::of(&path, &sample.bytes)) {
            Format::Csv => {
                let layout = Layout::of(&path, &sample, &self.settings)?;
                self.has_header.get_or_insert(layout.has_header);
                self.is_named &= layout.is_named();
                let places = self.places(&path, layout.names.iter().map(String::as_str))?;
                let mut rows = layout.rows(path, &sample, bytes, &self.settings)?;
                while let Some(row) = rows.read()? {
                    for (place, value) in places.iter().zip(&row) {
                        self.text(*place, value);
                    }
                    self.rows += 1;
                    on_row(&progress);
                }
            }
            Format::Json => {
                let mut objects = JsonMembers::new(path.clone(), bytes);
                while let Some(members) = objects.read()? {
                    for (key, text) in members {
                        let place = self.place(&path, &key, Kind::of_json())?;
                        if let Some(column) = self.columns.get_mut(place).filter(|_| text != "null")
                        {
                            column.kind.narrow_json(text);
                            column.count(&self.hasher, text.as_bytes());
                        }
                    }
                    self.rows += 1;
                    on_row(&progress);
                }
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => self.read_parquet(path, bytes, file, || on_row(&progress))?,
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                drop(file);
                return Err(SourceError::NoParquet { path });
            }
        }
        Ok(())
    }

    #[cfg(feature = "parquet")]
    fn read_parquet(
        &mut self,
        path: String,
        bytes: crate::input::Bytes,
        file: Option<std::fs::File>,
        mut on_row: impl FnMut(),
    ) -> Result<(), SourceError> {
        let (file, columns) = parquet_rows::columns(&path, bytes, file)?;
        let mut read = Vec::new();
        for (name, column_type) in columns {
            match column_type {
                Ok(column_type) => read.push((name, column_type)),
                Err(found) => self.skipped.push((name, found)),
            }
        }
        let mut places = Vec::with_capacity(read.len());
        for (name, column_type) in &read {
            places.push(self.place(&path, name, Kind::Known(*column_type))?);
        }
        let (schema, sources) = schema_of(&path, &read, true)?;
        let settings = Settings { columns: sources, ignore_extra: true, ..self.settings.clone() };
        let none = Box::new(std::io::empty());
        let mut rows = ParquetRows::open(path, none, Some(file), &schema, &settings)?;
        while let Some(row) = rows.read()? {
            for (place, value) in places.iter().zip(&row) {
                if let (Some(column), false) = (self.columns.get_mut(*place), *value == Value::Null)
                {
                    column.count(&self.hasher, &value.search_key());
                }
            }
            self.rows += 1;
            on_row();
        }
        Ok(())
    }

    fn text(&mut self, place: usize, value: &Value) {
        if let (Some(column), Value::Text(text)) = (self.columns.get_mut(place), value) {
            let trimmed = text.trim_matches([' ', '\t']);
            if trimmed == self.settings.null.text() {
                column.blanks += 1;
            } else {
                column.kind.narrow_text(trimmed);
            }
            column.count(&self.hasher, text.as_bytes());
        }
    }

    fn places<'a>(
        &mut self,
        path: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<usize>, SourceError> {
        names.map(|name| self.place(path, name, Kind::of_text())).collect()
    }

    /// The position of a column, which is added if it is new.
    fn place(&mut self, path: &str, name: &str, kind: Kind) -> Result<usize, SourceError> {
        if let Some(place) = self.positions.get(name) {
            if let Some(column) = self.columns.get_mut(*place) {
                column.kind = column.kind.with(kind);
            }
            return Ok(*place);
        }
        let place = self.columns.len();
        if place == MAX_COLUMNS {
            return Err(SourceError::TooManyColumns { path: path.to_owned() });
        }
        self.columns.push(ColumnSurvey::new(name.to_owned(), kind));
        self.positions.insert(name.to_owned(), place);
        Ok(place)
    }

    /// What the files show.
    pub fn finish(self) -> Surveyed {
        let Self { columns, rows, has_header, is_named, skipped, .. } = self;
        let column = |column: ColumnSurvey| {
            let ColumnSurvey { name, kind, values, seen, is_unique, longest, blanks } = column;
            let distinct = seen.map(|seen| seen.len() as u64);
            let column_type = kind.column_type(values > blanks);
            let blanks = if column_type == ColumnType::Text { 0 } else { blanks };
            let nulls = rows.saturating_sub(values) + blanks;
            SurveyedColumn { name, column_type, nulls, distinct, is_unique, longest }
        };
        let columns = columns.into_iter().map(column).collect();
        Surveyed { columns, rows, has_header, is_named, skipped }
    }
}

/// A schema under which these columns of a file are read. `named` is whether the file has their
/// names.
fn schema_of(
    path: &str,
    columns: &[(String, ColumnType)],
    named: bool,
) -> Result<(Schema, Vec<ColumnSource>), SourceError> {
    let column = |(at, (_, column_type)): (usize, &(String, ColumnType))| {
        let role = if at == 0 { Role::Index } else { Role::Payload };
        Column::new(&format!("c{at}"), *column_type, role, true)
    };
    let schema = columns.iter().enumerate().map(column).collect();
    // The only way to violate a schema's rules here is the number of columns.
    let schema = Schema::new("t".to_owned(), schema).map_err(|_| match columns.len() {
        0 => SourceError::Empty { path: path.to_owned() },
        _ => SourceError::TooManyColumns { path: path.to_owned() },
    })?;
    let source = |(name, _): &(String, ColumnType)| ColumnSource {
        from: named.then(|| name.clone()),
        limit: None,
    };
    Ok((schema, columns.iter().map(source).collect()))
}

impl Layout {
    /// Whether the fields have names in the file or from the settings.
    fn is_named(&self) -> bool {
        self.has_header || !self.dialect.columns.is_empty()
    }

    /// The rows of delimited text, all of it as TEXT.
    fn rows(
        self,
        path: String,
        sample: &Sample,
        bytes: crate::input::Bytes,
        settings: &Settings,
    ) -> Result<CsvRows, SourceError> {
        let is_named = self.is_named();
        let columns: Vec<_> = self.names.into_iter().map(|name| (name, ColumnType::Text)).collect();
        let (schema, columns) = schema_of(&path, &columns, is_named)?;
        let settings = Settings { dialect: self.dialect, columns, ..settings.clone() };
        CsvRows::open(path, sample, bytes, &schema, &settings)
    }
}

#[cfg(test)]
mod tests;
