//! One run of `opaque-prepare`: a source in, a published epoch out, and a report of it.
//!
//! **Flow.** [`config`] → `source` (bytes from a file, a web server or a bucket) → rows, checked
//! and encoded in memory → [`crate::store::prepare`] → old epochs removed → [`report`] on a Lease, or on
//! standard error when the program is run by hand.
//!
//! **Guarantees.** A run publishes one whole epoch or none. It may be killed at any moment and run
//! again: what was half written is removed, and an epoch that was published just before its report
//! is found and reported, not made twice. Of two runs of one table at once the later wins, and the
//! other's epoch is given up.
//!
//! **Caveats.** All rows are in memory, encoded; the bound is [`config::Config::row_memory`].

pub mod config;
mod failure;
mod make;
pub mod report;
mod source;

use std::future::Future;
use std::time::Duration;

use self::config::Config;
use self::failure::Failure;
use self::report::{Report, Reporter};
use crate::store::{Credentials, Store, Writer};
use crate::time::UnixMillis;

/// How long cleaning up may take after a signal; a pod has 30 s in all.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// The node's name in claims of this program.
const WRITER: &str = "opaque-prepare";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The epoch is published and reported.
    Done,
    /// The source or its content is at fault, and that was reported: trying again would not help.
    SourceFault,
    /// Anything else.
    Failed,
}

/// Runs until the end, or until `stop`.
///
/// # Errors
/// When the Lease of `--report` cannot be read or written, so that nobody would learn of the end.
pub async fn run(
    config: Config,
    credentials: Credentials,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<(Outcome, Report)> {
    let reporter = Reporter::start(config.report.as_ref(), &config.run).await?;
    let writer = Writer {
        node: WRITER.to_owned(),
        incarnation: format!("{}/{:016x}", config.run, rand::random::<u64>()),
    };
    let made = tokio::select! {
        made = make::make(&config, &credentials, &writer, reporter.progress()) => made,
        () = stop => {
            tracing::info!("stopping");
            stopped(&config, &credentials).await
        }
        () = reporter.superseded() => Err(Failure::Superseded),
    };
    let mut report = Report::new(&config.run);
    let outcome = match made {
        Ok(done) => {
            report.done(done);
            Outcome::Done
        }
        Err(failure) => {
            tracing::error!(reason = failure.reason().as_str(), error = %failure, "nothing was published");
            report.failed(failure.reason(), &failure.for_status());
            if failure.reason().is_of_source() { Outcome::SourceFault } else { Outcome::Failed }
        }
    };
    reporter.finish(&report).await?;
    Ok((outcome, report))
}

/// After a signal: removes what the run has written so far, unless it is published by now.
async fn stopped(config: &Config, credentials: &Credentials) -> Result<make::Done, Failure> {
    let cleaning = async {
        let store = Store::open_with(&config.store, credentials.clone())?;
        let cleaner =
            Writer { node: WRITER.to_owned(), incarnation: format!("{}/stop", config.run) };
        let (now, hour) = (UnixMillis::now(), Duration::from_secs(3600));
        store.sweep(&config.table, &cleaner, now, hour).await?;
        make::earlier(&store, &config.table, &config.run).await
    };
    match tokio::time::timeout(CLEAN_UP, cleaning).await {
        Ok(Ok(Some(done))) => Ok(done),
        Ok(Ok(None)) => Err(Failure::Stopped),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot clean up; the next run will");
            Err(Failure::Stopped)
        }
        Err(_) => Err(Failure::Stopped),
    }
}
