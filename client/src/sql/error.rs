//! Why a statement was refused: what happened, then what to do.

use opaque_pir::table::ColumnType;
use thiserror::Error;

use super::bounds::LOOKUPS_PER_STATEMENT;

/// Why a statement has no answer. The text may quote the user's own SQL: it stays on the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The text is too long to be parsed safely.
    #[error("the statement has {bytes} bytes, more than {limit}: send several statements")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The text is not SQL.
    #[error("this is not a SELECT statement that can be read: {message}")]
    Syntax {
        /// The parser's words, with line and column.
        message: String,
    },
    /// SQL outside the grammar.
    #[error("{what} is not supported: {instead}")]
    Unsupported {
        /// The construct, quoted.
        what: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// The statement reads another table than the one described.
    #[error("the statement reads table {statement:?}, but table {described:?} was described")]
    OtherTable {
        /// The table in FROM.
        statement: String,
        /// The schema's table.
        described: String,
    },
    /// No such column.
    #[error("table {table:?} has no column {name:?}: its columns are {}", columns.join(", "))]
    UnknownColumn {
        /// As written.
        name: String,
        /// The table.
        table: String,
        /// Its columns.
        columns: Vec<String>,
    },
    /// A comparison or similar that does not compare a column with a literal.
    #[error(
        "{text} does not compare a column with a literal: write `column = 'value'` or the like"
    )]
    NoColumn {
        /// The condition, quoted.
        text: String,
    },
    /// Double quotes where a literal must be.
    #[error(
        "{text} names a column, as all in double quotes does, and two columns cannot be compared: if it is meant \
         as text, write {}",
        as_text(text)
    )]
    DoubleQuoted {
        /// As written.
        text: String,
    },
    /// A literal that no value of the column can be compared with.
    #[error("column {column:?} is {} and cannot be compared with {literal}: write {write}", type_name(*column_type))]
    Literal {
        /// The column.
        column: String,
        /// Its type.
        column_type: ColumnType,
        /// The literal, quoted.
        literal: String,
        /// What to write.
        write: &'static str,
    },
    /// An operator that the column's type does not have.
    #[error("column {column:?} is {}, which {operator} does not apply to: {instead}", type_name(*column_type))]
    Operator {
        /// The column.
        column: String,
        /// Its type.
        column_type: ColumnType,
        /// The operator.
        operator: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// A placeholder without a value.
    #[error("no value for :{name}: add --param {name}=VALUE")]
    MissingParameter {
        /// Without the colon.
        name: String,
    },
    /// A value without a placeholder.
    #[error("parameter {name:?} is given but the statement has no :{name}: remove it, or use it")]
    UnusedParameter {
        /// Without the colon.
        name: String,
    },
    /// LIMIT or OFFSET is no number.
    #[error("{clause} {text} is not a whole number: write {clause} 10")]
    Bound {
        /// LIMIT or OFFSET.
        clause: &'static str,
        /// As written.
        text: String,
    },
    /// ORDER BY a position that does not exist.
    #[error("ORDER BY {position}: the statement has {columns} output columns, counted from 1")]
    Position {
        /// As written.
        position: String,
        /// Columns of the output.
        columns: usize,
    },
    /// No private plan exists.
    #[error("not answered privately: {0}")]
    NotPrivate(#[from] Refusal),
    /// The fetched pages do not hold every row that the answer needs.
    #[error(
        "{matches} rows match the lookup and the fetched pages hold {fetched} of them, too few for \
         an exact answer: {}", all_pages(*literals, *pages)
    )]
    MorePages {
        /// Rows with the values looked up.
        matches: u64,
        /// Rows fetched.
        fetched: u64,
        /// Pages that hold all.
        pages: u64,
        /// Lookups of each page.
        literals: u64,
    },
    /// What was fetched is not what the plan asked for.
    #[error("the fetched data is not what the plan asked for; this is a bug in the caller")]
    Fetched,
}

/// Why a WHERE has no private plan.
///
/// Only lookups hide what is asked for, and a lookup finds the rows with one value of one
/// searchable column.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No searchable column is mentioned.
    #[error(
        "a private lookup needs `=` or IN on a searchable column ({}), and WHERE only has {}; add \
         `AND {} = ...`, {PUBLIC}",
        searchable.join(", "), columns.join(", "),
        searchable.first().map_or("column", String::as_str)
    )]
    NotSearchable {
        /// Columns in WHERE.
        columns: Vec<String>,
        /// Columns that can be searched.
        searchable: Vec<String>,
    },
    /// A searchable column is only compared in ways that no lookup answers.
    #[error(
        "a private lookup finds {column} by `=` or IN (and counts by `<>` alone), which WHERE does \
         not ask for; add `AND {column} = ...` or `AND {column} IN (...)`, {PUBLIC}"
    )]
    NoEquality {
        /// The column.
        column: String,
    },
    /// An OR between equalities of different columns.
    #[error(
        "a private lookup searches one column, and OR joins {}; send one statement for each side, \
         {PUBLIC}",
        columns.join(" and ")
    )]
    OrOfColumns {
        /// The columns.
        columns: Vec<String>,
    },
    /// An OR between an equality and a condition that no lookup answers.
    #[error(
        "every side of OR must have `=` or IN on the same searchable column, and not every side \
         has one on {column}; write such sides only, {PUBLIC}"
    )]
    OrWithOther {
        /// A searchable column that some side searches.
        column: String,
    },
    /// More lookups than one statement may take.
    #[error(
        "it takes {lookups} lookups ({literals} literals, {pages} pages of each), and a statement \
         may take {LOOKUPS_PER_STATEMENT}; write fewer literals, a smaller LIMIT and OFFSET or a \
         smaller --pages, {PUBLIC}"
    )]
    TooManyLookups {
        /// Literals times pages.
        lookups: u64,
        /// Literals of the condition.
        literals: u64,
        /// Pages of each.
        pages: u64,
    },
}

const PUBLIC: &str = "or add --allow-public-scan to read the whole table publicly (the cluster \
                      then learns that you did, but no literal)";

/// How to get all rows that match, where one lookup of each of `literals` brings a page.
fn all_pages(literals: u64, pages: u64) -> String {
    let lookups = literals.saturating_mul(pages);
    if lookups <= LOOKUPS_PER_STATEMENT {
        return format!("run it again with --pages {pages}");
    }
    // Both flags: alone, the leave for a public scan changes nothing for what has a private plan.
    format!(
        "all of them take {lookups} lookups, and a statement may take {LOOKUPS_PER_STATEMENT}; \
         write a LIMIT and no other condition, ORDER BY or DISTINCT, or add --pages {pages} --allow-public-scan \
         to read the whole table publicly (the cluster then learns that you did, but no literal)"
    )
}

/// A name in double quotes, as text in single quotes.
fn as_text(quoted: &str) -> String {
    let name = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    format!("'{}'", name.replace("\"\"", "\"").replace('\'', "''"))
}

/// A type's name in SQL.
pub(crate) fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Int => "INT",
        ColumnType::Real => "REAL",
        ColumnType::Text => "TEXT",
        ColumnType::Json => "JSON",
        ColumnType::Bool => "BOOL",
        ColumnType::Timestamp => "TIMESTAMP",
    }
}
