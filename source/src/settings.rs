//! What a caller says of a file, and the words for it in errors.

use opaque_pir::table::{Column, Role};

use crate::tokens::Quotes;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What is NULL in a CSV file. JSON has its own `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Null {
    /// An empty field.
    Empty,
    /// A field with this text, as the caller's `--null` says.
    Text(String),
}

impl Null {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Text(text) => text,
        }
    }

    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Empty => "fill it in, or make the column nullable",
            Self::Text(_) => "fill it in, or name another text for NULL by --null",
        }
    }
}

/// How a CSV file is read. JSON lines have no such settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvSettings {
    /// What is NULL.
    pub null: Null,
    /// What becomes of quotes that are never closed, or that text follows.
    pub quotes: Quotes,
}

/// Why a column takes no NULL.
pub(crate) fn declared(column: &Column) -> &'static str {
    if column.role == Role::Key { "a KEY" } else { "NOT NULL" }
}
