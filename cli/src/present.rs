//! Answers as text.

mod csv;
mod json;
mod table;

use std::io::{self, Write};

use opaque_client::sql::ResultSet;
use opaque_pir::table::format_timestamp;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns and a row count, for people; control characters are escaped.
    #[default]
    Table,
    /// Comma-separated with a header, quoted as in RFC 4180, lines ended by LF. NULL is what
    /// `--null` says, an empty field by default.
    Csv,
    /// One array of objects, SQL types kept.
    Json,
    /// One object per line, SQL types kept.
    Jsonl,
}

/// Writes an answer, a line break at its end included. `null` is NULL in CSV.
pub(crate) fn write(
    answer: &ResultSet,
    format: Format,
    null: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Table => table::write(answer, out),
        Format::Csv => csv::write(answer, null, out),
        Format::Json => json::write(answer, out),
        Format::Jsonl => json::write_lines(answer, out),
    }
}

/// An instant in RFC 3339, with as many digits of its second as it has.
fn instant(micros: i64) -> String {
    // Only instants that were read from text are ever stored, and those are in range.
    format_timestamp(micros).unwrap_or_else(|| micros.to_string())
}

/// A REAL as the shortest text that reads back as the same number; `inf` where it is infinite.
fn real(number: f64) -> String {
    format!("{number:?}")
}

#[cfg(test)]
mod tests;
