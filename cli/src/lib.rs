//! The program `opaque`: a command line for [`opaque_client`], and local clusters.
//!
//! **Map**
//! - [`Cli`]: the arguments, and one file for each group of commands;
//! - [`dev`]: a cluster of node processes, used by `opaque dev` and `opaque-bench`;
//! - `present`: answers as tables, CSV and JSON;
//! - [`failure`], [`text`]: output for people, used by `opaque` and `opaque-bench`.
#![deny(unsafe_code)]

// This import must come first: it determines the order in which two copies of zstd are linked. The
// `lib.rs` of opaque-registered explains it.
use opaque_registered as _;

mod commands;
pub mod dev;
pub mod failure;
mod listing;
mod present;
pub mod text;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub use commands::Cli;

/// Parses the command line and sends logs to standard error.
///
/// # Errors
/// The exit code if there is nothing to run: help and version, which have been printed, or a wrong
/// argument, which has been reported.
pub fn begin<Arguments: Parser>() -> Result<Arguments, ExitCode> {
    let arguments = Arguments::try_parse().map_err(|error| {
        // Help and version are no errors. clap knows the stream of each.
        let code = if error.use_stderr() { 2 } else { 0 };
        error.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    Ok(arguments)
}
