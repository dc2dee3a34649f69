//! Conditions and operations of a status. They change only if their content does.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};
use opaque_crds::status::{ConditionType, Operation};
use serde_json::{Value, json};

use super::context::Context;
use crate::error::Error;
use crate::labels::STATUS_MANAGER;
use crate::text::shorten;

/// Maximum length of a condition's message.
const MESSAGE: usize = 2048;
/// Maximum length of `blockedBy`.
const BLOCKED_BY: usize = 1000;

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It is unknown whether the condition holds.
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The next conditions of an object.
///
/// The time of a transition is kept unless the status flips. Conditions that were not set, such as
/// those of other writers, are kept unchanged.
#[derive(Debug)]
pub(crate) struct Conditions {
    conditions: Vec<Condition>,
    generation: Option<i64>,
    now: Time,
    transitions: Vec<Transition>,
}

/// A condition whose status or reason changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The condition's type.
    pub type_: ConditionType,
    /// Its new status.
    pub status: Truth,
    /// Its new reason.
    pub reason: String,
    /// Its new message.
    pub message: String,
}

impl Conditions {
    /// Starts with the reported conditions. `generation` is that of the spec that was examined.
    pub(crate) fn new(previous: &[Condition], generation: Option<i64>, now: Time) -> Self {
        Self { conditions: previous.to_vec(), generation, now, transitions: Vec::new() }
    }

    /// Sets a condition. `reason` is one word in CamelCase; `message` is for people.
    pub(crate) fn set(
        &mut self,
        type_: ConditionType,
        status: impl Into<Truth>,
        reason: &str,
        message: impl AsRef<str>,
    ) {
        let status = status.into();
        let found = self.conditions.iter().position(|one| one.type_ == type_.as_str());
        let previous = found.and_then(|at| self.conditions.get(at));
        let flipped = previous.is_none_or(|one| one.status != status.as_str());
        let since = match previous {
            Some(previous) if !flipped => previous.last_transition_time.clone(),
            _ => self.now.clone(),
        };
        let next = Condition {
            type_: type_.as_str().into(),
            status: status.as_str().into(),
            reason: reason.into(),
            message: shorten(message.as_ref(), MESSAGE),
            observed_generation: self.generation,
            last_transition_time: since,
        };
        if flipped || previous.is_some_and(|one| one.reason != next.reason) {
            let (reason, message) = (next.reason.clone(), next.message.clone());
            self.transitions.push(Transition { type_, status, reason, message });
        }
        match found.and_then(|at| self.conditions.get_mut(at)) {
            Some(condition) => *condition = next,
            None => self.conditions.push(next),
        }
    }

    /// Omits a condition that exists only while it is true.
    pub(crate) fn leave_out(&mut self, type_: ConditionType) {
        self.conditions.retain(|one| one.type_ != type_.as_str());
    }

    /// The conditions including `Ready`, which summarizes the others, and the transitions.
    pub(crate) fn finish(mut self) -> (Vec<Condition>, Vec<Transition>) {
        let find = |type_: ConditionType| {
            self.conditions.iter().find(|one| one.type_ == type_.as_str()).cloned()
        };
        let changes = find(ConditionType::Progressing).filter(|one| one.status == "True");
        if let Some(available) = find(ConditionType::Available) {
            let said = match &changes {
                Some(changes) if available.status == "True" => changes,
                _ => &available,
            };
            let ready = match available.status.as_str() {
                "True" => Truth::from(changes.is_none()),
                "False" => Truth::False,
                _ => Truth::Unknown,
            };
            self.set(ConditionType::Ready, ready, &said.reason, &said.message);
        }
        (self.conditions, self.transitions)
    }
}

/// An operation in progress, without its start time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    /// The operation; unique among those of an object.
    pub name: &'static str,
    /// The current step.
    pub step: String,
    /// Why it does not advance.
    pub blocked_by: Option<String>,
}

impl Activity {
    /// An operation that advances.
    pub(crate) fn going(name: &'static str, step: impl Into<String>) -> Self {
        Self { name, step: step.into(), blocked_by: None }
    }

    /// An operation that waits.
    pub(crate) fn blocked(
        name: &'static str,
        step: impl Into<String>,
        by: impl AsRef<str>,
    ) -> Self {
        Self { name, step: step.into(), blocked_by: Some(shorten(by.as_ref(), BLOCKED_BY)) }
    }
}

/// The operations to report. An operation that is still at the same step keeps its `since`,
/// whatever blocks it. The text of `blockedBy` may change while it waits, because nodes report
/// their progress there.
pub(crate) fn operations(
    previous: &[Operation],
    steps: Vec<Activity>,
    now: &Time,
) -> Vec<Operation> {
    let report = |Activity { name, step, blocked_by }: Activity| {
        let step = shorten(&step, 63);
        let known =
            previous.iter().find(|operation| operation.name == name && operation.step == step);
        let since = known.map_or_else(|| now.clone(), |operation| operation.since.clone());
        Operation { name: name.into(), step, blocked_by, since }
    };
    steps.into_iter().map(report).collect()
}

/// Publishes one event for each transition, as a warning if a person should look at it.
pub(crate) async fn announce(
    context: &Context,
    about: &ObjectReference,
    transitions: &[Transition],
) {
    for transition in transitions {
        let Transition { type_, status, reason, message } = transition;
        let bad = match type_ {
            // Events of the other conditions have reported it.
            ConditionType::Ready => continue,
            ConditionType::Degraded | ConditionType::Contested => *status == Truth::True,
            ConditionType::Available | ConditionType::CertificatesReady => *status != Truth::True,
            ConditionType::Progressing | ConditionType::ShardsBalanced | ConditionType::Paused => {
                false
            }
        };
        let type_of_event = if bad { EventType::Warning } else { EventType::Normal };
        let note = format!("{} is {}: {message}", type_.as_str(), status.as_str());
        context.events.publish(about, type_of_event, reason, &note).await;
    }
}

/// Reports in the status of an object that it cannot be read, in addition to its existing
/// conditions.
///
/// # Errors
/// The API server refuses.
pub(crate) async fn tell_unreadable(
    context: &Context,
    resource: &ApiResource,
    object: &DynamicObject,
    error: &Error,
) -> Result<(), Error> {
    let written = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let read = |one: &Value| serde_json::from_value::<Condition>(one.clone()).ok();
    let previous: Vec<Condition> = written.into_iter().flatten().filter_map(read).collect();
    let now = Time(Timestamp::now());
    let mut conditions = Conditions::new(&previous, object.metadata.generation, now);
    conditions.set(ConditionType::Degraded, true, "Unreadable", error.to_string());
    let (conditions, _) = conditions.finish();
    if conditions == previous {
        return Ok(());
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, resource);
    let params =
        PatchParams { field_manager: Some(STATUS_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
    let action = format!("writing the status of {} {name}", resource.kind);
    let written = api.patch_status(&name, &params, &patch).await.map_err(Error::api(action))?;
    context.wrote(resource, written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_transition_has_the_time_at_which_the_status_flipped() {
        let mut first = Conditions::new(&[], Some(1), time(10));
        first.set(ConditionType::Available, false, "Starting", "no pod");
        let (first, transitions) = first.finish();
        assert_eq!(transitions.len(), 2, "Ready is the second");

        let mut second = Conditions::new(&first, Some(2), time(20));
        second.set(ConditionType::Available, false, "Starting", "one pod");
        let (second, transitions) = second.finish();
        assert_eq!(transitions, []);
        assert_eq!(second[0].last_transition_time, time(10));
        assert_eq!(
            (second[0].observed_generation, second[0].message.as_str()),
            (Some(2), "one pod")
        );

        let mut third = Conditions::new(&second, Some(2), time(30));
        third.set(ConditionType::Available, true, "Serving", "");
        let (third, transitions) = third.finish();
        assert_eq!(third[0].last_transition_time, time(30));
        assert_eq!(transitions[0].reason, "Serving");
    }

    #[test]
    fn ready_is_available_with_nothing_under_way() {
        let ready = |available: Truth, progressing: Truth| {
            let mut conditions = Conditions::new(&[], Some(1), time(1));
            conditions.set(ConditionType::Available, available, "A", "a");
            conditions.set(ConditionType::Progressing, progressing, "P", "p");
            let (conditions, _) = conditions.finish();
            let ready = conditions.into_iter().find(|one| one.type_ == "Ready").unwrap();
            format!(
                "{} {} {} {:?}",
                ready.status, ready.reason, ready.message, ready.observed_generation
            )
        };
        assert_eq!(ready(Truth::True, Truth::False), "True A a Some(1)");
        assert_eq!(ready(Truth::True, Truth::True), "False P p Some(1)");
        assert_eq!(ready(Truth::False, Truth::True), "False A a Some(1)");
        assert_eq!(ready(Truth::Unknown, Truth::False), "Unknown A a Some(1)");
    }

    #[test]
    fn that_another_release_waits_is_no_reason_not_to_be_ready_and_passes() {
        let mut contested = Conditions::new(&[], Some(1), time(1));
        contested.set(ConditionType::Available, true, "Serving", "");
        contested.set(ConditionType::Contested, true, "AnotherOperatorWaits", "a/operator");
        let (contested, transitions) = contested.finish();
        let is =
            |type_: &str| contested.iter().find(|one| one.type_ == type_).unwrap().status.clone();
        assert_eq!((is("Contested").as_str(), is("Ready").as_str()), ("True", "True"));
        assert_eq!(transitions.len(), 3);
        let mut over = Conditions::new(&contested, Some(1), time(2));
        over.leave_out(ConditionType::Contested);
        let (over, _) = over.finish();
        assert!(over.iter().all(|one| one.type_ != "Contested") && over.len() == 2);
    }

    #[test]
    fn nothing_new_gives_the_same_conditions() {
        let build = |previous: &[Condition], now| {
            let mut conditions = Conditions::new(previous, Some(1), time(now));
            conditions.set(ConditionType::Paused, Truth::Unknown, "A", "b");
            conditions.finish().0
        };
        let first = build(&[], 1);
        assert_eq!(build(&first, 2), first);
    }

    #[test]
    fn an_operation_keeps_its_time_until_its_step_changes() {
        let at = |step: &str, by: &str| vec![Activity::blocked("Rollout", step, by)];
        let first = operations(&[], at("1 of 3 shards", "loading 5 of 90 MiB"), &time(1));
        let word = operations(&first, at("1 of 3 shards", "loading 6 of 90 MiB"), &time(2));
        assert_eq!(
            (&word[0].since, word[0].blocked_by.as_deref()),
            (&time(1), Some("loading 6 of 90 MiB"))
        );
        let going = operations(&word, vec![Activity::going("Rollout", "1 of 3 shards")], &time(3));
        assert_eq!((&going[0].since, &going[0].blocked_by), (&time(1), &None));
        assert_eq!(operations(&going, at("2 of 3 shards", ""), &time(4))[0].since, time(4));
        let other =
            operations(&going, vec![Activity::going("Activation", "1 of 3 shards")], &time(5));
        assert_eq!(other[0].since, time(5));
    }
}
