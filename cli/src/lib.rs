//! The program `opaque`: a shell around [`opaque_client`], and clusters on one machine.
//!
//! **Map**
//! - [`Cli`]: arguments, and one file per group of commands;
//! - [`dev`]: a cluster of node processes, for `opaque dev` and for `opaque-bench`;
//! - `present`: answers as tables, CSV and JSON;
//! - [`failure`], [`text`]: what is written for people, by `opaque` and by `opaque-bench`.
#![deny(unsafe_code)]

// Named first for the order of two copies of zstd, which opaque-registered's `lib.rs` explains.
use opaque_registered as _;

mod commands;
pub mod dev;
pub mod failure;
mod present;
pub mod text;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub use commands::Cli;

/// Reads the command line and has logs written to standard error.
///
/// # Errors
/// The exit code where there is nothing to run: help, version or a wrong argument, which are
/// printed.
pub fn begin<Arguments: Parser>() -> Result<Arguments, ExitCode> {
    let arguments = Arguments::try_parse().map_err(|error| {
        // Help and version are no errors, and clap knows which stream and code each has.
        let code = if error.use_stderr() { 2 } else { 0 };
        error.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    Ok(arguments)
}
