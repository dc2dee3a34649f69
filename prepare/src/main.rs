//! The program `opaque-prepare`: parses its arguments, runs, and exits.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use opaque_prepare::Outcome;
use opaque_prepare::config::Config;
use opaque_store::{Credentials, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = Config::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Machines read the log of a Job. A person reads that of a run by hand.
    if config.report.is_some() {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
    match run(config) {
        Ok(Outcome::Done | Outcome::SourceFault) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the run failed");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<Outcome> {
    let by_hand = config.report.is_none();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        let folder = config.store_credentials.clone();
        let credentials = Credentials::new(Settings::from_env(), folder);
        opaque_prepare::run(config, credentials, stop).await
    });
    // A thread that still reads or computes notices that its receiver is gone, or ends with the
    // process.
    runtime.shutdown_background();
    let (outcome, report) = ended?;
    if by_hand {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
        // For a caller by hand, a source that cannot be read is a failure like any other.
        return Ok(if outcome == Outcome::Done { outcome } else { Outcome::Failed });
    }
    Ok(outcome)
}
