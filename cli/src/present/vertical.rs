//! One line per value, for rows that are wider than a terminal.

use std::io::{self, Write};

use comfy_table::{Cell, ContentLineStyle, Table, TableStyle};
use opaque_client::{sql::ResultSet, terminal::escaped};

use super::table::shown;

/// The style of psql: `name | value`.
const STYLE: TableStyle = TableStyle::new().content_lines(ContentLineStyle::none().junction('|'));

/// Length of the line that begins a record.
const RULE: usize = 40;

pub(super) fn write(answer: &ResultSet, out: &mut impl Write) -> io::Result<()> {
    if answer.rows.is_empty() {
        return writeln!(out, "(0 rows)");
    }
    let mut table = Table::new();
    table.load_style(STYLE);
    let names: Vec<String> = answer.columns.iter().map(|column| escaped(&column.name)).collect();
    for row in &answer.rows {
        let lines = names.iter().zip(row);
        table.add_rows(lines.map(|(name, value)| [Cell::new(name), Cell::new(shown(value))]));
    }
    if let Some(names) = table.column_mut(0) {
        names.set_padding((0, 1));
    }
    // Names and values have no line breaks, so every value is one line of the table.
    for (position, line) in table.lines().enumerate() {
        if position % names.len().max(1) == 0 {
            let record = position / names.len().max(1) + 1;
            writeln!(out, "{:-<RULE$}", format!("-[ RECORD {record} ]"))?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
