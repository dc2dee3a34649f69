//! Table output, for people.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};
use opaque_client::{sql::ResultSet, terminal::escaped};
use opaque_pir::table::{ColumnType, Value};

use super::{instant, real};

/// The style of psql: ` a | b `, a rule under the header, no frame.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

pub(super) fn write(answer: &ResultSet, out: &mut impl Write) -> io::Result<()> {
    for line in drawn(answer).lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    let rows = answer.rows.len();
    writeln!(out, "({rows} {})", if rows == 1 { "row" } else { "rows" })
}

/// The columns of a terminal that the table fills: the length of its rule, which is ASCII.
#[cfg(feature = "shell")]
pub(super) fn width(answer: &ResultSet) -> usize {
    drawn(answer).lines().nth(1).map_or(0, |rule| rule.len())
}

fn drawn(answer: &ResultSet) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(answer.columns.iter().map(|column| Cell::new(escaped(&column.name))));
    let sides: Vec<_> = (0..answer.columns.len()).map(|column| side(answer, column)).collect();
    for row in &answer.rows {
        let cells = row.iter().zip(&sides);
        table.add_row(cells.map(|(value, side)| Cell::new(shown(value)).set_alignment(*side)));
    }
    table
}

/// Numbers are aligned to the right. A computed column has them if all its values are numbers.
fn side(answer: &ResultSet, column: usize) -> CellAlignment {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Real(_));
    let is_numeric = match answer.columns.get(column).and_then(|column| column.column_type) {
        Some(column_type) => matches!(column_type, ColumnType::Int | ColumnType::Real),
        None => answer.rows.iter().all(|row| row.get(column).is_some_and(is_number)),
    };
    if is_numeric { CellAlignment::Right } else { CellAlignment::Left }
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => real(*number),
        Value::Text(text) | Value::Json(text) => escaped(text),
        Value::Bool(truth) => truth.to_string(),
        Value::Timestamp(micros) => instant(*micros),
    }
}
