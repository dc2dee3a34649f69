//! Decisions in single situations. `model` runs whole lives of tables.

mod golden;
mod model;
mod objects;
mod owners;
mod withdrawal;

use std::time::Duration;

use jiff::Timestamp;
use opaque_crds::OpaqueTable;
use opaque_crds::cluster::{MissingTable, OpaqueClusterStatus};
use opaque_crds::status::ConditionType;
use opaque_crds::table::OpaqueTableStatus;
use opaque_crds::table::report::{Reason, Report, Stage};

use super::decide::{Action, Decision};
use super::facts::{Facts, JobFacts, JobState, SourceFacts};
use super::fixtures::{cluster, epoch, facts, map, table, table_from_url};
use super::retry::Retry;
use super::run;

fn decide(facts: &Facts) -> Decision {
    super::decide::decide(facts, &Retry::default())
}

fn condition(status: &OpaqueTableStatus, type_: ConditionType) -> (String, String, String) {
    let found = status.conditions.iter().find(|one| one.type_ == type_.as_str()).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn reason(status: &OpaqueTableStatus, type_: ConditionType) -> String {
    condition(status, type_).1
}

fn blocked_by(decision: &Decision) -> String {
    let operations = decision.status.operations.iter();
    operations.filter_map(|operation| operation.blocked_by.clone()).collect()
}

fn wanted(facts: &Facts) -> String {
    let data = match &facts.source {
        SourceFacts::Data(data) => Some(data.as_slice()),
        SourceFacts::Address | SourceFacts::Missing(_) => None,
    };
    run::id(&facts.table, &cluster(), data)
}

fn report(run: &str, stage: Stage) -> Report {
    Report { done: 9, total: 20, ..Report::new(run, stage) }
}

fn failed(facts: &Facts, reason: Reason, message: &str) -> Report {
    let mut failed = report(&wanted(facts), Stage::Failed);
    (failed.reason, failed.message) = (Some(reason), Some(message.to_owned()));
    failed
}

fn job(facts: &Facts, number: i64, state: JobState) -> JobFacts {
    let (name, run) = (format!("weather-prepare-{number}"), wanted(facts));
    JobFacts { name, number, run, stale: false, state }
}

/// The table with its epochs 1 to `count`, built from its current source.
fn made(count: i64) -> Facts {
    let mut facts = facts(table("weather"));
    let status = OpaqueTableStatus {
        source_digest: Some(wanted(&facts)),
        epochs: (1..=count).rev().map(epoch).collect(),
        ..OpaqueTableStatus::default()
    };
    facts.table.status = Some(status);
    facts.map = Some(map(3, &[("weather", count)], &["weather"]));
    facts
}

#[test]
fn a_new_table_gets_its_first_job() {
    let decision = decide(&facts(table("weather")));
    let Action::Start(start) = &decision.action else { panic!("{:?}", decision.action) };
    assert_eq!((start.number, start.keep.len()), (1, 0));
    assert_eq!(reason(&decision.status, ConditionType::Available), "Preparing");
    assert_eq!(condition(&decision.status, ConditionType::Degraded).0, "False");
}

#[test]
fn progress_of_the_job_is_shown() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Active)];
    facts.report = Some(report(&wanted(&facts), Stage::Building));
    let decision = decide(&facts);
    assert_eq!(decision.action, Action::None);
    assert_eq!(decision.status.operations[0].step, "building 45%");
    assert_eq!(decision.status.operations[0].blocked_by, None);
}

#[test]
fn a_job_that_kubernetes_tries_again_says_why_at_once() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Active)];
    let message = "store: the bucket does not exist";
    facts.report = Some(failed(&facts, Reason::StoreUnavailable, message));
    let decision = decide(&facts);
    assert_eq!(decision.action, Action::None);
    assert_eq!(
        blocked_by(&decision),
        "store: the bucket does not exist: check spec.storage of the OpaqueCluster and its Secret"
    );
    // It is a failure only after Kubernetes gives up; otherwise conditions would flip with each
    // pod.
    assert_eq!(reason(&decision.status, ConditionType::Available), "Preparing");
}

#[test]
fn a_pod_that_finds_no_node_is_shown() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Active)];
    facts.pod = Some("pod weather-prepare-1-x cannot be scheduled: 0/3 nodes".into());
    assert!(blocked_by(&decide(&facts)).contains("0/3 nodes"));
}

#[test]
fn what_is_done_is_recorded_and_then_activated() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Complete)];
    let mut done = report(&wanted(&facts), Stage::Done);
    done.epochs = vec![epoch(1)];
    done.warning = Some("The table takes 1.25 GiB\nof node memory.".to_owned());
    facts.report = Some(done);
    let decision = decide(&facts);
    assert_eq!(decision.action, Action::None);
    assert_eq!(decision.warning.as_deref(), Some("The table takes 1.25 GiB of node memory."));
    assert_eq!(decision.status.source_digest, Some(wanted(&facts)));
    assert_eq!(decision.status.epochs, [epoch(1)]);
    assert_eq!(reason(&decision.status, ConditionType::Available), "Activating");

    facts.table.status = Some(decision.status);
    facts.map = Some(map(2, &[("weather", 1)], &["weather"]));
    let decision = decide(&facts);
    assert_eq!(decision.warning, None, "an event is published once");
    assert_eq!(condition(&decision.status, ConditionType::Available).0, "True");
    assert_eq!(reason(&decision.status, ConditionType::Progressing), "UpToDate");
    assert_eq!((decision.status.active_epoch, decision.status.rows), (Some(1), Some(10)));
    assert!(decision.status.operations.is_empty());
}

#[test]
fn an_unchanged_table_causes_no_action() {
    let mut facts = made(2);
    facts.table.status = Some(decide(&facts).status);
    facts.now += jiff::SignedDuration::from_hours(30);
    let decision = decide(&facts);
    assert_eq!(Some(&decision.status), facts.table.status.as_ref());
    assert_eq!(
        (decision.action, decision.again, decision.transitions),
        (Action::None, None, vec![])
    );
}

#[test]
fn a_job_keeps_what_can_be_served_until_it_ends_and_the_rest_leaves_the_status_first() {
    let mut facts = made(6);
    facts.table.spec.epoch = Some(2);
    facts.source = SourceFacts::Data(b"other".to_vec());
    let decision = decide(&facts);
    let Action::Start(start) = decision.action else { panic!("{:?}", decision.action) };
    // The pinned epoch and the newest three stay; 1 and 3 can be removed.
    assert_eq!(Vec::from_iter(start.keep), [2, 4, 5, 6]);
    let listed: Vec<i64> = decision.status.epochs.iter().map(|entry| entry.epoch).collect();
    assert_eq!(listed, [6, 5, 4, 2]);
    // A pin that comes too late is reported, and the served epoch stays.
    facts.table.status = Some(decision.status);
    facts.jobs = vec![job(&facts, 1, JobState::Active)];
    facts.table.spec.epoch = Some(3);
    let decision = decide(&facts);
    let (_, _, message) = condition(&decision.status, ConditionType::Degraded);
    assert_eq!(message, "spec.epoch 3 is not kept in the store; known epochs: 6, 5, 4, 2");
    assert_eq!(super::epochs::choose(&facts.table, &decision.status).epoch, None);
}

#[test]
fn while_the_map_is_lost_the_served_epoch_stays_in_status_and_in_the_store() {
    let mut facts = made(4);
    facts.table.spec.retain_epochs = 1;
    // Nodes serve the epoch of the rollback.
    facts.table.status.as_mut().unwrap().active_epoch = Some(2);
    let lost = map(1, &[], &[]);
    let mut copy = lost.clone();
    copy.metadata.uid = Some("another".into());
    copy.status.as_mut().unwrap().uid = Some("one".into());
    let mut fresh = lost;
    fresh.status = None;
    for map in [None, Some(fresh), Some(copy)] {
        let mut facts = Facts { map, ..facts.clone() };
        let decision = decide(&facts);
        assert_eq!(decision.status.active_epoch, Some(2));
        assert_eq!(reason(&decision.status, ConditionType::Available), "Serving");
        facts.source = SourceFacts::Data(b"city,country\nRome,IT\n".to_vec());
        let decision = decide(&facts);
        let Action::Start(start) = decision.action else { panic!("{:?}", decision.action) };
        assert!(start.keep.contains(&2) && start.keep.contains(&4), "{:?}", start.keep);
    }
    facts.map = Some(map(1, &[], &[]));
    assert_eq!(decide(&facts).status.active_epoch, None, "an active map without it is no loss");
}

#[test]
fn with_one_retained_epoch_a_job_keeps_the_served_one_and_the_one_before() {
    let mut facts = made(4);
    facts.table.spec.retain_epochs = 1;
    facts.source = SourceFacts::Data(b"other".to_vec());
    let decision = decide(&facts);
    let Action::Start(start) = decision.action else { panic!("{:?}", decision.action) };
    assert_eq!(Vec::from_iter(start.keep), [3, 4]);
}

#[test]
fn a_job_of_an_earlier_source_is_stopped_and_waited_for() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 7, JobState::Active)];
    facts.source = SourceFacts::Data(b"other".to_vec());
    assert_eq!(decide(&facts).action, Action::Stop("weather-prepare-7".into()));
    facts.jobs[0].state = JobState::Leaving;
    let decision = decide(&facts);
    assert_eq!(decision.action, Action::None);
    assert!(blocked_by(&decision).contains("weather-prepare-7"));
    facts.jobs.clear();
    assert!(matches!(decide(&facts).action, Action::Start(_)));
}

#[test]
fn a_source_that_is_not_found_says_so_and_is_tried_again_ever_more_slowly() {
    let mut facts = facts(table_from_url("weather"));
    let message = "https://example.com/weather.csv answered 404 Not Found";
    let failed = failed(&facts, Reason::SourceNotFound, message);
    let mut pauses = Vec::new();
    for number in 1..=3 {
        facts.jobs = vec![job(&facts, number, JobState::Complete)];
        facts.report = Some(failed.clone());
        let decision = decide(&facts);
        assert_eq!(decision.action, Action::None);
        assert_eq!(reason(&decision.status, ConditionType::Available), "SourceNotFound");
        assert_eq!(condition(&decision.status, ConditionType::Degraded).0, "True");
        let by = blocked_by(&decision);
        assert!(by.contains("404 Not Found: check spec.source; tried again at 1970-"), "{by}");
        pauses.push(decision.again.unwrap());

        facts.table.status = Some(decision.status);
        let decision = decide(&facts);
        assert_eq!(Some(&decision.status), facts.table.status.as_ref(), "counted twice");
        facts.now += jiff::SignedDuration::try_from(decision.again.unwrap()).unwrap();
        let decision = decide(&facts);
        let Action::Start(start) = &decision.action else { panic!("{:?}", decision.action) };
        assert_eq!(start.number, number + 1);
        facts.table.status = Some(decision.status);
    }
    assert_eq!(pauses, [300, 600, 1200].map(Duration::from_secs));
}

#[test]
fn a_failed_table_is_tried_at_once_when_its_spec_changes() {
    let mut facts = facts(table_from_url("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Complete)];
    facts.report = Some(failed(&facts, Reason::SourceNotFound, ""));
    facts.table.status = Some(decide(&facts).status);
    facts.table.spec.source.url = Some("https://example.com/other.csv".into());
    let decision = decide(&facts);
    assert!(matches!(decision.action, Action::Start(start) if start.number == 2));
}

#[test]
fn rows_of_a_config_map_that_do_not_fit_wait_for_a_change() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Complete)];
    let message = "line 3: temperature: 'warm' is not an INT";
    facts.report = Some(failed(&facts, Reason::SchemaMismatch, message));
    let decision = decide(&facts);
    assert_eq!((decision.action.clone(), decision.again), (Action::None, None));
    assert!(blocked_by(&decision).contains("tried again when spec or source change"));
}

#[test]
fn a_job_whose_pod_was_refused_is_replaced_when_its_table_requests_other_resources() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Active)];
    facts.lacks_pod = true;
    facts.pod = Some("Job weather-prepare-1 cannot create its pod: exceeded quota".into());
    let decision = decide(&facts);
    assert_eq!(
        (decision.action.clone(), decision.again),
        (Action::None, Some(Duration::from_secs(5)))
    );
    assert!(blocked_by(&decision).contains("exceeded quota"));
    let (degraded, reason, message) = condition(&decision.status, ConditionType::Degraded);
    assert_eq!((degraded.as_str(), reason.as_str()), ("True", "PodRefused"), "{message}");
    facts.table.status = Some(decision.status);
    facts.jobs[0].stale = true;
    assert_eq!(decide(&facts).action, Action::Stop("weather-prepare-1".into()));
}

#[test]
fn a_job_that_crashes_or_vanishes_is_replaced_after_a_pause() {
    let mut facts = facts(table("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Failed("BackoffLimitExceeded".into()))];
    let decision = decide(&facts);
    assert_eq!(decision.again, Some(Duration::from_secs(10)));
    assert!(blocked_by(&decision).contains("BackoffLimitExceeded"));

    facts.table.status = Some(decision.status);
    facts.now += jiff::SignedDuration::from_secs(10);
    facts.jobs.push(job(&facts, 2, JobState::Active));
    facts.table.status = Some(decide(&facts).status);
    facts.jobs.clear();
    let decision = decide(&facts);
    assert_eq!(
        (decision.action.clone(), decision.again),
        (Action::None, Some(Duration::from_secs(20)))
    );
    assert!(blocked_by(&decision).contains("deleted before it had a result"));
}

#[test]
fn a_source_that_goes_back_to_an_earlier_one_is_not_taken_for_a_failure() {
    let mut facts = made(2);
    // Job 1 built epoch 1 from the current data; Job 2 built epoch 2 from other data.
    let status = facts.table.status.as_mut().unwrap();
    status.source_digest = Some("other".into());
    status.preparation = Some(opaque_crds::table::Preparation {
        run: "other".into(),
        job: 2,
        failures: 0,
        failure: None,
    });
    facts.jobs = vec![job(&facts, 1, JobState::Complete)];
    let decision = decide(&facts);
    assert!(matches!(decision.action, Action::Start(start) if start.number == 3));
}

#[test]
fn whatever_blocks_a_table_is_named() {
    type Break = fn(&mut Facts);
    let cases: [(&str, &str, Break); 7] = [
        ("ClusterMissing", "OpaqueCluster demo", |facts| facts.cluster = None),
        ("ClusterPaused", "spec.paused", |facts| {
            facts.cluster.as_mut().unwrap().spec.paused = true
        }),
        ("InvalidSpec", "must be between 1 and 100", |facts| facts.table.spec.retain_epochs = 0),
        ("SourceMissing", "no key", |facts| {
            facts.source = SourceFacts::Missing("ConfigMap a has no key b".into());
        }),
        ("SecretMissing", "Secret s", |facts| facts.secrets = vec!["Secret s is missing".into()]),
        ("NameTaken", "opaque load", |facts| facts.map = Some(map(2, &[("Weather", 1)], &[]))),
        ("SecretMissing", "a; b", |facts| facts.secrets = vec!["a".into(), "b".into()]),
    ];
    for (expected, words, break_it) in cases {
        let mut facts = facts(table("weather"));
        break_it(&mut facts);
        let decision = decide(&facts);
        assert_eq!(decision.action, Action::None, "{expected}");
        assert_eq!(reason(&decision.status, ConditionType::Available), expected);
        assert!(blocked_by(&decision).contains(words), "{expected}: {}", blocked_by(&decision));
        let degraded = condition(&decision.status, ConditionType::Degraded).0;
        assert_eq!(degraded == "True", expected != "ClusterPaused", "{expected}");
        // Secrets are not watched; everything else is.
        assert_eq!(decision.again.is_some(), expected == "SecretMissing", "{expected}");
        facts.table.status = Some(decision.status.clone());
        assert_eq!(decide(&facts).status, decision.status, "{expected}");
    }
}

#[test]
fn a_served_table_whose_source_goes_missing_is_still_available() {
    let mut facts = made(1);
    facts.source = SourceFacts::Missing("ConfigMap weather does not exist".into());
    let decision = decide(&facts);
    assert_eq!(condition(&decision.status, ConditionType::Available).0, "True");
    assert_eq!(reason(&decision.status, ConditionType::Degraded), "SourceMissing");
}

#[test]
fn a_table_of_a_cluster_that_serves_nothing_is_not_available() {
    let mut facts = made(1);
    let cluster = facts.cluster.as_mut().unwrap();
    let mut conditions = crate::kube::Conditions::new(
        &[],
        None,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
    );
    conditions.set(ConditionType::Available, false, "ShardsDown", "shard 1 has no ready replica");
    cluster.status.get_or_insert_default().conditions = conditions.finish().0;
    let decision = decide(&facts);
    let (status, reason, message) = condition(&decision.status, ConditionType::Available);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ClusterUnavailable"));
    assert!(message.contains("shard 1"));
}

#[test]
fn a_pin_to_an_unknown_epoch_lists_the_known_ones() {
    let mut facts = made(3);
    facts.table.spec.epoch = Some(9);
    let decision = decide(&facts);
    let (_, reason, message) = condition(&decision.status, ConditionType::Degraded);
    assert_eq!(reason, "EpochUnknown");
    assert!(message.contains("known epochs: 3, 2, 1"), "{message}");
    assert_eq!(condition(&decision.status, ConditionType::Available).0, "True");
}

#[test]
fn a_rejected_epoch_is_remembered_with_the_leaders_words() {
    let mut facts = made(2);
    let mut proposed = map(3, &[("weather", 1)], &["weather"]);
    proposed.spec.map.generation = 4;
    proposed.spec.map.tables[0].epoch = 2;
    let rejection = serde_json::from_value(
        serde_json::json!({"generation": 4, "reason": "the self-test failed"}),
    );
    proposed.status.as_mut().unwrap().rejected = vec![rejection.unwrap()];
    facts.map = Some(proposed);
    let decision = decide(&facts);
    assert_eq!(decision.status.epochs[0].rejected.as_ref().unwrap().map_generation, 4);
    let (_, reason, message) = condition(&decision.status, ConditionType::Degraded);
    assert_eq!(reason, "EpochRejected");
    assert!(message.contains("the self-test failed"));
    // Epoch 1 is served, and stays so.
    assert_eq!(condition(&decision.status, ConditionType::Available).0, "True");
    assert!(decision.status.operations.is_empty());

    let choose = |table: &OpaqueTable| super::epochs::choose(table, &decision.status).epoch;
    assert_eq!(choose(&facts.table), Some(1));
    facts.table.metadata.generation = Some(2);
    assert_eq!(choose(&facts.table), Some(2), "an edited spec is tried again");
}

#[test]
fn a_table_that_pods_cannot_load_says_where_and_why() {
    let mut facts = made(2);
    let missing = |elsewhere: bool, table: &str| MissingTable {
        table: table.to_owned(),
        pod: "demo-shard-1-0".to_owned(),
        shard: 1,
        reason: "store: plane-0 is damaged".to_owned(),
        elsewhere,
    };
    let mut decide_with = |missing_tables: Vec<MissingTable>| {
        let status = OpaqueClusterStatus { missing_tables, ..OpaqueClusterStatus::default() };
        facts.cluster.as_mut().unwrap().status = Some(status);
        decide(&facts).status
    };
    let served = decide_with(vec![missing(true, "weather")]);
    assert_eq!(condition(&served, ConditionType::Available).0, "True");
    let (degraded, reason, message) = condition(&served, ConditionType::Degraded);
    assert_eq!((degraded.as_str(), reason.as_str()), ("True", "TableMissing"));
    assert_eq!(
        message,
        "pod demo-shard-1-0 cannot load it, another pod of shard 1 serves it: store: plane-0 is damaged"
    );
    let lost = decide_with(vec![missing(false, "weather"), missing(true, "other")]);
    let (available, reason, message) = condition(&lost, ConditionType::Available);
    assert_eq!((available.as_str(), reason.as_str()), ("False", "TableMissing"));
    assert!(message.starts_with("shard 1 does not serve it, pod demo-shard-1-0"), "{message}");
    let others = decide_with(vec![missing(false, "other")]);
    assert_eq!(condition(&others, ConditionType::Available).0, "True");
    assert_eq!(condition(&others, ConditionType::Degraded).0, "False");
}
