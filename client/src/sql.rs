//! SQL on the client: the meaning of a statement, the requests for it, and its answer.
//!
//! This module does no I/O. A statement goes through three steps:
//! 1. [`parse()`] converts text and `:parameters` to a [`Statement`] of the closed grammar, in a
//!    normal form that depends on no table. Anything else is refused, and nothing is sent for it.
//! 2. [`plan()`] decides what to fetch ([`Source`]). The decision depends only on the statement,
//!    the searchable columns and the row counts. It never depends on data or on anything else that
//!    a server states.
//! 3. [`Plan::finish`] resolves names to columns and literals to values of their column's type, and
//!    computes the answer from the fetched rows with SQLite's semantics. A statement that does not
//!    fit the table's columns fails only here, after everything has been sent.
//!
//! ```text
//! SELECT [DISTINCT] * | COUNT(*) | column [AS name], ... FROM table [WHERE condition]
//!     [ORDER BY column | name | position [ASC | DESC] [NULLS FIRST | LAST], ...]
//!     [LIMIT n] [OFFSET m]
//! ```

mod bind;
mod bounds;
mod error;
mod like;
mod meta;
mod normal;
mod parameters;
mod parse;
mod plan;
mod predicate;
mod result;
mod statement;

pub use bounds::LOOKUPS_PER_STATEMENT;
pub use error::{Refusal, SqlError};
pub use meta::{IndexMeta, Options, TableMeta};
pub use normal::Statement;
pub use parameters::Parameters;
pub use parse::parse;
pub use plan::{Plan, Source, plan};
pub use result::{Fetched, Found, Kept, OutputColumn, ResultSet};

#[cfg(test)]
mod tests;
