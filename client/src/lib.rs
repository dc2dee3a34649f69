//! Client library of Opaque: the only holder of secrets.
//!
//! Map: [`sql`] says what to fetch and what the answer is, [`present`] writes answers, [`ddl`] and
//! [`csv_source`] read what is loaded.

pub mod csv_source;
pub mod ddl;
pub mod present;
pub mod sql;
