//! The caller's settings for a file, and the words for them in errors.

use opaque_pir::table::{Column, Role};

use crate::tokens::Quotes;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    Jsonl,
}

/// Which CSV fields are NULL. JSON has its own `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Null {
    /// An empty field.
    Empty,
    /// A field with this text, which the caller's `--null` sets.
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

/// Settings for CSV files. JSON lines have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvSettings {
    /// Which fields are NULL.
    pub null: Null,
    /// How to treat quotes that are never closed or that are followed by text.
    pub quotes: Quotes,
}

/// Why a column does not allow NULL.
pub(crate) fn declared(column: &Column) -> &'static str {
    if column.role == Role::Key { "a KEY" } else { "NOT NULL" }
}
