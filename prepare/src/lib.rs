//! One run of `opaque-prepare`: reads a source, publishes an epoch, and reports it.
//!
//! **Flow.** [`config`] → [`opaque_fetch`] (bytes from a file, a web server or a bucket) → rows, checked
//! and encoded in memory → [`opaque_store::prepare`] → old epochs removed → `report` on a Lease, or
//! on standard error when the program is run by hand.
//!
//! **Guarantees.** A run publishes one whole epoch or none. It may be killed at any moment and run
//! again: half-written objects are removed. If an epoch was published but not yet reported, the
//! next attempt finds and reports it, and builds no second one. If two runs of one table overlap,
//! the later one wins, and the epoch of the other is given up.
//!
//! **Limits.** All rows are in memory, encoded. [`config::Config::row_memory`] bounds them.
//!
//! **Map.**
//! - [`config`]: the command line;
//! - `run`: one run, from its start to its report;
//! - `publish`: from a source to a published epoch;
//! - `failure`: why a run failed, and who can fix it;
//! - `report`: progress and result, written to the Lease. The report's format is
//!   [`opaque_crds::table::report`].
#![forbid(unsafe_code)]

pub mod config;
mod failure;
mod publish;
mod report;
mod run;

pub use run::{Outcome, run};
