//! Reports of a run: its progress and its result.
//!
//! If there is a Lease, one of its annotations holds the report as JSON. It is written at most once
//! per `PAUSE`. The Lease is read before each write and must not have changed in between. A run
//! that another run has replaced therefore neither overwrites the other's report nor continues.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opaque_crds::table::report::{Reason, Report, Stage};
use opaque_crds::table::{Epoch, IndexGeometry};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::lease::{ReportLease, WriteError};
use crate::config::LeaseName;

/// Shortest time between two reports.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest message, in characters. A message may concern a header of 256 columns.
const MESSAGE_CHARS: usize = 2000;
/// Attempts to report the result to an API server that does not respond. The pause doubles each
/// time.
const LAST_ATTEMPTS: u32 = 6;

/// Result of a run that published an epoch.
#[derive(Debug)]
pub(crate) struct Done {
    /// The new epoch.
    pub(crate) epoch: u64,
    /// Every complete epoch in the store, newest first.
    pub(crate) epochs: Vec<Epoch>,
    /// Matrices of the new epoch.
    pub(crate) geometry: Vec<IndexGeometry>,
    /// A warning for people.
    pub(crate) warning: Option<String>,
}

/// The report of a run that published an epoch.
pub(crate) fn done(run: &str, done: Done) -> Report {
    let Done { epoch, epochs, geometry, warning } = done;
    let report = Report::new(run, Stage::Done);
    Report { epoch: Some(epoch), epochs, geometry, warning, ..report }
}

/// The report of a run that published nothing.
pub(crate) fn failed(run: &str, reason: Reason, message: &str) -> Report {
    let cut = message.char_indices().nth(MESSAGE_CHARS).and_then(|(end, _)| message.get(..end));
    let message = cut.map_or_else(|| message.to_owned(), |cut| format!("{cut}…"));
    let report = Report::new(run, Stage::Failed);
    Report { reason: Some(reason), message: Some(message), ..report }
}

/// Receives progress. Cheap to clone, and never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Progress(watch::Sender<Report>);

impl Progress {
    pub(crate) fn at(&self, stage: Stage, done: u64, total: u64) {
        self.0.send_modify(|report| {
            report.stage = stage;
            report.done = done;
            report.total = total;
        });
    }
}

/// Reports on a run.
pub(crate) struct Reporter {
    progress: Progress,
    telling: JoinHandle<()>,
    stop: Arc<Notify>,
    superseded: Arc<Notify>,
    lease: Option<ReportLease>,
}

impl Reporter {
    /// Reports that the run has begun.
    pub(crate) async fn start(lease: Option<&LeaseName>, run: &str) -> anyhow::Result<Self> {
        let first = Report::new(run, Stage::Reading);
        let lease = match lease {
            None => None,
            Some(name) => {
                let lease = ReportLease::connect(name, run).await?;
                lease.begin(&first).await.with_context(|| {
                    format!("cannot report to Lease {}/{}", name.namespace, name.name)
                })?;
                Some(lease)
            }
        };
        let (sender, receiver) = watch::channel(first);
        let (stop, superseded) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let telling =
            tokio::spawn(tell(receiver, lease.clone(), Arc::clone(&stop), Arc::clone(&superseded)));
        Ok(Self { progress: Progress(sender), telling, stop, superseded, lease })
    }

    /// Receiver of the run's progress.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Completes when another run has begun to report to the Lease.
    pub(crate) async fn superseded(&self) {
        self.superseded.notified().await;
    }

    /// Reports the result. Nothing is reported after it.
    pub(crate) async fn finish(self, report: &Report) -> anyhow::Result<()> {
        let Self { progress: _, telling, stop, superseded: _, lease } = self;
        stop.notify_one();
        // At worst the task panicked. The result must still be reported.
        let _ = telling.await;
        let Some(lease) = lease else { return Ok(()) };
        let mut pause = PAUSE / 2;
        for attempt in 1.. {
            match lease.write(report).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Superseded) => {
                    tracing::warn!(
                        "another run reports to the Lease; the result of this run is not reported"
                    );
                    return Ok(());
                }
                Err(error) if attempt == LAST_ATTEMPTS => {
                    return Err(error).context("the result of the run could not be reported");
                }
                Err(error) => tracing::warn!(%error, attempt, "retrying to report the result"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// Reports progress until it is stopped.
async fn tell(
    mut reports: watch::Receiver<Report>,
    lease: Option<ReportLease>,
    stop: Arc<Notify>,
    superseded: Arc<Notify>,
) {
    loop {
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            () = stop.notified() => return,
        }
        let report = reports.borrow_and_update().clone();
        tracing::info!(stage = ?report.stage, done = report.done, total = report.total, "progress");
        if let Some(lease) = &lease {
            match lease.write(&report).await {
                Ok(()) => {}
                Err(WriteError::Superseded) => superseded.notify_one(),
                // The next report may succeed.
                Err(error) => tracing::warn!(%error, "progress could not be reported"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.notified() => return,
        }
    }
}
