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
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(answer.columns.iter().map(|column| Cell::new(escaped(&column.name))));
    for row in &answer.rows {
        let cells = row.iter().zip(&answer.columns);
        table.add_row(cells.map(|(value, column)| {
            let right = matches!(column.column_type, ColumnType::Int | ColumnType::Real);
            let side = if right { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(shown(value)).set_alignment(side)
        }));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    let rows = answer.rows.len();
    writeln!(out, "({rows} {})", if rows == 1 { "row" } else { "rows" })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => real(*number),
        Value::Text(text) | Value::Json(text) => escaped(text),
        Value::Bool(truth) => truth.to_string(),
        Value::Timestamp(micros) => instant(*micros),
    }
}
