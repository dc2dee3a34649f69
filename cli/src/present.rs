//! Formats answers as text.

mod csv;
mod json;
mod table;
mod vertical;

use std::io::{self, Write};

use opaque_client::sql::ResultSet;
use opaque_pir::table::format_timestamp;

/// Output format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns and a row count, for people; control characters are escaped.
    #[default]
    Table,
    /// Comma-separated with a header, quoted as in RFC 4180, lines end with LF. NULL is written as
    /// the text of `--null`, by default an empty field.
    Csv,
    /// One array of objects; SQL types are preserved.
    Json,
    /// One object per line; SQL types are preserved.
    Jsonl,
    /// One line per value, for people and wide rows; control characters are escaped.
    Vertical,
}

/// Writes an answer, including a final line break. `null` is the text for NULL in CSV.
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
        Format::Vertical => vertical::write(answer, out),
    }
}

/// The columns of a terminal that [`Format::Table`] fills with an answer.
#[cfg(feature = "shell")]
pub(crate) fn table_width(answer: &ResultSet) -> usize {
    table::width(answer)
}

/// Formats a timestamp in RFC 3339, with as many fractional digits as needed.
fn instant(micros: i64) -> String {
    // Every stored timestamp was parsed from text, so it is in range.
    format_timestamp(micros).unwrap_or_else(|| micros.to_string())
}

/// Formats a REAL as the shortest text that parses to the same number; infinity is `inf`.
fn real(number: f64) -> String {
    format!("{number:?}")
}

#[cfg(test)]
mod tests;
