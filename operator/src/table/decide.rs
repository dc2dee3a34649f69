//! Decides what to do about a table from the observed state, without I/O.
//!
//! **Guarantees.** The same facts give the same decision. After a decision has been carried out and
//! if nothing else happens, the next decision does nothing: the status is equal and there is no
//! step.

use std::collections::BTreeSet;
use std::time::Duration;

use opaque_crds::table::OpaqueTableStatus;

use super::attempt::{Attempts, JobStep};
use super::facts::{Facts, SourceFacts};
use super::map_view::MapView;
use super::retry::Retry;
use super::status::{State, report};
use super::{epochs, run, validate};
use crate::kube::{ASK_AGAIN, Transition};

/// Interval at which a blocking object that is not watched is checked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What to do about a table.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    /// The status to report before anything else is done: a Job may remove epochs that are no
    /// longer in it.
    pub status: OpaqueTableStatus,
    /// Transitions of its conditions.
    pub transitions: Vec<Transition>,
    /// The warning of the Job of a new epoch, published once.
    pub warning: Option<String>,
    /// What to do about Jobs.
    pub action: Action,
    /// When to decide again if nothing happens.
    pub again: Option<Duration>,
}

/// What to do about Jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    None,
    /// Delete this Job with its pods.
    Stop(String),
    /// Make a Job.
    Start(Start),
}

/// A Job to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// Its number.
    pub number: i64,
    /// Its run.
    pub run: String,
    /// Epochs that the Job must leave in the store.
    pub keep: BTreeSet<i64>,
}

/// Decides what to do about a table.
pub(super) fn decide(facts: &Facts, retry: &Retry) -> Decision {
    let table = &facts.table;
    let map = facts.map.as_ref().map(MapView::new);
    let map = map.as_ref();
    let mut status = table.status.clone().unwrap_or_default();

    let warning = epochs::record(&mut status, facts.report.as_ref());
    epochs::remember_rejection(table, &mut status, map);

    let mut blocker = validate::check(facts, map);
    let (mut step, mut action) = (JobStep::Idle, Action::None);
    if let (None, Some(run)) = (&blocker, wanted(facts)) {
        let attempts = Attempts {
            run: &run,
            done: status.source_digest.as_deref() == Some(run.as_str()),
            watched: matches!(facts.source, SourceFacts::Data(_)),
            jobs: &facts.jobs,
            report: facts.report.as_ref(),
        };
        step = attempts.step(&mut status.preparation, retry, facts.now);
        if matches!(step, JobStep::Start { .. }) {
            blocker = validate::check_secrets(facts);
        }
        action = match &step {
            JobStep::Idle | JobStep::Running | JobStep::Stopping { .. } | JobStep::Pause => {
                Action::None
            }
            JobStep::Stop { name } => Action::Stop(name.clone()),
            JobStep::Start { .. } if blocker.is_some() => Action::None,
            JobStep::Start { number } => {
                let keep = epochs::keep(table, &mut status, map);
                Action::Start(Start { number: *number, run, keep })
            }
        };
    }
    let again = again(&status, &step, blocker.as_ref(), facts);
    let choice = epochs::choose(table, &status);
    let state = State { facts, map, blocker: blocker.as_ref(), step: &step, choice: &choice };
    let transitions = report(&state, &mut status);
    Decision { status, transitions, warning, action, again }
}

/// The run that builds the epoch that the spec describes.
fn wanted(facts: &Facts) -> Option<String> {
    let data = match &facts.source {
        SourceFacts::Missing(_) => return None,
        SourceFacts::Address => None,
        SourceFacts::Data(data) => Some(data.as_slice()),
    };
    Some(run::id(&facts.table, facts.cluster.as_ref()?, data))
}

fn again(
    status: &OpaqueTableStatus,
    step: &JobStep,
    blocker: Option<&validate::Blocker>,
    facts: &Facts,
) -> Option<Duration> {
    if facts.lacks_pod {
        // Only an event reports that a pod was refused, and events are not watched.
        return Some(ASK_AGAIN);
    }
    if blocker.is_some_and(|blocker| blocker.unwatched) {
        return Some(LOOK_AGAIN);
    }
    if !matches!(step, JobStep::Pause) {
        return None;
    }
    let failure = status.preparation.as_ref()?.failure.as_ref()?;
    let pause = failure.retry_at.as_ref()?.0.duration_since(facts.now);
    // The pause is above zero, because the time must have passed at the next check.
    Some(Duration::try_from(pause).unwrap_or_default().max(Duration::from_millis(10)))
}
