//! What a run tells: its progress, and its end.
//!
//! With a Lease, annotation [`ANNOTATION`] of it holds the report as JSON, written at most every
//! `PAUSE`. The Lease is read before it is written and must not have changed between, so that a run
//! which another has followed neither hides the other's report nor goes on.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opaque_crds::table::{Epoch, IndexGeometry};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::lease::{ReportLease, WriteError};
use super::config::LeaseName;
use super::make::Done;

/// Annotation of the Lease that holds the report.
pub const ANNOTATION: &str = "opaque.dev/prepare";
/// Least time between two reports.
const PAUSE: Duration = Duration::from_secs(2);
/// Characters of a message: a header of 256 columns may be at fault.
const MESSAGE_CHARS: usize = 2000;
/// How often the end is told to an API server that does not answer, each time after twice the pause.
const LAST_ATTEMPTS: u32 = 6;

/// Progress or result of a run, as decision 009 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run: String,
    /// How far it is.
    pub stage: Stage,
    /// Units of the stage that are done: bytes of the source, or of the matrices.
    pub done: u64,
    /// Units of the stage; 0 if not known.
    pub total: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The epoch that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Every complete epoch in the store, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
    /// Matrices of the published epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub geometry: Vec<IndexGeometry>,
    /// What a person should know of the published epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A stage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Rows are read from the source.
    Reading,
    /// Geometries are picked.
    Planning,
    /// Partitions and hints are made and stored.
    Building,
    /// The epoch is published.
    Done,
    /// Nothing was published.
    Failed,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The source is not there.
    SourceNotFound,
    /// The source cannot be read.
    SourceUnreadable,
    /// The source refused the credentials.
    SourceRefused,
    /// The source is where none may be.
    SourceForbidden,
    /// Rows do not fit the schema.
    SchemaMismatch,
    /// The table is larger than one can be, or than the run may take.
    TooLarge,
    /// The store does not take the epoch.
    StoreUnavailable,
    /// Anything else.
    Internal,
}

impl Reason {
    /// As it stands in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceNotFound => "SourceNotFound",
            Self::SourceUnreadable => "SourceUnreadable",
            Self::SourceRefused => "SourceRefused",
            Self::SourceForbidden => "SourceForbidden",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::TooLarge => "TooLarge",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::Internal => "Internal",
        }
    }

    /// Whether something outside of the cluster must change before another run can succeed.
    pub fn is_of_source(self) -> bool {
        match self {
            Self::SourceNotFound
            | Self::SourceUnreadable
            | Self::SourceRefused
            | Self::SourceForbidden
            | Self::SchemaMismatch
            | Self::TooLarge => true,
            Self::StoreUnavailable | Self::Internal => false,
        }
    }
}

impl Report {
    /// The first report of a run.
    pub(super) fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            stage: Stage::Reading,
            done: 0,
            total: 0,
            reason: None,
            message: None,
            epoch: None,
            epochs: Vec::new(),
            geometry: Vec::new(),
            warning: None,
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        let Done { epoch, epochs, geometry, warning } = done;
        self.stage = Stage::Done;
        self.epoch = Some(epoch);
        self.epochs = epochs;
        self.geometry = geometry;
        self.warning = warning;
    }

    pub(super) fn failed(&mut self, reason: Reason, message: &str) {
        self.stage = Stage::Failed;
        self.reason = Some(reason);
        let cut = message.char_indices().nth(MESSAGE_CHARS).and_then(|(end, _)| message.get(..end));
        self.message = Some(cut.map_or_else(|| message.to_owned(), |cut| format!("{cut}…")));
    }
}

/// Takes progress; cheap to clone, and never blocks.
#[derive(Debug, Clone)]
pub(super) struct Progress(watch::Sender<Report>);

impl Progress {
    pub(super) fn at(&self, stage: Stage, done: u64, total: u64) {
        self.0.send_modify(|report| {
            report.stage = stage;
            report.done = done;
            report.total = total;
        });
    }
}

/// Tells of a run.
pub(super) struct Reporter {
    progress: Progress,
    telling: JoinHandle<()>,
    stop: Arc<Notify>,
    superseded: Arc<Notify>,
    lease: Option<ReportLease>,
}

impl Reporter {
    /// Tells that the run has begun.
    pub(super) async fn start(lease: Option<&LeaseName>, run: &str) -> anyhow::Result<Self> {
        let first = Report::new(run);
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

    /// Where progress goes.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Ends when another run has begun to report to the Lease.
    pub(super) async fn superseded(&self) {
        self.superseded.notified().await;
    }

    /// Tells the end, and that nothing after it.
    pub(super) async fn finish(self, report: &Report) -> anyhow::Result<()> {
        let Self { progress: _, telling, stop, superseded: _, lease } = self;
        stop.notify_one();
        // It panicked at worst, and the end is still to be told.
        let _ = telling.await;
        let Some(lease) = lease else { return Ok(()) };
        let mut pause = PAUSE / 2;
        for attempt in 1.. {
            match lease.write(report).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Superseded) => {
                    tracing::warn!("another run reports to the Lease; this one's end is not told");
                    return Ok(());
                }
                Err(error) if attempt == LAST_ATTEMPTS => {
                    return Err(error).context("the end of the run could not be reported");
                }
                Err(error) => tracing::warn!(%error, attempt, "the end is not reported yet"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// Tells progress until it is stopped.
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
                // The next report may reach it.
                Err(error) => tracing::warn!(%error, "progress is not reported"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.notified() => return,
        }
    }
}
