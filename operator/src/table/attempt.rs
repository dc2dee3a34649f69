//! Decides which Job should exist.
//!
//! **Guarantees.** At most one Job of a table has pods. A run whose epoch is complete gets no
//! further Job. Every failed Job is counted exactly once, even if the operator restarts between any
//! two of its writes.
//!
//! **How.** Jobs are numbered. `status.preparation` records the last number and whether its failure
//! was counted. A Job is created before it is recorded. A Job that is not recorded yet is found in
//! the list of Jobs.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::table::report::{Reason, Report, Stage};
use opaque_crds::table::{Preparation, PreparationFailure};

use super::facts::{JobFacts, JobState};
use super::report::{advice, cause, condition};
use super::retry::Retry;
use crate::text::clip;

/// What to do about Jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobStep {
    /// Nothing: the epoch is complete.
    Idle,
    /// A Job is running.
    Running,
    /// Delete a Job of another source.
    Stop {
        /// Its name.
        name: String,
    },
    /// A Job is being deleted.
    Stopping {
        /// Its name.
        name: String,
    },
    /// The last Job failed. The status contains its failure.
    Pause,
    /// Create a Job.
    Start {
        /// Its number.
        number: i64,
    },
}

/// What is known about a table's Jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts<'a> {
    /// The desired run.
    pub run: &'a str,
    /// Whether its epoch is complete.
    pub done: bool,
    /// Whether the source is watched, so that a retry can help only after it changes.
    pub watched: bool,
    /// The Jobs.
    pub jobs: &'a [JobFacts],
    /// The last report.
    pub report: Option<&'a Report>,
}

impl Attempts<'_> {
    /// The next step. Updates the record in `memory`.
    pub(super) fn step(
        &self,
        memory: &mut Option<Preparation>,
        retry: &Retry,
        now: Timestamp,
    ) -> JobStep {
        if let Some(step) = self.step_of_live(memory) {
            return step;
        }
        if self.done {
            return JobStep::Idle;
        }
        self.count_failure(memory, retry, now);
        let remembered = memory.as_ref().filter(|memory| memory.run == self.run);
        if let Some(failure) = remembered.and_then(|memory| memory.failure.as_ref())
            && failure.retry_at.as_ref().is_none_or(|at| at.0 > now)
        {
            return JobStep::Pause;
        }
        let last = self.jobs.iter().map(|job| job.number).max().unwrap_or(0);
        JobStep::Start { number: last.max(memory.as_ref().map_or(0, |memory| memory.job)) + 1 }
    }

    /// The step while a Job may have pods.
    fn step_of_live(&self, memory: &mut Option<Preparation>) -> Option<JobStep> {
        let live = || self.jobs.iter().filter(|job| job.is_live());
        if let Some(job) = live().find(|job| job.state == JobState::Leaving) {
            return Some(JobStep::Stopping { name: job.name.clone() });
        }
        let newest = live().map(|job| job.number).max()?;
        for job in live() {
            if job.run != self.run || job.number < newest || job.stale {
                return Some(JobStep::Stop { name: job.name.clone() });
            }
        }
        // The Job has reported its epoch and is about to end. Its log stays available.
        if self.done {
            return Some(JobStep::Idle);
        }
        let failures = memory.as_ref().filter(|memory| memory.run == self.run);
        let failures = failures.map_or(0, |memory| memory.failures);
        let run = self.run.to_owned();
        *memory = Some(Preparation { run, job: newest, failures, failure: None });
        Some(JobStep::Running)
    }

    /// Counts the failure of the last Job of this run, unless it has been counted.
    fn count_failure(&self, memory: &mut Option<Preparation>, retry: &Retry, now: Timestamp) {
        let of_run = memory.as_ref().filter(|memory| memory.run == self.run);
        // Jobs up to this number need no counting: they have been counted, or belong to earlier
        // runs.
        let counted = match (of_run, memory.as_ref()) {
            (Some(memory), _) if memory.failure.is_none() => memory.job - 1,
            (_, memory) => memory.map_or(0, |memory| memory.job),
        };
        let finished = self.jobs.iter().filter(|job| job.run == self.run && job.number > counted);
        let last = finished.max_by_key(|job| job.number);
        let number = match (last, of_run) {
            (Some(job), _) => job.number,
            // The Job was created and is gone: a person deleted it, or it finished long ago.
            (None, Some(memory)) if memory.failure.is_none() => memory.job,
            (None, _) => return,
        };
        let failures = of_run.map_or(0, |memory| memory.failures).saturating_add(1);
        let (reason, message) = self.cause(last);
        // The same bytes cause the same error, so only a change of the source can help, and the
        // source is watched.
        let hopeless = self.watched && reason.is_of_source();
        let retry_at = (!hopeless).then(|| Time(retry.at(reason, failures, now)));
        let failure = PreparationFailure {
            reason: condition(reason).to_owned(),
            message: clip(&message, 1024),
            retry_at,
        };
        let run = self.run.to_owned();
        *memory = Some(Preparation { run, job: number, failures, failure: Some(failure) });
    }

    /// Why the last Job failed, from its own report or else from Kubernetes, with what to do about
    /// it.
    fn cause(&self, last: Option<&JobFacts>) -> (Reason, String) {
        let report = self.report.filter(|report| report.run == self.run);
        if let Some(report) = report.filter(|report| report.stage == Stage::Failed) {
            return cause(report);
        }
        let message = match last {
            Some(JobFacts { name, state: JobState::Failed(message), .. }) => {
                format!("Job {name} failed: {message}")
            }
            Some(JobFacts { name, .. }) => format!("Job {name} ended without a result"),
            None => "the Job was deleted before it had a result".to_owned(),
        };
        let reason = Reason::Internal;
        (reason, format!("{message}: {}", advice(reason)))
    }
}
