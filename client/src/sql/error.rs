//! Why a statement was refused. Each text says what happened, then what to do.

use opaque_pir::table::ColumnType;
use thiserror::Error;

use super::limits::LOOKUPS_PER_STATEMENT;

/// Why a statement has no answer. The text may quote the user's own SQL, so it must stay on the
/// client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The text is too long to be parsed safely.
    #[error("the statement has {bytes} bytes, more than {limit}: send several statements")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not SQL.
    #[error("this is not a SELECT statement that can be read: {message}")]
    Syntax {
        /// The parser's message, with line and column.
        message: String,
    },
    /// The statement uses SQL outside the grammar.
    #[error("{what} is not supported: {instead}")]
    Unsupported {
        /// The construct, quoted.
        what: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// The statement reads a table other than the one described.
    #[error("the statement reads table {statement:?}, but table {described:?} was described")]
    OtherTable {
        /// The table in FROM.
        statement: String,
        /// The schema's table.
        described: String,
    },
    /// The column does not exist.
    #[error("no column is named {name:?}: {tables}; text is written in single quotes")]
    UnknownColumn {
        /// The name as written.
        name: String,
        /// The tables and their columns.
        tables: String,
    },
    /// SQLite, which computes the answer, refuses the statement.
    #[error("SQLite does not accept the statement: {message}")]
    Sqlite {
        /// SQLite's message.
        message: String,
    },
    /// The computation of the answer was stopped.
    #[error("the statement was stopped")]
    Stopped,
    /// The answer needs too much memory.
    #[error(
        "the answer is larger than {} MiB: add a LIMIT or a condition, or raise --scan-mib",
        bytes >> 20
    )]
    AnswerTooLarge {
        /// The limit in bytes.
        bytes: u64,
    },
    /// A column of the answer is binary.
    #[error("column {column:?} of the answer is a BLOB, which has no text: write hex({column})")]
    Blob {
        /// The column.
        column: String,
    },
    /// A parameter is used where its type is unknown.
    #[error(
        ":{name} is not compared with a column of a table, so its type is unknown: write \
         CAST(:{name} AS INTEGER), CAST(:{name} AS REAL) or CAST(:{name} AS TEXT), and write the \
         table's name before the column if there are several tables"
    )]
    UntypedParameter {
        /// The name without the colon.
        name: String,
    },
    /// The literal cannot be compared with the column's values.
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
    /// The operator does not apply to the column's type.
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
    /// A constant expression cannot be computed, such as the absolute value of the smallest
    /// integer.
    #[error("{expression} has no value: write a literal instead")]
    NoValue {
        /// The expression as written.
        expression: String,
    },
    /// A placeholder has no value.
    #[error("no value for :{name}: add --param {name}=VALUE")]
    MissingParameter {
        /// The name without the colon.
        name: String,
    },
    /// A value has no placeholder.
    #[error("parameter {name:?} is given but the statement has no :{name}: remove it, or use it")]
    UnusedParameter {
        /// The name without the colon.
        name: String,
    },
    /// The value of LIMIT or OFFSET is not a number.
    #[error("{clause} {text} is not a whole number: write {clause} 10")]
    Bound {
        /// LIMIT or OFFSET.
        clause: &'static str,
        /// The text as written.
        text: String,
    },
    /// The statement has no private plan.
    #[error("not answered privately: {0}")]
    NotPrivate(#[from] Refusal),
    /// The fetched pages do not hold every row that the answer needs.
    #[error(
        "{matches} rows match the lookup and the fetched pages hold {fetched} of them, too few for \
         an exact answer: {}", all_pages(*literals, *pages)
    )]
    MorePages {
        /// Number of rows with the values looked up.
        matches: u64,
        /// Number of rows fetched.
        fetched: u64,
        /// Number of pages that hold all rows.
        pages: u64,
        /// Number of lookups per page.
        literals: u64,
    },
    /// The fetched data does not match the plan.
    #[error("the fetched data does not match the plan; this is a bug in the caller")]
    Fetched,
}

/// Why a WHERE condition has no private plan.
///
/// Only lookups hide the literals, and a lookup finds the rows with one value of one searchable
/// column.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The condition mentions no searchable column.
    #[error(
        "a private lookup needs `=` or IN on a searchable column ({}), and WHERE {}; add \
         `AND {} = ...`, {PUBLIC}",
        searchable.join(", "), only_has(columns),
        searchable.first().map_or("column", String::as_str)
    )]
    NotSearchable {
        /// Columns in WHERE.
        columns: Vec<String>,
        /// The searchable columns.
        searchable: Vec<String>,
    },
    /// One of several tables has no condition that names it.
    #[error(
        "a statement that reads several tables needs `=` or IN on a searchable column of each: add \
         `AND {table}.{} = ...` to WHERE, with the table's name before the column, {PUBLIC}",
        searchable.first().map_or("column", String::as_str)
    )]
    Unqualified {
        /// The table's name in the statement.
        table: String,
        /// Its searchable columns.
        searchable: Vec<String>,
    },
    /// A column is only compared with a name in double quotes.
    #[error(
        "{text} names a column, because it is in double quotes, and a private lookup needs a \
         literal: if it is meant as text, write {}, {PUBLIC}",
        as_text(text)
    )]
    DoubleQuoted {
        /// The name as written.
        text: String,
    },
    /// The SELECT that reads a table has no WHERE, in a statement with several tables or
    /// subqueries.
    #[error(
        "a statement with several tables or subqueries needs `=` or IN on a searchable column of \
         each table: add `WHERE {} = ...` to the SELECT that reads {table}, {PUBLIC}",
        searchable.first().map_or("column", String::as_str)
    )]
    NoCondition {
        /// The table.
        table: String,
        /// Its searchable columns.
        searchable: Vec<String>,
    },
    /// The lookups of all tables exceed the limit.
    #[error(
        "its tables take {lookups} lookups together, and a statement may take \
         {LOOKUPS_PER_STATEMENT}; write fewer literals or a smaller --pages"
    )]
    TooManyTables {
        /// Number of lookups.
        lookups: u64,
    },
    /// The condition uses searchable columns only in comparisons that no lookup answers.
    #[error(
        "a private lookup finds {column} by `=` or IN (and counts by `<>` as the only condition), \
         which WHERE does not have; add `AND {column} = ...` or `AND {column} IN (...)`, {PUBLIC}"
    )]
    NoEquality {
        /// The column.
        column: String,
    },
    /// OR joins equalities of different columns.
    #[error(
        "a private lookup searches one column, and OR joins {}; send one statement for each side, \
         {PUBLIC}",
        columns.join(" and ")
    )]
    OrOfColumns {
        /// The columns.
        columns: Vec<String>,
    },
    /// OR joins an equality and a condition that no lookup answers.
    #[error(
        "every side of OR must have `=` or IN on the same searchable column, and not every side \
         has one on {column}; write such sides only, {PUBLIC}"
    )]
    OrWithOther {
        /// A searchable column that some side of OR searches.
        column: String,
    },
    /// The statement needs more lookups than the limit.
    #[error(
        "it takes {lookups} lookups ({literals} literals, {pages} pages of each), and a statement \
         may take {LOOKUPS_PER_STATEMENT}; write fewer literals, a smaller LIMIT and OFFSET or a \
         smaller --pages, {PUBLIC}"
    )]
    TooManyLookups {
        /// Number of lookups: literals times pages.
        lookups: u64,
        /// Number of literals in the condition.
        literals: u64,
        /// Number of pages per literal.
        pages: u64,
    },
}

const PUBLIC: &str = "or add --allow-public-scan to read the whole table publicly (the cluster \
                      then learns that you did, but no literal)";

/// How to get all matching rows, when each page takes one lookup for each of `literals`.
fn all_pages(literals: u64, pages: u64) -> String {
    let lookups = literals.saturating_mul(pages);
    if lookups <= LOOKUPS_PER_STATEMENT {
        return format!("run it again with --pages {pages}");
    }
    // Names both flags: without --pages, --allow-public-scan changes nothing for a statement that
    // has a private plan.
    format!(
        "all of them take {lookups} lookups, and a statement may take {LOOKUPS_PER_STATEMENT}; \
         write a LIMIT and no other condition, ORDER BY or DISTINCT, or add --pages {pages} --allow-public-scan \
         to read the whole table publicly (the cluster then learns that you did, but no literal)"
    )
}

fn only_has(columns: &[String]) -> String {
    match columns {
        [] => "compares none with a literal".to_owned(),
        columns => format!("only has {}", columns.join(", ")),
    }
}

/// Converts a name in double quotes to text in single quotes.
fn as_text(quoted: &str) -> String {
    let name = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    format!("'{}'", name.replace("\"\"", "\"").replace('\'', "''"))
}

/// The SQL name of a type.
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
