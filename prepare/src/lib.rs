//! One run of `opaque-prepare`: a source in, a published epoch out, and a report of it.
//!
//! **Flow.** [`config`] → `source` (bytes from a file, a web server or a bucket) → rows, checked
//! and encoded in memory → [`opaque_store::prepare`] → old epochs removed → `report` on a Lease, or
//! on standard error when the program is run by hand.
//!
//! **Guarantees.** A run publishes one whole epoch or none. It may be killed at any moment and run
//! again: what was half written is removed, and an epoch that was published just before its report
//! is found and reported, not made twice. Of two runs of one table at once the later wins, and the
//! other's epoch is given up.
//!
//! **Caveats.** All rows are in memory, encoded; the bound is [`config::Config::row_memory`].
//!
//! **Map.**
//! - [`config`]: the command line;
//! - `run`: one run, from its start to its report;
//! - `publish`: from a source to a published epoch;
//! - `source`: a file, a web server or a bucket as a stream of bytes;
//! - `failure`: why a run failed, and whose fault it is;
//! - `report`: progress and end, written to the Lease. The report's form is
//!   [`opaque_crds::table::report`].
#![forbid(unsafe_code)]

pub mod config;
mod failure;
mod publish;
mod report;
mod run;
mod source;

pub use run::{Outcome, run};
