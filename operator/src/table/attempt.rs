//! Which Job there should be.
//!
//! **Guarantees.** At most one Job of a table has pods. A run whose epoch is made gets no further
//! Job. Every failed Job is counted once, also if the operator restarts between any two of its
//! writes.
//!
//! **How.** Jobs are numbered, and `status.preparation` remembers the last number and whether its
//! failure was counted. A Job is made before it is remembered; one that is not remembered yet is
//! found in the list.

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
    /// Nothing: the epoch is made.
    Idle,
    /// A Job is at work.
    Running,
    /// A Job of another source is to be deleted.
    Stop {
        /// Its name.
        name: String,
    },
    /// A Job is being deleted.
    Stopping {
        /// Its name.
        name: String,
    },
    /// The last Job failed. Its failure is in the status.
    Pause,
    /// A Job is to be made.
    Start {
        /// Its number.
        number: i64,
    },
}

/// What is known of a table's Jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts<'a> {
    /// The run that is wanted.
    pub run: &'a str,
    /// Whether its epoch is made.
    pub done: bool,
    /// Whether the source is watched, so that no other try can help before it changes.
    pub watched: bool,
    /// The Jobs.
    pub jobs: &'a [JobFacts],
    /// What was reported last.
    pub report: Option<&'a Report>,
}

impl Attempts<'_> {
    /// The next step. Updates what is remembered.
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
        // It has reported its epoch and is about to end. Its log stays for people.
        if self.done {
            return Some(JobStep::Idle);
        }
        let failures = memory.as_ref().filter(|memory| memory.run == self.run);
        let failures = failures.map_or(0, |memory| memory.failures);
        let run = self.run.to_owned();
        *memory = Some(Preparation { run, job: newest, failures, failure: None });
        Some(JobStep::Running)
    }

    /// Counts the failure of the last Job of this run, unless it is counted.
    fn count_failure(&self, memory: &mut Option<Preparation>, retry: &Retry, now: Timestamp) {
        let of_run = memory.as_ref().filter(|memory| memory.run == self.run);
        // Jobs up to here are history: counted, or of runs before this one.
        let counted = match (of_run, memory.as_ref()) {
            (Some(memory), _) if memory.failure.is_none() => memory.job - 1,
            (_, memory) => memory.map_or(0, |memory| memory.job),
        };
        let finished = self.jobs.iter().filter(|job| job.run == self.run && job.number > counted);
        let last = finished.max_by_key(|job| job.number);
        let number = match (last, of_run) {
            (Some(job), _) => job.number,
            // It was made, and is gone: deleted by somebody, or long since finished.
            (None, Some(memory)) if memory.failure.is_none() => memory.job,
            (None, _) => return,
        };
        let failures = of_run.map_or(0, |memory| memory.failures).saturating_add(1);
        let (reason, message) = self.cause(last);
        // The same bytes give the same error: only a change can help, and that is watched.
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

    /// Why the last Job failed: in its own words, or else in those of Kubernetes. And what can be
    /// done.
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
