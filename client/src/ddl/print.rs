//! Prints a declaration as the text of a schema file.

use opaque_pir::table::{ColumnType, Role};
use opaque_source::{ColumnSource, Limit};

use super::Declaration;

/// Names that the parser takes for the beginning of a constraint.
const CONSTRAINTS: [&str; 7] =
    ["check", "constraint", "foreign", "index", "key", "primary", "unique"];

impl Declaration {
    /// The text of a schema file that declares the same. `comment` is written after the column at a
    /// position.
    pub fn to_sql(&self, comment: impl Fn(usize) -> Option<String>) -> String {
        let mut text = format!("CREATE TABLE {} (\n", name(self.schema.table()));
        let last = self.schema.columns().len().saturating_sub(1);
        for (at, column) in self.schema.columns().iter().enumerate() {
            let none = ColumnSource::default();
            let ColumnSource { from, limit } = self.columns.get(at).unwrap_or(&none);
            text +=
                &format!("    {} {}", name(&column.name), type_name(column.column_type, *limit));
            text += match column.role {
                Role::Key => " KEY",
                Role::Index => " INDEX",
                Role::Payload => "",
            };
            if !column.nullable && column.role != Role::Key {
                text += " NOT NULL";
            }
            if let Some(from) = from {
                text += &format!(" FROM {}", quoted(from));
            }
            text += if at == last { "" } else { "," };
            if let Some(comment) = comment(at) {
                // A line break would end the comment.
                text += &format!(" -- {}", comment.replace(['\n', '\r'], " "));
            }
            text.push('\n');
        }
        text + ");\n"
    }
}

/// A name as SQL has it, in quotes only where the parser needs them.
fn name(name: &str) -> String {
    if CONSTRAINTS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
        quoted(name)
    } else {
        name.to_owned()
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn type_name(column_type: ColumnType, limit: Option<Limit>) -> String {
    let name = match (column_type, limit) {
        (ColumnType::Text, Some(Limit::Characters(most))) => return format!("VARCHAR({most})"),
        (ColumnType::Int, Some(Limit::Bits16)) => "SMALLINT",
        (ColumnType::Int, _) => "INT",
        (ColumnType::Real, _) => "REAL",
        (ColumnType::Text, _) => "TEXT",
        (ColumnType::Json, _) => "JSON",
        (ColumnType::Bool, _) => "BOOL",
        (ColumnType::Timestamp, _) => "TIMESTAMP",
    };
    name.to_owned()
}
