//! CSV output, for spreadsheets and `opaque load`.
//!
//! If the output is loaded with the same `--null`, the rows equal those of the answer, except that
//! text equal to the marker becomes NULL. With the default marker, an empty field, empty text is
//! written as `""`, which `opaque load` distinguishes from NULL. The exception are answers of one
//! column, because an empty line is not a record: there, NULL is written as `""` too.

use std::borrow::Cow;
use std::io::{self, Write};

use opaque_client::sql::ResultSet;
use opaque_pir::table::Value;

use super::{instant, real};

pub(super) fn write(answer: &ResultSet, null: &str, out: &mut impl Write) -> io::Result<()> {
    record(answer.columns.iter().map(|column| quoted(&column.name)), out)?;
    // A line with a single empty field would be a blank line, and readers skip blank lines.
    let null = if null.is_empty() && answer.columns.len() > 1 { "".into() } else { quoted(null) };
    for row in &answer.rows {
        record(row.iter().map(|value| field(value, &null)), out)?;
    }
    Ok(())
}

fn record<'a>(fields: impl Iterator<Item = Cow<'a, str>>, out: &mut impl Write) -> io::Result<()> {
    for (position, field) in fields.enumerate() {
        let separator = if position == 0 { "" } else { "," };
        write!(out, "{separator}{field}")?;
    }
    writeln!(out)
}

fn field<'a>(value: &'a Value, null: &'a str) -> Cow<'a, str> {
    match value {
        Value::Null => null.into(),
        Value::Int(number) => number.to_string().into(),
        Value::Real(number) => real(*number).into(),
        Value::Text(text) | Value::Json(text) => quoted(text),
        Value::Bool(truth) => truth.to_string().into(),
        Value::Timestamp(micros) => instant(*micros).into(),
    }
}

/// Text, in quotes if it would otherwise be misread. Empty text is quoted; NULL is not.
fn quoted(text: &str) -> Cow<'_, str> {
    // `opaque load` asks whether a leading `'` is a quote, and a leading `#` a comment.
    if text.is_empty() || text.starts_with(['\'', '#']) || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
