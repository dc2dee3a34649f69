//! The status of a table: what is served, what is in progress, and why it is stuck.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::cluster::MissingTable;
use opaque_crds::status::ConditionType;
use opaque_crds::table::report::Stage;
use opaque_crds::table::{OpaqueTableStatus, PreparationFailure};

use super::attempt::JobStep;
use super::epochs::{Choice, Problem};
use super::facts::Facts;
use super::map_view::MapView;
use super::report;
use super::validate::Blocker;
use crate::kube::{Activity, Conditions, Transition, Truth, operations};
use crate::text::clip;

/// Activity: an epoch is built from the source.
const PREPARATION: &str = "Preparation";
/// Activity: the nodes switch to an epoch.
const ACTIVATION: &str = "Activation";

/// Maximum pods that a message names.
const NAMED: usize = 3;

/// The decisions about a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct State<'a> {
    /// The observed state.
    pub facts: &'a Facts,
    /// The shard map.
    pub map: Option<&'a MapView<'a>>,
    /// Why nothing is prepared.
    pub blocker: Option<&'a Blocker>,
    /// What to do about Jobs.
    pub step: &'a JobStep,
    /// The epoch to serve.
    pub choice: &'a Choice,
}

/// A reason and a message.
struct Words {
    reason: String,
    message: String,
}

impl Words {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Writes the state to the status. Returns the transitions of its conditions.
pub(super) fn report(state: &State<'_>, status: &mut OpaqueTableStatus) -> Vec<Transition> {
    let table = &state.facts.table;
    let now = Time(state.facts.now);
    status.observed_generation = table.metadata.generation;
    // While the map of a cluster is lost, its nodes continue with their current epoch.
    let lost = state.facts.cluster.is_some() && state.map.is_none_or(|map| map.active.is_none());
    if !lost {
        status.active_epoch = state.map.and_then(|map| map.active_epoch(&table.sql_name()));
    }
    let active = status.epochs.iter().find(|entry| Some(entry.epoch) == status.active_epoch);
    let (rows, bytes) = (active.map(|entry| entry.rows), active.map(|entry| entry.bytes));
    (status.rows, status.bytes) = (rows, bytes);

    let under_way = [state.preparation(status), state.activation(status)];
    let under_way: Vec<Activity> = under_way.into_iter().flatten().collect();
    status.operations = operations(&status.operations, under_way, &now);

    let trouble = state.trouble(status);
    let progress = state.progress(status);
    let mut conditions = Conditions::new(&status.conditions, table.metadata.generation, now);
    let (available, words) = state.available(status, trouble.as_ref(), progress.as_ref());
    conditions.set(ConditionType::Available, available, &words.reason, &words.message);
    let (progressing, words) = match (&progress, &trouble) {
        (Some(words), _) => (true, words),
        (None, Some(words)) => (false, words),
        (None, None) => (false, &state.rest()),
    };
    conditions.set(ConditionType::Progressing, progressing, &words.reason, &words.message);
    let missing = state.missing(|_| true);
    let trouble = missing.as_ref().or(trouble.as_ref().filter(|_| !state.is_intended()));
    let (degraded, words) = match trouble {
        Some(words) => (true, words),
        None => (false, &Words::new("AsExpected", "no action is needed")),
    };
    conditions.set(ConditionType::Degraded, degraded, &words.reason, &words.message);
    let (conditions, transitions) = conditions.finish();
    status.conditions = conditions;
    transitions
}

impl State<'_> {
    fn is_intended(&self) -> bool {
        self.blocker.is_some_and(Blocker::is_intended)
    }

    /// The operation that builds an epoch.
    fn preparation(&self, status: &OpaqueTableStatus) -> Option<Activity> {
        if let Some(blocker) = self.blocker {
            return Some(Activity::blocked(PREPARATION, "waiting", &blocker.message));
        }
        let report = || {
            let run = &status.preparation.as_ref()?.run;
            self.facts.report.as_ref().filter(|report| report.run == *run)
        };
        match self.step {
            JobStep::Idle => None,
            JobStep::Start { .. } => Some(Activity::going(PREPARATION, "starting")),
            JobStep::Stop { name } | JobStep::Stopping { name } => {
                let by = format!("Job {name} of an earlier source is being stopped");
                Some(Activity::blocked(PREPARATION, "waiting", by))
            }
            JobStep::Pause => {
                let failure = status.preparation.as_ref()?.failure.as_ref()?;
                Some(Activity::blocked(PREPARATION, "waiting", describe(failure)))
            }
            JobStep::Running => Some(match (&self.facts.pod, report()) {
                (Some(pod), _) => Activity::blocked(PREPARATION, "starting", pod),
                (None, None) => Activity::going(PREPARATION, "starting"),
                (None, Some(report)) if report.stage == Stage::Failed => Activity::blocked(
                    PREPARATION,
                    "trying again",
                    clip(&report::cause(report).1, 1024),
                ),
                (None, Some(report)) => Activity::going(PREPARATION, report::step(report)),
            }),
        }
    }

    /// The operation that switches to an epoch.
    fn activation(&self, status: &OpaqueTableStatus) -> Option<Activity> {
        let epoch = self.choice.epoch.filter(|epoch| Some(*epoch) != status.active_epoch)?;
        let cluster = &self.facts.table.spec.cluster_ref.name;
        let step = format!("epoch {epoch}");
        let Some(map) = self.map else {
            let by = format!("OpaqueCluster {cluster} has no shard map yet");
            return Some(Activity::blocked(ACTIVATION, step, by));
        };
        if map.active.is_none() {
            let by = format!("no node of OpaqueCluster {cluster} leads yet");
            return Some(Activity::blocked(ACTIVATION, step, by));
        }
        let proposed = map.proposed_epoch(&self.facts.table.sql_name()) == Some(epoch);
        if map.is_waiting() && !proposed {
            let generation = map.proposed.generation;
            let by = format!(
                "generation {generation} of the shard map, another change, is still being prepared by the nodes"
            );
            return Some(Activity::blocked(ACTIVATION, step, by));
        }
        Some(Activity::going(ACTIVATION, step))
    }

    /// Problems that need a person or will be retried.
    fn trouble(&self, status: &OpaqueTableStatus) -> Option<Words> {
        if let Some(blocker) = self.blocker {
            return Some(Words::new(blocker.reason, &blocker.message));
        }
        let failure = status.preparation.as_ref().and_then(|memory| memory.failure.as_ref());
        if let (JobStep::Pause | JobStep::Start { .. }, Some(failure)) = (self.step, failure) {
            return Some(Words::new(&failure.reason, describe(failure)));
        }
        if let (JobStep::Running, true, Some(pod)) =
            (self.step, self.facts.lacks_pod, &self.facts.pod)
        {
            return Some(Words::new("PodRefused", pod));
        }
        match self.choice.problem.as_ref()? {
            Problem::Unknown { epoch, known } => {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                let known = known.join(", ");
                let message =
                    format!("spec.epoch {epoch} is not kept in the store; known epochs: {known}");
                Some(Words::new("EpochUnknown", message))
            }
            Problem::Rejected { epoch, reason } => {
                let message = format!(
                    "the nodes rejected epoch {epoch}: {reason}; it is tried again when spec or source change"
                );
                Some(Words::new("EpochRejected", message))
            }
        }
    }

    /// Progress that needs no person.
    fn progress(&self, status: &OpaqueTableStatus) -> Option<Words> {
        let preparing = match self.step {
            JobStep::Running | JobStep::Stop { .. } | JobStep::Stopping { .. } => true,
            JobStep::Start { .. } => self.blocker.is_none(),
            JobStep::Idle | JobStep::Pause => false,
        };
        if preparing {
            return Some(Words::new("Preparing", "an epoch is being built from the source"));
        }
        let epoch = self.choice.epoch.filter(|epoch| Some(*epoch) != status.active_epoch)?;
        (!self.is_intended())
            .then(|| Words::new("Activating", format!("the nodes are switching to epoch {epoch}")))
    }

    /// Why nothing is in progress although nothing is wrong.
    fn rest(&self) -> Words {
        match self.facts.table.spec.epoch {
            Some(epoch) => Words::new("Pinned", format!("spec.epoch keeps epoch {epoch}")),
            None => Words::new("UpToDate", "the newest epoch is served"),
        }
    }

    fn available(
        &self,
        status: &OpaqueTableStatus,
        trouble: Option<&Words>,
        progress: Option<&Words>,
    ) -> (Truth, Words) {
        let because = |words: &Words| Words::new(&words.reason, &words.message);
        let Some(epoch) = status.active_epoch else {
            // Without an epoch, a problem is the reason; otherwise progress is reported.
            let words = trouble.or(progress).map(because);
            let none = || Words::new("NoEpoch", "no epoch has been built yet");
            return (Truth::False, words.unwrap_or_else(none));
        };
        match self.facts.cluster.as_ref().map(outage) {
            None => {
                let words = trouble.map(because);
                (Truth::False, words.unwrap_or_else(|| Words::new("ClusterMissing", "")))
            }
            Some(Some(message)) => {
                let cluster = &self.facts.table.spec.cluster_ref.name;
                let message = format!("OpaqueCluster {cluster} does not serve: {message}");
                (Truth::False, Words::new("ClusterUnavailable", message))
            }
            Some(None) => match self.missing(|entry| !entry.elsewhere) {
                Some(words) => (Truth::False, words),
                None => (Truth::True, Words::new("Serving", format!("epoch {epoch} is served"))),
            },
        }
    }

    /// Which of the pods that `shown` selects cannot serve the table, and why.
    fn missing(&self, shown: impl Fn(&&MissingTable) -> bool) -> Option<Words> {
        let status = self.facts.cluster.as_ref().and_then(|cluster| cluster.status.as_ref());
        let name = self.facts.table.sql_name();
        let entries = status.iter().flat_map(|status| &status.missing_tables);
        let entries = entries.filter(|entry| entry.table == name).filter(shown);
        let words: Vec<String> = entries.map(lacks).collect();
        let shown: Vec<&str> = words.iter().take(NAMED).map(String::as_str).collect();
        let more = words.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more pods") };
        (!words.is_empty()).then(|| Words::new("TableMissing", shown.join("; ") + &more))
    }
}

/// Which pod cannot serve a table, and why.
fn lacks(entry: &MissingTable) -> String {
    let MissingTable { table: _, pod, shard, reason, elsewhere } = entry;
    if *elsewhere {
        format!("pod {pod} cannot load it, another pod of shard {shard} serves it: {reason}")
    } else {
        format!("shard {shard} does not serve it, pod {pod} cannot load it: {reason}")
    }
}

/// Why the cluster serves nothing, if it reports so.
fn outage(cluster: &opaque_crds::OpaqueCluster) -> Option<String> {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    let mut available =
        conditions.filter(|condition| condition.type_ == ConditionType::Available.as_str());
    let outage = available.find(|condition| condition.status == "False")?;
    Some(format!("{}: {}", outage.reason, outage.message))
}

/// What happened, and when it is retried. This is an instant and not a duration, so that the text
/// does not change.
fn describe(failure: &PreparationFailure) -> String {
    let PreparationFailure { reason: _, message, retry_at } = failure;
    match retry_at {
        Some(Time(at)) => format!("{message}; tried again at {at}"),
        None => format!("{message}; tried again when spec or source change"),
    }
}
