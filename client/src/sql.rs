//! SQL on the client: the meaning of a statement, the requests for it, and its answer.
//!
//! This module does no I/O. A statement goes through three steps:
//! 1. [`parse()`] reads text and `:parameters` to a [`Statement`]: a tree, the tables that it reads,
//!    and what WHERE says about the rows of each. What the text shows to be wrong is refused, and
//!    nothing is sent for it.
//! 2. [`plan()`] decides what to fetch for each table ([`Source`]). The decision depends only on the
//!    statement, the searchable columns and the row counts. It never depends on data or on anything
//!    else that a server states.
//! 3. [`Plan::finish`] puts the fetched rows into a SQLite database in memory and runs the text of the
//!    tree there. A statement that does not fit the table's columns fails only here, after everything
//!    has been sent.
//!
//! The language is SQLite's SELECT: functions, aggregates, GROUP BY, window functions, CASE, LIKE,
//! GLOB, joins, subqueries, common table expressions, UNION. Each table that a statement reads is
//! planned separately, and a statement is private only if every one of its tables is.

mod error;
mod limits;
mod meta;
mod parameters;
mod parse;
mod plan;
mod result;
mod split;
mod sqlite;
mod statement;
mod typed;

pub use error::{Refusal, SqlError};
pub use limits::LOOKUPS_PER_STATEMENT;
pub use meta::{IndexMeta, Options, TableMeta};
pub use parameters::Parameters;
pub use parse::parse;
pub use plan::{Plan, Source, plan};
pub use result::{Bounds, Fetched, Found, OutputColumn, ResultSet};
pub use split::{Part, split};
use sqlite::table_name;
pub use statement::Statement;

#[cfg(test)]
mod tests;
