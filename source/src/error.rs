//! Why a file was refused: where, what, and what to do.

use std::io;

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::{MAX_COLUMNS, RowError};
use thiserror::Error;

use crate::At;
use crate::HeaderMismatch;
use crate::settings::Limit;
use crate::shown::Names;
use crate::tokens::Position;

/// Why a file was refused. Lines are counted from 1 and include the header.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The file's name indicates compression, but the file is not compressed.
    #[error("{path} is not a {format} file: rename it, or compress it")]
    NotCompressed {
        /// The file.
        path: String,
        /// The format that the name indicates.
        format: &'static str,
    },
    /// The file has another compression than declared.
    #[error(
        "{path} is {found}, but its compression was declared as {declared}: correct one of them"
    )]
    Compression {
        /// The file.
        path: String,
        /// The declared compression.
        declared: &'static str,
        /// The compression according to the first bytes.
        found: &'static str,
    },
    /// The file has an unsupported format.
    #[error("{path} {within}is {found}: {remedy}")]
    Format {
        /// The file.
        path: String,
        /// Empty, or words that say that the format was found after decompression.
        within: &'static str,
        /// The format.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that should be CSV begins like another format.
    #[error("{path} is not CSV: it looks like {found}; {remedy}")]
    NotCsv {
        /// The file.
        path: String,
        /// The format.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The file is an HTML page.
    #[error("{path} is an HTML page: does the address lead to a page about the file?")]
    Page {
        /// The file.
        path: String,
    },
    /// The file ends early, cannot be decompressed, or cannot be read.
    #[error("cannot read {path}{}: {source}", beyond(*line))]
    Read {
        /// The file.
        path: String,
        /// The last line that was read.
        line: u64,
        /// The I/O error.
        source: io::Error,
    },
    /// The file has no header.
    #[error("{path} is empty: its first line must name the columns")]
    Empty {
        /// The file.
        path: String,
    },
    /// The header does not name each column of the schema once.
    #[error("the header of {path} does not fit the schema:{mismatch}")]
    Header {
        /// The file.
        path: String,
        /// The differences.
        mismatch: Box<HeaderMismatch>,
    },
    /// The names of `--columns` are not those of the schema.
    #[error("the columns given for {path} do not fit the schema:{mismatch}")]
    Names {
        /// The file.
        path: String,
        /// The differences.
        mismatch: Box<HeaderMismatch>,
    },
    /// A value exceeds a limit that the schema declares.
    #[error("{at}, column {column}: expected {limit}")]
    Limit {
        /// Where the row begins.
        at: At,
        /// The column.
        column: String,
        /// The limit.
        limit: Limit,
    },
    /// Two fields of a header have the same name, and no schema says which is meant.
    #[error(
        "fields {first} and {second} of {path} have the same name {name}: name all fields by --columns, and leave the header out by --skip 1"
    )]
    SameNames {
        /// The file.
        path: String,
        /// The name, in quotes.
        name: String,
        /// Number of the first field.
        first: usize,
        /// Number of the second field.
        second: usize,
    },
    /// The file has more columns than a table can have, and no schema names those to read.
    #[error(
        "{path} has more than {MAX_COLUMNS} columns, and a table has at most that many: write a schema of those you need, and add --ignore-extra"
    )]
    TooManyColumns {
        /// The file.
        path: String,
    },
    /// Two dialects fit the file, and give different values.
    #[error(
        "cannot tell how {path} is written: {first}, or {second}; set its {setting} (--{setting}){}",
        or_none(setting)
    )]
    Dialect {
        /// The file.
        path: String,
        /// A dialect.
        first: String,
        /// Another one.
        second: String,
        /// The setting that decides.
        setting: &'static str,
    },
    /// A record may be written in another dialect than the records before it.
    #[error(
        "line {line}: cannot tell whether {mark} is a {setting} here or data; set the file's {setting} (--{setting}){}",
        or_none(setting)
    )]
    Undeclared {
        /// Line on which the record begins.
        line: u64,
        /// The character.
        mark: char,
        /// The setting that decides.
        setting: &'static str,
    },
    /// The characters of a dialect exclude each other.
    #[error(
        "cannot read {path} in this dialect: delimiter, quote and comment must be different ASCII characters"
    )]
    Marks {
        /// The file.
        path: String,
    },
    /// This program is built without support for Parquet.
    #[error("{path} is Parquet, which this build of the program does not read: write it as CSV")]
    NoParquet {
        /// The file.
        path: String,
    },
    /// A Parquet file is damaged, or uses a part of the format that is not supported.
    #[error("cannot read the Parquet file {path}: {reason}")]
    Parquet {
        /// The file.
        path: String,
        /// What its reader says.
        reason: String,
    },
    /// A column of a Parquet file has a type that does not fit the column.
    #[error("{path}, column {column}: {found} cannot be read as {expected}")]
    ParquetColumn {
        /// The file.
        path: String,
        /// The column.
        column: String,
        /// The type in the file.
        found: String,
        /// The type in the schema, or what would fit.
        expected: &'static str,
    },
    /// A quoted field is never closed.
    #[error(
        "{quote}: the quote that opens here is never closed; close it, or, if it is data, put the field in quotes and double the quote"
    )]
    Unclosed {
        /// The quote that opens the field.
        quote: Position,
    },
    /// Text follows a quoted field.
    #[error(
        "{quote}: the quoted field that begins here is closed at {closed}, and text follows; {remedy}"
    )]
    Followed {
        /// The quote that opens the field.
        quote: Position,
        /// The quote that closes it.
        closed: Position,
        /// What to do.
        remedy: &'static str,
    },
    /// A record has too few or too many fields.
    #[error(
        "line {line}: {found} fields, but {} {expected}; check for a missing delimiter, or one that is data and not in quotes",
        if *has_header { "the header has" } else { "expected" }
    )]
    Fields {
        /// Line on which the record begins.
        line: u64,
        /// Number of fields that every record should have.
        expected: usize,
        /// Number of fields.
        found: usize,
        /// Whether the header decides how many there should be.
        has_header: bool,
    },
    /// A field is not UTF-8.
    #[error(
        "line {line}, column {column}: not valid UTF-8; convert the file, for instance with iconv"
    )]
    Utf8 {
        /// Line on which the field begins.
        line: u64,
        /// The column.
        column: String,
    },
    /// A field is NULL in a column that does not allow NULL.
    #[error("{at}, column {column}: NULL, but the column is {declared}; {remedy}")]
    Null {
        /// Where the field begins.
        at: At,
        /// The column.
        column: String,
        /// `a KEY` or `NOT NULL`.
        declared: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A field is not a valid value of its column.
    #[error("{at}, column {column}: expected {expected}, found {found}")]
    Value {
        /// Where the field begins.
        at: At,
        /// The column.
        column: String,
        /// The accepted values.
        expected: &'static str,
        /// The beginning of the field, quoted.
        found: String,
    },
    /// A record exceeds the size limit and was not read.
    #[error(
        "line {line}: the record that begins here has more than {limit} bytes; {}",
        too_long(*quote)
    )]
    TooLong {
        /// Line on which the record begins.
        line: u64,
        /// The limit in bytes.
        limit: u64,
        /// The quote that opens its last field.
        quote: Option<Position>,
    },
    /// The text is not JSON, or not objects one after another or in one array.
    #[error("line {line}: cannot read the JSON: {reason}")]
    Json {
        /// The line.
        line: u64,
        /// Position in the line, counted from 1.
        character: usize,
        /// What is wrong.
        reason: String,
    },
    /// An object has keys that do not name columns.
    #[error(
        "line {line}: unknown keys: {unknown}; --ignore-extra skips them; the schema has {expected}"
    )]
    Keys {
        /// The line.
        line: u64,
        /// The keys that do not name columns.
        unknown: Names,
        /// Number of such keys.
        count: usize,
        /// Columns of the schema.
        expected: Names,
    },
    /// An object has two keys for one column.
    #[error(
        "line {line}, column {column}: the key comes twice; keys differ by more than their case"
    )]
    Repeated {
        /// The line.
        line: u64,
        /// The column.
        column: String,
    },
    /// A row does not fit the schema.
    #[error("{at}: {source}")]
    Row {
        /// Place of the row.
        at: At,
        /// The reason.
        source: RowError,
    },
    /// A row is larger than the largest bucket.
    #[error("{at}: the row takes {bytes} bytes; a row may take at most {MAX_ROW_BYTES}")]
    RowTooLarge {
        /// Place of the row.
        at: At,
        /// Encoded size of the row in bytes.
        bytes: usize,
    },
    /// A value of a KEY column occurs twice.
    #[error(
        "{at}, column {column}: duplicates the value of {first}{}, but {column} is a KEY",
        of_file(first_file.as_deref())
    )]
    DuplicateKey {
        /// The column.
        column: String,
        /// Place of the second row.
        at: At,
        /// Place of the first row.
        first: At,
        /// The file of the first row, if it is another one.
        first_file: Option<String>,
    },
}

impl SourceError {
    /// Whether the text begins with the file's name or contains it.
    pub fn names_file(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::NotCompressed { .. }
            | Self::Compression { .. }
            | Self::Format { .. }
            | Self::NotCsv { .. }
            | Self::Page { .. }
            | Self::Read { .. }
            | Self::Empty { .. }
            | Self::Header { .. }
            | Self::Names { .. }
            | Self::Dialect { .. }
            | Self::NoParquet { .. }
            | Self::Parquet { .. }
            | Self::ParquetColumn { .. }
            | Self::Marks { .. } => true,
            Self::Unclosed { .. }
            | Self::Followed { .. }
            | Self::Fields { .. }
            | Self::Undeclared { .. }
            | Self::Utf8 { .. }
            | Self::Null { .. }
            | Self::Value { .. }
            | Self::TooLong { .. }
            | Self::Json { .. }
            | Self::Keys { .. }
            | Self::Repeated { .. }
            | Self::Row { .. }
            | Self::SameNames { .. }
            | Self::TooManyColumns { .. }
            | Self::Limit { .. }
            | Self::RowTooLarge { .. }
            | Self::DuplicateKey { .. } => false,
        }
    }

    /// The error's text for a status, which may be readable by more people than the file. It
    /// contains lines, positions and names of the schema, but nothing from the file's contents.
    /// `path` is the caller's name for the file.
    pub fn for_status(&self) -> String {
        match self {
            // The text of an I/O error may quote file contents; its kind cannot.
            Self::Open { path, source } => format!("cannot open {path}: {}", source.kind()),
            Self::Read { path, line, source } => {
                format!("cannot read {path}{}: {}", beyond(*line), source.kind())
            }
            Self::Header { path, mismatch } => {
                format!("the header of {path} does not fit the schema:{}", mismatch.for_status())
            }
            Self::Names { path, mismatch } => format!(
                "the columns given for {path} do not fit the schema:{}",
                mismatch.for_status()
            ),
            Self::Value { at, column, expected, found: _ } => {
                format!("{at}, column {column}: expected {expected}")
            }
            Self::Json { line, character, reason: _ } => {
                format!("line {line}: cannot read the JSON; see character {character}")
            }
            Self::Keys { line, unknown: _, count, expected } => {
                format!(
                    "line {line}: keys that are not columns: {count}; ignoreExtra skips them; the schema has {expected}"
                )
            }
            Self::Dialect { path, first, second, setting } => format!(
                "cannot tell how {path} is written: {first}, or {second}; set dialect.{setting}"
            ),
            Self::Undeclared { line, mark, setting } => format!(
                "line {line}: cannot tell whether {mark} is a {setting} here or data; set dialect.{setting}"
            ),
            // The reader's text may quote the file.
            Self::Parquet { path, reason: _ } => {
                format!("cannot read the Parquet file {path}: it is damaged or not supported")
            }
            Self::SameNames { path, name: _, first, second } => {
                format!("fields {first} and {second} of {path} have the same name")
            }
            // These texts contain only numbers, names of the schema and fixed words.
            Self::NotCompressed { path: _, format: _ }
            | Self::Compression { path: _, declared: _, found: _ }
            | Self::Format { path: _, within: _, found: _, remedy: _ }
            | Self::NotCsv { path: _, found: _, remedy: _ }
            | Self::Page { path: _ }
            | Self::TooManyColumns { path: _ }
            | Self::Limit { at: _, column: _, limit: _ }
            | Self::Empty { path: _ }
            | Self::Unclosed { quote: _ }
            | Self::Followed { quote: _, closed: _, remedy: _ }
            | Self::Fields { line: _, expected: _, found: _, has_header: _ }
            | Self::Marks { path: _ }
            | Self::NoParquet { path: _ }
            | Self::ParquetColumn { path: _, column: _, found: _, expected: _ }
            | Self::Utf8 { line: _, column: _ }
            | Self::Null { at: _, column: _, declared: _, remedy: _ }
            | Self::TooLong { line: _, limit: _, quote: _ }
            | Self::Repeated { line: _, column: _ }
            | Self::Row { at: _, source: _ }
            | Self::RowTooLarge { at: _, bytes: _ }
            | Self::DuplicateKey { column: _, at: _, first: _, first_file: _ } => self.to_string(),
        }
    }
}

fn beyond(line: u64) -> String {
    if line == 0 { String::new() } else { format!(" beyond line {line}") }
}

fn of_file(file: Option<&str>) -> String {
    file.map(|file| format!(" of {file}")).unwrap_or_default()
}

/// How to say that a quote or comment is data.
fn or_none(setting: &str) -> &'static str {
    if setting == "delimiter" { "" } else { ", or to none if it is data" }
}

fn too_long(quote: Option<Position>) -> String {
    match quote {
        Some(quote) => format!("is the quote at {quote} left open?"),
        None => "check that the file is of its format".to_owned(),
    }
}
