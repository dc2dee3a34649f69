//! One run of the program, from its start to its report.

use std::future::Future;
use std::time::Duration;

use opaque_crds::table::report::Report;
use opaque_store::{Credentials, Store, UnixMillis, Writer};

use crate::config::Config;
use crate::failure::Failure;
use crate::publish::{WRITER, earlier, publish};
use crate::report::{self, Done, Reporter};

/// Time for cleaning up after a signal. A pod has 30 s in total.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The epoch is published and reported.
    Done,
    /// The source or its content is at fault, and this was reported. Another attempt would not
    /// help.
    SourceFault,
    /// Anything else.
    Failed,
}

/// Runs until the run is complete, or until `stop`.
///
/// # Errors
/// The Lease of `--report` cannot be read or written, so the result cannot be reported.
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
    let done = tokio::select! {
        done = publish(&config, &credentials, &writer, reporter.progress()) => done,
        () = stop => {
            tracing::info!("stopping");
            stopped(&config, &credentials).await
        }
        () = reporter.superseded() => Err(Failure::Superseded),
    };
    let (outcome, report) = match done {
        Ok(done) => (Outcome::Done, report::done(&config.run, done)),
        Err(failure) => {
            let reason = failure.reason();
            tracing::error!(reason = reason.as_str(), error = %failure, "nothing was published");
            let outcome =
                if reason.is_of_source() { Outcome::SourceFault } else { Outcome::Failed };
            (outcome, report::failed(&config.run, reason, &failure.for_status()))
        }
    };
    reporter.finish(&report).await?;
    Ok((outcome, report))
}

/// After a signal: removes what the run has written so far, unless the epoch is already published.
async fn stopped(config: &Config, credentials: &Credentials) -> Result<Done, Failure> {
    let cleaning = async {
        let store = Store::open_with(&config.store, credentials.clone())?;
        let cleaner =
            Writer { node: WRITER.to_owned(), incarnation: format!("{}/stop", config.run) };
        let (now, hour) = (UnixMillis::now(), Duration::from_secs(3600));
        store.sweep(&config.table, &cleaner, now, hour).await?;
        earlier(&store, &config.table, &config.run).await
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
