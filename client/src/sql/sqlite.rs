//! SQLite in memory, which computes answers from rows that the client holds.
//!
//! A connection holds only tables that [`Sqlite::fill`] makes. Before a statement runs, an
//! authorizer limits it to reading: no statement attaches a file, changes a setting or writes. Text
//! in double quotes is never a literal.
//!
//! | column | stored as | comparison |
//! |---|---|---|
//! | INT, REAL | the number | exact |
//! | TEXT, JSON | text | by bytes |
//! | BOOL | 0 or 1 | as a number |
//! | TIMESTAMP | RFC 3339 text in UTC with six digits of a fraction | by instant ([`INSTANT`]) |
//!
//! What is computed from a TIMESTAMP column, such as `MIN(at)`, is text without that collation.
//! Computed times have the right order among each other all the same, because all such texts have
//! the same length. In a comparison with a literal that is an RFC 3339 time they get the collation
//! (`plan::times`). Not covered, and compared as text: an RFC 3339 literal that becomes a value
//! itself, as in `coalesce(at, '2026-11-30T10:00:00Z')`, `nullif(at, '...')` or `CASE at WHEN`, and
//! a column that a common table expression renames in its own list of columns.

mod stored;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use opaque_pir::table::{Schema, Value};
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

pub(super) use self::stored::INSTANT;
use self::stored::{Stored, by_instant, declaration, declared, read};
use super::statement::{Literal, Place};
use super::{Bounds, OutputColumn, ResultSet, SqlError};

/// Steps of SQLite's machine between two looks at [`Bounds::stop`].
const STEPS: i32 = 10_000;
/// Maximum bytes of one text in an answer. A single call of a function cannot be stopped, and some
/// take quadratic time.
pub(super) const TEXT_BYTES: i32 = 1 << 20;

/// Name of the table with the rows of a reference.
pub(super) fn table_name(reference: usize) -> String {
    format!("opaque_{reference}")
}

/// A database in memory.
pub(super) struct Sqlite {
    connection: Connection,
    functions: HashSet<String>,
}

impl Sqlite {
    /// A database whose texts have at most `text_bytes`.
    pub(super) fn new(text_bytes: i32) -> Result<Self, SqlError> {
        Self::opened(text_bytes).map_err(|error| refused(&error))
    }

    fn opened(text_bytes: i32) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, text_bytes)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.create_collation(INSTANT, by_instant)?;
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA journal_mode = OFF")?;
        let mut functions: HashSet<String> = {
            let mut named = connection.prepare("SELECT name FROM pragma_function_list")?;
            let names = named.query_map([], |row| row.get(0))?;
            names.collect::<rusqlite::Result<_>>()?
        };
        functions.remove("load_extension");
        connection.authorizer(Some(only_reading))?;
        Ok(Self { connection, functions })
    }

    /// Whether a function of this name exists.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(&name.to_ascii_lowercase())
    }

    /// The value of an expression without columns. `texts` are its places.
    pub(super) fn constant(&self, expr: &str, texts: &[Place]) -> Option<Literal> {
        let texts = texts.iter().map(|place| match &place.literal {
            Literal::Bool(truth) => Stored(Value::Bool(*truth)),
            literal => Stored(Value::Text(match literal {
                Literal::Text(text) => text.clone(),
                other => other.to_string(),
            })),
        });
        let read = |row: &rusqlite::Row<'_>| {
            Ok(match row.get_ref(0)? {
                ValueRef::Null => Some(Literal::Null),
                ValueRef::Integer(number) => Some(Literal::Int(number)),
                ValueRef::Real(number) => Some(Literal::Real(number)),
                ValueRef::Text(text) => {
                    std::str::from_utf8(text).ok().map(|text| Literal::Text(text.to_owned()))
                }
                ValueRef::Blob(_) => None,
            })
        };
        let sql = format!("SELECT {expr}");
        self.connection.query_row(&sql, params_from_iter(texts), read).ok().flatten()
    }

    /// Checks a statement as far as its text alone shows what is wrong. For this, the first
    /// `tables` references have a column for each of `idents`. No server has stated any of these
    /// columns.
    pub(super) fn check(
        &mut self,
        sql: &str,
        tables: usize,
        idents: &BTreeSet<String>,
    ) -> Result<(), SqlError> {
        let columns: Vec<_> = idents.iter().map(|ident| quoted(ident)).collect();
        self.unrestricted(|connection| {
            (0..tables).try_for_each(|reference| {
                let (table, columns) = (table_name(reference), columns.join(", "));
                connection.execute_batch(&format!("CREATE TABLE {table} ({columns})"))
            })
        })?;
        match self.connection.prepare(sql) {
            Ok(_) => Ok(()),
            Err(error) => {
                const UNKNOWN: [&str; 3] =
                    ["no such table", "no such column", "ambiguous column name"];
                let message = message(&error);
                match UNKNOWN.iter().any(|unknown| message.starts_with(unknown)) {
                    true => Ok(()),
                    false => Err(refused(&error)),
                }
            }
        }
    }

    /// Makes the table of a reference. `rows` are in load order, each with its number in the whole
    /// table, from which SQLite's `rowid` follows.
    pub(super) fn fill<'r>(
        &mut self,
        reference: usize,
        schema: &Schema,
        rows: impl Iterator<Item = (u64, &'r [Value])>,
    ) -> Result<(), SqlError> {
        self.unrestricted(|connection| {
            let name = table_name(reference);
            let columns: Vec<_> = schema.columns().iter().map(declaration).collect();
            connection.execute_batch(&format!("CREATE TABLE {name} ({})", columns.join(", ")))?;
            let free = |name: &&str| schema.column(name).is_none();
            let number = ["rowid", "_rowid_", "oid"].into_iter().find(free);
            let names = schema.columns().iter().map(|column| quoted(&column.name));
            let names: Vec<_> = number.map(str::to_owned).into_iter().chain(names).collect();
            let marks = vec!["?"; names.len()].join(", ");
            let sql = format!("INSERT INTO {name} ({}) VALUES ({marks})", names.join(", "));
            let transaction = connection.transaction()?;
            let mut insert = transaction.prepare(&sql)?;
            for (row, cells) in rows {
                let row = i64::try_from(row).unwrap_or(i64::MAX).saturating_add(1);
                let row = number.map(|_| Stored(Value::Int(row)));
                let cells = cells.iter().cloned().map(Stored);
                insert.execute(params_from_iter(row.into_iter().chain(cells)))?;
            }
            drop(insert);
            transaction.commit()
        })
    }

    /// Does what no statement of a user may do.
    fn unrestricted(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), SqlError> {
        let no_limit = None::<fn(AuthContext<'_>) -> Authorization>;
        let done = self.connection.authorizer(no_limit).and_then(|()| work(&mut self.connection));
        let done = done.and_then(|()| self.connection.authorizer(Some(only_reading)));
        done.map_err(|error| refused(&error))
    }

    /// Runs a statement. `values` are those of its places, in order. A column of a compound
    /// statement has a type only if it has it in each of the `arms`, the SELECTs that UNION and the
    /// like combine.
    pub(super) fn answer(
        &mut self,
        sql: &str,
        arms: &[String],
        values: Vec<Value>,
        bounds: &Bounds,
    ) -> Result<ResultSet, SqlError> {
        let stop = Arc::clone(&bounds.stop);
        self.connection
            .progress_handler(STEPS, Some(move || stop.load(Relaxed)))
            .map_err(|error| refused(&error))?;
        let mut statement = self.connection.prepare(sql).map_err(|error| refused(&error))?;
        let mut columns = columns(&statement);
        for arm in arms {
            let arm = self.connection.prepare(arm).map_err(|error| refused(&error))?;
            for (column, other) in columns.iter_mut().zip(self::columns(&arm)) {
                column.column_type = column.column_type.filter(|t| other.column_type == Some(*t));
            }
        }
        let used = statement.parameter_count();
        let values = values.into_iter().take(used).map(Stored);
        let mut found =
            statement.query(params_from_iter(values)).map_err(|error| refused(&error))?;
        let (mut rows, mut left) = (Vec::new(), bounds.bytes);
        while let Some(row) = found.next().map_err(|error| refused(&error))? {
            let mut cells = Vec::with_capacity(columns.len());
            for (position, column) in columns.iter().enumerate() {
                let cell = row.get_ref(position).map_err(|error| refused(&error))?;
                let bytes = cell.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
                left = left
                    .checked_sub((bytes + size_of::<Value>()) as u64)
                    .ok_or(SqlError::AnswerTooLarge { bytes: bounds.bytes })?;
                cells.push(read(cell, column)?);
            }
            rows.push(cells);
        }
        Ok(ResultSet { columns, rows })
    }
}

fn columns(statement: &rusqlite::Statement<'_>) -> Vec<OutputColumn> {
    let column = |column: rusqlite::Column<'_>| OutputColumn {
        name: column.name().to_owned(),
        column_type: column.decl_type().and_then(declared),
    };
    statement.columns().map(column).collect()
}

/// Lets a statement read tables and call functions, and nothing else.
fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message))
        | rusqlite::Error::SqlInputError { msg: message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn refused(error: &rusqlite::Error) -> SqlError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
        return SqlError::Stopped;
    }
    SqlError::Sqlite { message: message(error) }
}
