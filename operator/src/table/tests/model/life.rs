//! A table in the model: its objects, and the effects of its Jobs on the store.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueTable;
use opaque_crds::table::Epoch;
use opaque_crds::table::report::{Reason, Report, Stage};

use crate::table::decide::Start;
use crate::table::facts::{JobFacts, JobState};
use crate::table::fixtures;

/// A table and what belongs to it.
pub(super) struct Life {
    pub(super) table: OpaqueTable,
    pub(super) data: Vec<u8>,
    pub(super) jobs: Vec<JobFacts>,
    pub(super) report: Option<Report>,
    /// Epochs in the store, newest first.
    pub(super) store: Vec<Epoch>,
    /// The run that made the newest of them.
    writer: Option<String>,
    /// `--retain` and `--keep` of the last Job.
    retention: (usize, BTreeSet<i64>),
}

impl Life {
    pub(super) fn new(name: &str) -> Self {
        Self {
            table: fixtures::table(name),
            data: vec![0],
            jobs: Vec::new(),
            report: None,
            store: Vec::new(),
            writer: None,
            retention: (0, BTreeSet::new()),
        }
    }

    /// Gives it epochs 1 to `count`, built from another source.
    pub(super) fn age(&mut self, count: i64) {
        let run = "earlier".to_owned();
        self.store = (1..=count).rev().map(fixtures::epoch).collect();
        self.writer = Some(run.clone());
        let status = self.table.status.get_or_insert_default();
        status.source_digest = Some(run);
        status.epochs = self.store.clone();
    }

    pub(super) fn holds(&self, epoch: i64) -> bool {
        self.store.iter().any(|entry| entry.epoch == epoch)
    }

    /// Makes a Job.
    pub(super) fn start(&mut self, Start { number, run, keep }: Start) {
        assert!(!self.jobs.iter().any(JobFacts::is_live), "two Jobs at once");
        assert!(self.jobs.iter().all(|job| job.number < number), "a number twice");
        self.report = None;
        self.retention = (self.table.spec.retain_epochs.try_into().unwrap(), keep);
        let name = format!("job-{number}");
        self.jobs.push(JobFacts { name, number, run, stale: false, state: JobState::Active });
    }

    /// A Job that still has pods publishes its epoch and removes old ones, as `make` of
    /// `opaque-prepare` does. It does nothing if the newest epoch is already of its run.
    pub(super) fn publish(&mut self, now: Timestamp) {
        let Some(job) = self.jobs.iter().find(|job| job.is_live()) else { return };
        if self.writer.as_ref() == Some(&job.run) {
            return;
        }
        self.writer = Some(job.run.clone());
        let mut made = fixtures::epoch(self.store.first().map_or(1, |newest| newest.epoch + 1));
        made.published = Time(now);
        self.store.insert(0, made);
        // As in `Store::retain`: removes all but the newest few and those to keep.
        let (retain, keep) = &self.retention;
        let mut newer = 0;
        self.store.retain(|entry| {
            newer += 1;
            newer <= (*retain).max(1) || keep.contains(&entry.epoch)
        });
    }

    /// The running Job succeeds.
    pub(super) fn succeed(&mut self, now: Timestamp) {
        if !self.jobs.iter().any(|job| job.state == JobState::Active) {
            return;
        }
        self.publish(now);
        let Some(run) = self.end(JobState::Complete) else { return };
        self.report = Some(report(run, Stage::Done, self.store.clone()));
    }

    /// The running Job reports a failure.
    pub(super) fn fail(&mut self) {
        let Some(run) = self.end(JobState::Complete) else { return };
        let mut failed = report(run, Stage::Failed, Vec::new());
        failed.reason = Some(Reason::StoreUnavailable);
        self.report = Some(failed);
    }

    /// Ends the running Job and returns its run.
    pub(super) fn end(&mut self, state: JobState) -> Option<String> {
        let job = self.jobs.iter_mut().find(|job| job.state == JobState::Active)?;
        job.state = state;
        Some(job.run.clone())
    }
}

fn report(run: String, stage: Stage, epochs: Vec<Epoch>) -> Report {
    Report { epochs, ..Report::new(&run, stage) }
}
