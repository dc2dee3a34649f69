//! Answers as text.

use std::io::{self, Write};

use crate::sql::ResultSet;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns and a row count, for people.
    #[default]
    Table,
    /// RFC 4180 with a header; NULL is an empty field, empty text is `""`.
    Csv,
    /// An array of objects.
    Json,
    /// One object per line.
    Jsonl,
}

/// Writes an answer.
pub fn write(_answer: &ResultSet, _format: Format, _out: &mut impl Write) -> io::Result<()> {
    todo!()
}
