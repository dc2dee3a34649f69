//! Parses `CREATE TABLE` into a [`Schema`].
//!
//! ```text
//! CREATE TABLE [IF NOT EXISTS] name (
//!     column TYPE [[CONSTRAINT name] [PRIMARY] KEY | INDEX | NOT NULL | NULL | FROM "header"] ...,
//!     [CONSTRAINT name] PRIMARY KEY (column),
//!     ...
//! ) [;]
//! ```
//!
//! KEY (or PRIMARY KEY) and INDEX make a column searchable. A column may be NULL unless it is a KEY
//! or declared NOT NULL. FROM is the name that a file has for the column. No SQL parser supports
//! KEY and INDEX as column options, so only the parser's tokenizer is used here.

mod constraint;
mod print;
mod tokens;

use opaque_pir::table::{Column, ColumnType, Role, Schema, SchemaError};
use opaque_source::{ColumnSource, Limit};
use sqlparser::tokenizer::Token;
use thiserror::Error;

use self::constraint::Constraint;
use self::tokens::Tokens;

/// What a schema file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The table.
    pub schema: Schema,
    /// Where a file has each column, and what values may be beyond its type.
    pub columns: Vec<ColumnSource>,
}

/// Why a schema file was refused. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DdlError {
    /// The grammar requires `expected`, but the file has something else.
    #[error("line {line}: expected {expected}, found {found}")]
    Expected {
        /// Line of the error.
        line: u64,
        /// What the grammar requires here.
        expected: &'static str,
        /// What the file has here, quoted.
        found: String,
    },
    /// The text cannot be split into SQL tokens, for instance because of an unclosed quote.
    #[error("line {line}: {message}")]
    Token {
        /// Line of the error.
        line: u64,
        /// The tokenizer's message.
        message: String,
    },
    /// The column's type does not exist.
    #[error(
        "line {line}: column {column:?} has the unknown type {found}: write INT, REAL, TEXT, JSON, BOOL or TIMESTAMP"
    )]
    Type {
        /// Line of the error.
        line: u64,
        /// The column.
        column: String,
        /// The type as written.
        found: String,
    },
    /// The column option does not exist or contradicts another one.
    #[error("line {line}: column {column:?} cannot be {found}: {instead}")]
    Option {
        /// Line of the error.
        line: u64,
        /// The column.
        column: String,
        /// The option as written.
        found: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// Two columns have the same name in the files.
    #[error(
        "line {line}: two columns are FROM {header:?}: a file's column becomes one of the table, and one without FROM has its own name"
    )]
    SameSource {
        /// Line of the second column.
        line: u64,
        /// The name in the file.
        header: String,
    },
    /// The constraint on the table is not supported.
    #[error("line {line}: a table cannot have {found}: {instead}")]
    Constraint {
        /// Line of the error.
        line: u64,
        /// The constraint as written.
        found: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// PRIMARY KEY names a column that is not declared.
    #[error("line {line}: PRIMARY KEY names column {column:?}, which the table does not have")]
    UnknownColumn {
        /// Line of the error.
        line: u64,
        /// The name as written.
        column: String,
    },
    /// The columns do not form a valid schema.
    #[error("line {line}: {source}")]
    Schema {
        /// Line of the column that is wrong, or of the table if no single column is.
        line: u64,
        /// The schema's error.
        source: SchemaError,
    },
}

/// Parses one `CREATE TABLE` statement.
///
/// # Errors
/// See [`DdlError`].
pub fn parse(text: &str) -> Result<Declaration, DdlError> {
    let mut tokens = Tokens::new(text)?;
    tokens.expect_word("CREATE", "CREATE TABLE name (...)")?;
    tokens.expect_word("TABLE", "TABLE")?;
    if tokens.take_word("IF") {
        tokens.expect_word("NOT", "NOT EXISTS")?;
        tokens.expect_word("EXISTS", "EXISTS")?;
    }
    let table_line = tokens.line();
    let table = tokens.name("the table's name")?;
    tokens.expect(&Token::LParen, "(")?;
    let (mut declared, mut lines, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let line = tokens.line();
        match constraint::read(&mut tokens)? {
            Some(Constraint::PrimaryKey { column }) => keys.push((line, column)),
            None => {
                lines.push(line);
                declared.push(column(&mut tokens)?);
            }
        }
        if !tokens.take(&Token::Comma) {
            break;
        }
    }
    tokens.expect(&Token::RParen, ", or )")?;
    while tokens.take(&Token::SemiColon) {}
    tokens.expect_end()?;
    // Runs after all columns are read, because a constraint may come before its column.
    for (line, key) in keys {
        mark_key(&mut declared, line, key)?;
    }
    let sources = declared.iter_mut().map(|column| std::mem::take(&mut column.source));
    let sources: Vec<ColumnSource> = sources.collect();
    let names = declared.iter().map(|column| column.name.as_str());
    if let Some(at) = ColumnSource::first_ambiguous(names, &sources) {
        let (line, source) = (lines.get(at).copied().unwrap_or(table_line), sources.get(at));
        let header = source.and_then(|source| source.from.clone()).unwrap_or_default();
        return Err(DdlError::SameSource { line, header });
    }
    let columns: Vec<_> = declared.into_iter().map(Declared::into_column).collect();
    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
    let schema = Schema::new(table, columns).map_err(|source| {
        // Searches from the end: if a name occurs twice, the second column is wrong.
        let position = at_fault(&source).and_then(|name| names.iter().rposition(|n| n == name));
        let line = position.and_then(|position| lines.get(position)).unwrap_or(&table_line);
        DdlError::Schema { line: *line, source }
    })?;
    Ok(Declaration { schema, columns: sources })
}

fn at_fault(error: &SchemaError) -> Option<&str> {
    match error {
        SchemaError::Name(name)
        | SchemaError::DuplicateColumn(name)
        | SchemaError::NullableKey(name) => Some(name),
        _ => None,
    }
}

/// A column as declared in the file.
struct Declared {
    name: String,
    column_type: ColumnType,
    role: Option<Role>,
    nullable: Option<bool>,
    source: ColumnSource,
}

impl Declared {
    fn into_column(self) -> Column {
        let Self { name, column_type, role, nullable, source: _ } = self;
        let role = role.unwrap_or(Role::Payload);
        let nullable = nullable.unwrap_or(role != Role::Key);
        Column { name, column_type, role, nullable }
    }
}

/// Gives the role KEY to the column that a separate line `PRIMARY KEY (column)` names.
fn mark_key(columns: &mut [Declared], line: u64, key: String) -> Result<(), DdlError> {
    let mut named = columns.iter_mut().filter(|column| column.name.eq_ignore_ascii_case(&key));
    let Some(column) = named.next() else {
        return Err(DdlError::UnknownColumn { line, column: key });
    };
    if column.role.replace(Role::Key).is_some() {
        let (column, found) = (column.name.clone(), "PRIMARY KEY too".to_owned());
        return Err(DdlError::Option { line, column, found, instead: ROLE_ONCE });
    }
    Ok(())
}

/// Hint for a column with two roles.
const ROLE_ONCE: &str = "write KEY or INDEX once";

fn column(tokens: &mut Tokens) -> Result<Declared, DdlError> {
    let name = tokens.name("a column's name")?;
    let (column_type, limit) = column_type(tokens, &name)?;
    let mut from = None;
    let mut role = None;
    let mut nullable = None;
    loop {
        let line = tokens.line();
        let refused = |found: &str, instead| DdlError::Option {
            line,
            column: name.clone(),
            found: found.to_owned(),
            instead,
        };
        if tokens.take_word("CONSTRAINT") {
            // The constraint's name has no effect, as in SQLite.
            tokens.name("the constraint's name")?;
        } else if tokens.take_word("PRIMARY") {
            tokens.expect_word("KEY", "KEY")?;
            if role.replace(Role::Key).is_some() {
                return Err(refused("PRIMARY KEY too", ROLE_ONCE));
            }
        } else if tokens.take_word("KEY") {
            if role.replace(Role::Key).is_some() {
                return Err(refused("KEY too", ROLE_ONCE));
            }
        } else if tokens.take_word("INDEX") {
            if role.replace(Role::Index).is_some() {
                return Err(refused("INDEX too", "a KEY is searchable already; write one of them"));
            }
        } else if tokens.take_word("FROM") {
            if from.replace(tokens.text("the name in the file, in quotes")?).is_some() {
                return Err(refused("FROM two columns of the file", "write FROM once"));
            }
        } else if tokens.take_word("NOT") {
            tokens.expect_word("NULL", "NULL")?;
            if nullable.replace(false) == Some(true) {
                return Err(refused("NULL and NOT NULL", "write one of them"));
            }
        } else if tokens.take_word("NULL") {
            if nullable.replace(true) == Some(false) {
                return Err(refused("NULL and NOT NULL", "write one of them"));
            }
        } else if let Some(option) = tokens.peek_word() {
            let instead = match option.to_ascii_uppercase().as_str() {
                "UNIQUE" => "write KEY, which is unique and searchable",
                "DEFAULT" => "no value is filled in; leave it out, or fill in the file",
                "CHECK" | "REFERENCES" => "no value is checked against others; leave it out",
                _ => "its options are KEY, INDEX, NOT NULL, NULL and FROM",
            };
            return Err(refused(option, instead));
        } else {
            break;
        }
    }
    let source = ColumnSource { from, limit };
    Ok(Declared { name, column_type, role, nullable, source })
}

/// The stored type, and the limit that the written one adds.
fn column_type(tokens: &mut Tokens, column: &str) -> Result<(ColumnType, Option<Limit>), DdlError> {
    let line = tokens.line();
    let written = tokens.name("a type")?;
    let upper = written.to_ascii_uppercase();
    let column_type = match upper.as_str() {
        "INT" | "INTEGER" | "BIGINT" | "SMALLINT" | "INT2" | "INT8" => ColumnType::Int,
        "REAL" | "FLOAT" | "FLOAT8" => ColumnType::Real,
        "DOUBLE" => {
            tokens.take_word("PRECISION");
            ColumnType::Real
        }
        "TEXT" | "STRING" | "VARCHAR" | "CHAR" | "CHARACTER" => {
            if upper == "CHARACTER" {
                tokens.take_word("VARYING");
            }
            ColumnType::Text
        }
        "JSON" | "JSONB" => ColumnType::Json,
        "BOOL" | "BOOLEAN" => ColumnType::Bool,
        "TIMESTAMP" | "TIMESTAMPTZ" | "DATETIME" => ColumnType::Timestamp,
        _ => {
            return Err(DdlError::Type { line, column: column.to_owned(), found: written });
        }
    };
    let mut limit = matches!(upper.as_str(), "SMALLINT" | "INT2").then_some(Limit::Bits16);
    // Numbers of other types, as in INT(11), say how a client shows them.
    if tokens.take(&Token::LParen) {
        let number = tokens.number()?;
        tokens.expect(&Token::RParen, ")")?;
        if column_type == ColumnType::Text {
            limit = Some(Limit::Characters(number));
        }
    }
    if column_type == ColumnType::Timestamp && upper == "TIMESTAMP" && tokens.take_word("WITH") {
        tokens.expect_word("TIME", "TIME ZONE")?;
        tokens.expect_word("ZONE", "ZONE")?;
    }
    Ok((column_type, limit))
}

#[cfg(test)]
mod tests;
