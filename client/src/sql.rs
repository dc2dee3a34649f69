//! SQL, seen from the client: what a statement means, what is sent for it, and what the answer is.
//!
//! Nothing here does I/O. A statement goes through four steps, one file each:
//! 1. [`parse`]: text to a [`Statement`] of the closed grammar; everything else is refused;
//! 2. binding: names to columns, literals and `:parameters` to values of their column's type;
//! 3. [`plan`]: what to fetch ([`Source`]), decided from the statement and from public metadata
//!    alone, never from data;
//! 4. [`Plan::finish`]: the rows that were fetched to the answer, with SQLite's semantics.
//!
//! ```text
//! SELECT [DISTINCT] * | COUNT(*) | column [AS name], ... FROM table [WHERE condition]
//!     [ORDER BY column | name | position [ASC | DESC] [NULLS FIRST | LAST], ...]
//!     [LIMIT n] [OFFSET m]
//! ```

mod bind;
mod error;
mod like;
mod meta;
mod parameters;
mod parse;
mod plan;
mod predicate;
mod result;
mod statement;

pub use error::{Refusal, SqlError};
pub use meta::{IndexMeta, Options, TableMeta};
pub use parameters::Parameters;
pub use parse::parse;
pub use plan::{MAX_LOOKUPS, Plan, Source, plan};
pub use result::{Fetched, Found, OutputColumn, ResultSet};
pub use statement::Statement;

#[cfg(test)]
mod tests;
