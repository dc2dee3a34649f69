//! SQL, seen from the client: what a statement means, what is sent for it, and what the answer is.
//!
//! Nothing here does I/O. A statement goes through three steps:
//! 1. [`parse()`]: text and `:parameters` to a [`Statement`] of the closed grammar, in a normal form
//!    that no table is needed for; everything else is refused, and nothing was sent for it;
//! 2. [`plan()`]: what to fetch ([`Source`]). It is decided from the statement, the searchable columns
//!    and numbers of rows alone, never from data, and from nothing else that a server states;
//! 3. [`Plan::finish`]: names to columns and literals to values of their column's type, then the rows
//!    that were fetched to the answer, with SQLite's semantics. What does not fit the table's columns
//!    is an error only here, when everything has been sent.
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
pub use plan::{Kept, Plan, Source, plan};
pub use result::{Fetched, Found, OutputColumn, ResultSet};

#[cfg(test)]
mod tests;
