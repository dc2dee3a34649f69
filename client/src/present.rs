//! Answers as text.

mod csv;
mod json;
mod table;

use std::io::{self, Write};

use opaque_pir::table::format_timestamp;

use crate::sql::ResultSet;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns and a row count, for people; control characters are escaped.
    #[default]
    Table,
    /// Comma-separated with a header, quoted as in RFC 4180, lines ended by LF. NULL is what `--null`
    /// says, an empty field by default.
    Csv,
    /// One array of objects, SQL types kept.
    Json,
    /// One object per line, SQL types kept.
    Jsonl,
}

/// Writes an answer, a line break at its end included. `null` is NULL in CSV.
pub fn write(
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

/// Text that stays on its line and cannot steer a terminal: control characters, and those that
/// change the direction of text, are escaped.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let steers = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || steers {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
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
