//! Why a file was refused: where, what, and what to do.

use std::io;

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::RowError;
use thiserror::Error;

use crate::HeaderMismatch;
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
        "line {line}: {found} fields, but the header names {expected} columns; check for a missing or unquoted comma or quote"
    )]
    Fields {
        /// Line on which the record begins.
        line: u64,
        /// Number of columns.
        expected: usize,
        /// Number of fields.
        found: usize,
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
    #[error("line {line}, column {column}: NULL, but the column is {declared}; {remedy}")]
    Null {
        /// Line on which the field begins.
        line: u64,
        /// The column.
        column: String,
        /// `a KEY` or `NOT NULL`.
        declared: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A field is not a valid value of its column.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Value {
        /// Line on which the field begins.
        line: u64,
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
    /// A line is not a JSON object.
    #[error("line {line}: expected a JSON object on one line: {reason}")]
    Json {
        /// The line.
        line: u64,
        /// Position in the line, counted from 1.
        character: usize,
        /// Position and reason.
        reason: String,
    },
    /// An object has keys that do not name columns.
    #[error("line {line}: unknown keys: {unknown}; the schema has {expected}")]
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
    #[error("line {line}: {source}")]
    Row {
        /// Line of the row.
        line: u64,
        /// The reason.
        source: RowError,
    },
    /// A row is larger than the largest bucket.
    #[error("line {line}: the row takes {bytes} bytes; a row may take at most {MAX_ROW_BYTES}")]
    RowTooLarge {
        /// Line of the row.
        line: u64,
        /// Encoded size of the row in bytes.
        bytes: usize,
    },
    /// A value of a KEY column occurs twice.
    #[error(
        "line {line}, column {column}: duplicates the value of line {first_line}, but {column} is a KEY"
    )]
    DuplicateKey {
        /// The column.
        column: String,
        /// Line of the second row.
        line: u64,
        /// Line of the first row.
        first_line: u64,
    },
}

impl SourceError {
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
            Self::Value { line, column, expected, found: _ } => {
                format!("line {line}, column {column}: expected {expected}")
            }
            Self::Json { line, character, reason: _ } => format!(
                "line {line}: expected a JSON object on one line; see its character {character}"
            ),
            Self::Keys { line, unknown: _, count, expected } => {
                format!(
                    "line {line}: keys that are not columns: {count}; the schema has {expected}"
                )
            }
            // These texts contain only numbers, names of the schema and fixed words.
            Self::NotCompressed { path: _, format: _ }
            | Self::Compression { path: _, declared: _, found: _ }
            | Self::Format { path: _, within: _, found: _, remedy: _ }
            | Self::NotCsv { path: _, found: _, remedy: _ }
            | Self::Empty { path: _ }
            | Self::Unclosed { quote: _ }
            | Self::Followed { quote: _, closed: _, remedy: _ }
            | Self::Fields { line: _, expected: _, found: _ }
            | Self::Utf8 { line: _, column: _ }
            | Self::Null { line: _, column: _, declared: _, remedy: _ }
            | Self::TooLong { line: _, limit: _, quote: _ }
            | Self::Repeated { line: _, column: _ }
            | Self::Row { line: _, source: _ }
            | Self::RowTooLarge { line: _, bytes: _ }
            | Self::DuplicateKey { column: _, line: _, first_line: _ } => self.to_string(),
        }
    }
}

fn beyond(line: u64) -> String {
    if line == 0 { String::new() } else { format!(" beyond line {line}") }
}

fn too_long(quote: Option<Position>) -> String {
    match quote {
        Some(quote) => format!("is the quote at {quote} left open?"),
        None => "check that the file is of its format".to_owned(),
    }
}
