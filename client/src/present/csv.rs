//! For spreadsheets and `opaque load`.

use std::borrow::Cow;
use std::io::{self, Write};

use opaque_pir::table::Value;

use super::{instant, real};
use crate::sql::ResultSet;

pub(super) fn write(answer: &ResultSet, out: &mut impl Write) -> io::Result<()> {
    record(answer.columns.iter().map(|column| quoted(&column.name)), out)?;
    for row in &answer.rows {
        record(row.iter().map(field), out)?;
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

fn field(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::Int(number) => number.to_string().into(),
        Value::Real(number) => real(*number).into(),
        Value::Text(text) | Value::Json(text) => quoted(text),
        Value::Bool(truth) => truth.to_string().into(),
        Value::Timestamp(micros) => instant(*micros).into(),
    }
}

/// Text, in quotes where it would read as something else. Empty text is quoted: NULL is not.
fn quoted(text: &str) -> Cow<'_, str> {
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
