//! Why a file was refused: where, what, and what to do.

use std::{fmt, io};

use opaque_pir::layout::MAX_ROW_BYTES;
use opaque_pir::table::RowError;
use thiserror::Error;

/// Why a file was refused; lines count from 1, the header's included.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file's name says that it is compressed, and it is not.
    #[error("{path} is not a {format} file: rename it, or compress it")]
    NotCompressed {
        /// The file.
        path: String,
        /// What its name says.
        format: &'static str,
    },
    /// The file is compressed otherwise than was said.
    #[error(
        "{path} is {found}, but its compression was declared as {declared}: correct one of them"
    )]
    Compression {
        /// The file.
        path: String,
        /// What was said.
        declared: &'static str,
        /// What the first bytes say.
        found: &'static str,
    },
    /// The file ends early, cannot be decompressed, or cannot be read.
    #[error("cannot read {path} beyond line {line}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The last line that was read.
        line: u64,
        /// Why.
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
        /// How they differ.
        mismatch: Box<HeaderMismatch>,
    },
    /// A record has too few or too many fields.
    #[error(
        "line {line}: {found} fields, but the header names {expected} columns; check for a missing or unquoted comma or quote"
    )]
    Fields {
        /// Where the record begins.
        line: u64,
        /// Columns.
        expected: usize,
        /// Fields.
        found: usize,
    },
    /// A field is not UTF-8.
    #[error(
        "line {line}, column {column}: not valid UTF-8; convert the file, for instance with iconv"
    )]
    Utf8 {
        /// Where the field begins.
        line: u64,
        /// The column.
        column: String,
    },
    /// A field is NULL where that is not allowed.
    #[error("line {line}, column {column}: NULL, but the column is {declared}; {remedy}")]
    Null {
        /// Where the field begins.
        line: u64,
        /// The column.
        column: String,
        /// `a KEY` or `NOT NULL`.
        declared: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A field is no value of its column.
    #[error("line {line}, column {column}: expected {expected}, found {found:?}")]
    Value {
        /// Where the field begins.
        line: u64,
        /// The column.
        column: String,
        /// What would have been accepted.
        expected: &'static str,
        /// The field's beginning.
        found: String,
    },
    /// A record is so long that it was not read.
    #[error(
        "line {line}: the record that begins here has more than {limit} bytes; check for an unclosed quote, and that the file is of its format"
    )]
    TooLong {
        /// Where it begins.
        line: u64,
        /// The bound, bytes.
        limit: u64,
    },
    /// A line is no JSON object.
    #[error("line {line}: expected a JSON object on one line: {reason}")]
    Json {
        /// The line.
        line: u64,
        /// Where in the line, from 1.
        character: usize,
        /// Where and why.
        reason: String,
    },
    /// An object has keys that are no columns.
    #[error("line {line}: unknown keys: {}; the schema has {}", unknown.join(", "), expected.join(", "))]
    Keys {
        /// The line.
        line: u64,
        /// Keys that are no columns.
        unknown: Vec<String>,
        /// Columns of the schema.
        expected: Vec<String>,
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
        /// Why.
        source: RowError,
    },
    /// A row is larger than the largest bucket.
    #[error("line {line}: the row takes {bytes} bytes; a row may take at most {MAX_ROW_BYTES}")]
    RowTooLarge {
        /// Line of the row.
        line: u64,
        /// Its bytes, encoded.
        bytes: usize,
    },
    /// A value of a KEY column comes twice.
    #[error(
        "line {line}, column {column}: the value of line {first_line} again, but {column} is a KEY"
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
    /// The text for a status, which more people may read than the file: lines, positions and names of the
    /// schema, and nothing that stands in the file. `path` of an error is the caller's name for the file.
    pub fn for_status(&self) -> String {
        match self {
            // The text of an I/O error may quote what was read; its kind cannot.
            Self::Open { path, source } => format!("cannot open {path}: {}", source.kind()),
            Self::Read { path, line, source } => {
                format!("cannot read {path} beyond line {line}: {}", source.kind())
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
            Self::Keys { line, unknown, expected } => format!(
                "line {line}: keys that are no columns: {}; the schema has {}",
                unknown.len(),
                expected.join(", ")
            ),
            // Numbers, names of the schema and words of this program alone.
            Self::NotCompressed { path: _, format: _ }
            | Self::Compression { path: _, declared: _, found: _ }
            | Self::Empty { path: _ }
            | Self::Fields { line: _, expected: _, found: _ }
            | Self::Utf8 { line: _, column: _ }
            | Self::Null { line: _, column: _, declared: _, remedy: _ }
            | Self::TooLong { line: _, limit: _ }
            | Self::Repeated { line: _, column: _ }
            | Self::Row { line: _, source: _ }
            | Self::RowTooLarge { line: _, bytes: _ }
            | Self::DuplicateKey { column: _, line: _, first_line: _ } => self.to_string(),
        }
    }
}

/// How a header and a schema differ; column names of both sides.
#[derive(Debug)]
pub struct HeaderMismatch {
    /// Columns that the header lacks.
    pub missing: Vec<String>,
    /// Names that are no columns.
    pub unknown: Vec<String>,
    /// Names that occur again.
    pub repeated: Vec<String>,
    /// Columns of the schema.
    pub expected: Vec<String>,
    /// Names of the header.
    pub found: Vec<String>,
}

impl HeaderMismatch {
    /// As [`SourceError::for_status`]: fields of the header by their numbers, from 1.
    fn for_status(&self) -> String {
        let Self { missing, unknown: _, repeated: _, expected, found } = self;
        let same = |column: &str, name: &String| name.eq_ignore_ascii_case(column);
        let fields = found.iter().zip(1_usize..);
        let unknown = fields.filter(|(name, _)| !expected.iter().any(|column| same(column, name)));
        let unknown: Vec<String> = unknown.map(|(_, number)| number.to_string()).collect();
        let times = |column: &str| found.iter().filter(|name| same(column, name)).count();
        let repeated = expected.iter().filter(|column| times(column) > 1);
        let repeated: Vec<&str> = repeated.map(String::as_str).collect();
        let mut text = String::new();
        for (what, names) in [
            ("missing", missing.join(", ")),
            ("fields that are no columns", unknown.join(", ")),
            ("repeated", repeated.join(", ")),
        ] {
            if !names.is_empty() {
                text.push_str(&format!(" {what}: {names};"));
            }
        }
        text + &format!(" the schema has {}", expected.join(", "))
    }
}

impl fmt::Display for HeaderMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, unknown, repeated, expected, found } = self;
        for (what, names) in [("missing", missing), ("unknown", unknown), ("repeated", repeated)] {
            if !names.is_empty() {
                write!(f, " {what}: {};", names.join(", "))?;
            }
        }
        write!(f, " the schema has {}; the header has {}", expected.join(", "), found.join(", "))
    }
}
