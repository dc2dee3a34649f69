//! What commands list, for people and for programs.

use std::io::{self, Write};

use opaque_client::sql::{OutputColumn, ResultSet};
use opaque_pir::table::Value;

use crate::{
    present::{self, Format},
    text::columns,
};

/// Rows with one cell for each column.
pub(crate) struct Listing {
    /// Each column's name, and its heading for people. Numbers are aligned to the right.
    pub(crate) columns: &'static [(&'static str, &'static str, Side)],
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// The side to which a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// One cell.
pub(crate) struct Cell {
    value: Value,
    shown: String,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let shown = text.into();
        Self { value: Value::Text(shown.clone()), shown }
    }

    /// A number, and its form for people.
    pub(crate) fn number(number: u64, shown: impl Into<String>) -> Self {
        Self { value: Value::Int(i64::try_from(number).unwrap_or(i64::MAX)), shown: shown.into() }
    }

    /// A truth value, and the word for people if it is true.
    pub(crate) fn truth(truth: bool, shown: &str) -> Self {
        let shown = if truth { shown.to_owned() } else { String::new() };
        Self { value: Value::Bool(truth), shown }
    }

    /// A JSON document, and its form for people.
    pub(crate) fn json(document: String, shown: impl Into<String>) -> Self {
        Self { value: Value::Json(document), shown: shown.into() }
    }

    pub(crate) fn none() -> Self {
        Self { value: Value::Null, shown: String::new() }
    }
}

impl Listing {
    /// Writes the rows: for people with headings, for programs with names and plain values.
    pub(crate) fn write(self, format: Format, out: &mut impl Write) -> io::Result<()> {
        let Self { columns: named, rows } = self;
        if format == Format::Table {
            let headings: Vec<_> = named.iter().map(|(_, heading, _)| *heading).collect();
            let right = named.iter().zip(0..).filter(|((.., side), _)| *side == Side::Right);
            let right: Vec<usize> = right.map(|(_, position)| position).collect();
            let shown = |row: Vec<Cell>| row.into_iter().map(|cell| cell.shown).collect();
            return columns(out, &headings, &right, rows.into_iter().map(shown));
        }
        let column = |(name, ..): &(&str, &str, Side)| OutputColumn {
            name: (*name).to_owned(),
            column_type: None,
        };
        let answer = ResultSet {
            columns: named.iter().map(column).collect(),
            rows: rows
                .into_iter()
                .map(|row| row.into_iter().map(|cell| cell.value).collect())
                .collect(),
        };
        present::write(&answer, format, "", out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[(&str, &str, Side)] =
        &[("table", "TABLE", Side::Left), ("rows", "ROWS", Side::Right), ("on", "ON", Side::Left)];

    fn written(format: Format) -> String {
        let rows = vec![
            vec![Cell::text("cities"), Cell::number(153_800, "153,800"), Cell::truth(true, "yes")],
            vec![Cell::text("x"), Cell::none(), Cell::truth(false, "yes")],
        ];
        let mut out = Vec::new();
        Listing { columns: COLUMNS, rows }.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_and_programs_see_the_same_rows() {
        let lines = written(Format::Table);
        assert!(lines.starts_with("TABLE"), "{lines}");
        assert!(lines.contains("153,800") && lines.contains("yes"), "{lines}");
        assert_eq!(
            written(Format::Jsonl),
            "{\"table\":\"cities\",\"rows\":153800,\"on\":true}\n\
             {\"table\":\"x\",\"rows\":null,\"on\":false}\n"
        );
        assert_eq!(written(Format::Csv), "table,rows,on\ncities,153800,true\nx,,false\n");
    }
}
