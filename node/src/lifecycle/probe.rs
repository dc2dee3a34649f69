//! The leader's probes: about once a minute, each served table answers one self-test query in the
//! same way as a client's query.
//!
//! **Flow.** Tables take turns, spread over the interval, one at a time. Each probe queries one
//! searchable column at one replica of every shard. The next probe of the table queries another
//! column, and later other replicas. After a failure, the same query is repeated until it succeeds.
//!
//! **Limits.** A probe waits while this node's CPUs are busy with other work, for at most five
//! minutes. Probes take at most a tenth of the time. Wrong sums are reported immediately. Missing
//! answers are reported after three tries, since a replica may just have died.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opaque_store::UnixMillis;
use tokio::time::sleep;

use super::Lifecycle;
use super::lead::one_per_shard;
use crate::coordination::{FailedProbe, holders};
use crate::error::NodeError;
use crate::map::call::Replicas;
use crate::shard::served::{ServedTable, Serving};

/// Tries before a table that does not answer is reported.
const TRIES: u32 = 3;
/// Pause before another try.
const AGAIN: Duration = Duration::from_secs(5);
/// Shortest pause after a probe, as a multiple of the probe's duration.
const SHARE: u32 = 9;
/// Interval at which a waiting probe checks whether the node is idle, and the number of checks
/// before the probe runs anyway.
const BUSY: Duration = Duration::from_secs(5);
const BUSY_LOOKS: u32 = 60;
/// Largest number of tables that are reported. The record is an annotation of bounded size.
const REPORTED: usize = 16;
/// Longest reason, in characters.
const REASON: usize = 200;
/// Largest number of replicas that a reason names.
const NAMED: usize = 4;

/// State of a table's probes.
#[derive(Debug, Default)]
struct Course {
    epoch: u64,
    /// Number of successful probes. It determines the next query.
    position: usize,
    /// Failures since the last success.
    failures: u32,
    failed: Option<FailedProbe>,
}

/// When a table is probed next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Soon, since the probe failed and the failure is not reported yet.
    Again,
    /// At its next turn.
    InTurn,
}

impl Course {
    /// The column and the set of replicas to query, by position.
    fn turn(&self, columns: usize, sets: usize) -> (usize, usize) {
        let (columns, sets) = (columns.max(1), sets.max(1));
        (self.position % columns, self.position / columns % sets)
    }

    /// Records the result of a probe of `replicas`.
    fn ended(&mut self, result: Result<(), NodeError>, replicas: &str) -> Next {
        let (reason, wrong) = match result {
            Ok(()) => {
                self.position = self.position.wrapping_add(1);
                (self.failures, self.failed) = (0, None);
                return Next::InTurn;
            }
            // This node's pool is full, so no query was sent.
            Err(NodeError::Busy) => return Next::InTurn,
            Err(NodeError::Refused(reason)) => (format!("{reason} (asked: {replicas})"), true),
            Err(error) => (error.to_string(), false),
        };
        self.failures = self.failures.saturating_add(1);
        if !wrong && self.failed.is_none() && self.failures < TRIES {
            return Next::Again;
        }
        self.failed = Some(FailedProbe { reason: reason.chars().take(REASON).collect(), wrong });
        Next::InTurn
    }
}

/// The leader's report. Wrong sums come first.
fn report(courses: &BTreeMap<String, Course>) -> BTreeMap<String, FailedProbe> {
    let failed = |(name, course): (&String, &Course)| Some((name.clone(), course.failed.clone()?));
    let mut failed: Vec<_> = courses.iter().filter_map(failed).collect();
    failed.sort_by_key(|(_, probe)| !probe.wrong);
    failed.truncate(REPORTED);
    failed.into_iter().collect()
}

/// The queried nodes. Only a few are named.
fn names(replicas: &Replicas) -> String {
    let nodes: Vec<&str> = replicas.values().flatten().map(|one| one.node.as_str()).collect();
    let shown = nodes.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Lifecycle {
    /// Probes every served table in turn for as long as this node leads.
    pub(super) async fn probe_tables(&self) {
        let interval = self.config.probe_interval;
        if interval.is_zero() {
            return pending().await;
        }
        let mut courses: BTreeMap<String, Course> = BTreeMap::new();
        loop {
            let tables = self.probed();
            courses.retain(|name, course| tables.get(name) == Some(&course.epoch));
            self.tell_probes(&courses);
            let turns = u32::try_from(tables.len()).unwrap_or(u32::MAX).max(1);
            if tables.is_empty() {
                sleep(interval).await;
            }
            for (name, epoch) in tables {
                sleep(interval / turns).await;
                let fresh = Course { epoch, ..Course::default() };
                let course = courses.entry(name.clone()).or_insert(fresh);
                self.probe_table(&name, course).await;
                self.tell_probes(&courses);
            }
        }
    }

    /// Withdraws the report, since another node leads.
    pub(super) fn forget_probes(&self) {
        self.tell_probes(&BTreeMap::new());
    }

    fn tell_probes(&self, courses: &BTreeMap<String, Course>) {
        self.probes.failing(courses.values().filter(|course| course.failed.is_some()).count());
        self.state.probes(report(courses));
    }

    /// The active generation, if it is loaded here.
    fn active_serving(&self) -> Option<Arc<Serving>> {
        self.local.generation(self.active_now()?)
    }

    /// Tables that this node serves, with their epochs.
    fn probed(&self) -> BTreeMap<String, u64> {
        let Some(serving) = self.active_serving() else { return BTreeMap::new() };
        let epoch =
            |(name, table): (&String, &Arc<ServedTable>)| (name.clone(), table.manifest.epoch);
        serving.tables.iter().map(epoch).collect()
    }

    /// Probes one table until its turn ends.
    async fn probe_table(&self, name: &str, course: &mut Course) {
        loop {
            self.until_idle().await;
            let Some(serving) = self.active_serving() else { return };
            let Some(table) = serving.tables.get(name) else { return };
            if table.manifest.epoch != course.epoch {
                return;
            }
            let started = Instant::now();
            match self.probe(&serving, table, name, course).await {
                Next::Again => sleep(AGAIN).await,
                // Probes without an answer took no CPU time.
                Next::InTurn if course.failed.is_some() => return,
                Next::InTurn => return sleep(started.elapsed() * SHARE).await,
            }
        }
    }

    /// Runs one probe.
    async fn probe(
        &self,
        serving: &Arc<Serving>,
        table: &Arc<ServedTable>,
        name: &str,
        course: &mut Course,
    ) -> Next {
        let snapshot = self.coordination.watch().borrow().clone();
        let ttl = self.coordination.rhythm().member_ttl;
        let replicas = holders(&snapshot, &serving.map, name, UnixMillis::now(), ttl);
        let sets = replicas.values().map(Vec::len).max().unwrap_or(0);
        let (column, set) = course.turn(table.indexes.len(), sets);
        let Some(index) = table.indexes.values().nth(column) else { return Next::InTurn };
        let asked = one_per_shard(&replicas, set);
        let result = self.coordinator.probe(serving, table, index, &asked).await;
        if result.is_err() && self.active_now() != Some(serving.map.generation) {
            // Its peers may have dropped that generation.
            return Next::InTurn;
        }
        match &result {
            Ok(()) => self.probes.succeeded(UnixMillis::now()),
            Err(NodeError::Busy) => {}
            Err(error @ NodeError::Refused(_)) => {
                tracing::error!(table = name, %error, asked = names(&asked), "a probe found wrong sums");
                self.probes.failed(true);
            }
            Err(error) => {
                tracing::warn!(table = name, %error, "a probe was not answered");
                self.probes.failed(false);
            }
        }
        course.ended(result, &names(&asked))
    }

    /// Waits while this node's CPUs are busy with other work, for at most five minutes.
    async fn until_idle(&self) {
        for _ in 0..BUSY_LOOKS {
            if !self.coordinator.is_busy() {
                return;
            }
            sleep(BUSY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Result<(), NodeError> {
        let reason = "demo-shard-1-0: unreachable".to_owned();
        Err(NodeError::ShardUnavailable { shard: 1, reason })
    }

    fn wrong() -> Result<(), NodeError> {
        Err(NodeError::Refused("the self-test of column 0 failed".to_owned()))
    }

    #[test]
    fn every_column_is_asked_at_every_set_of_replicas_in_turn() {
        let mut course = Course::default();
        let mut turns = Vec::new();
        for _ in 0..7 {
            turns.push(course.turn(3, 2));
            assert_eq!(course.ended(Ok(()), ""), Next::InTurn);
        }
        assert_eq!(turns, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 0)]);
        // Without replicas or columns there is nothing to divide by.
        assert_eq!(course.turn(0, 0), (0, 0));
    }

    #[test]
    fn what_does_not_answer_is_reported_after_three_tries_and_taken_back_at_the_first_answer() {
        let mut course = Course::default();
        assert_eq!(course.ended(unavailable(), ""), Next::Again);
        assert_eq!(course.ended(unavailable(), ""), Next::Again);
        assert_eq!(course.failed, None);
        assert_eq!(course.ended(unavailable(), ""), Next::InTurn);
        let failed = course.failed.clone().unwrap();
        assert!(!failed.wrong && failed.reason.contains("shard 1"), "{failed:?}");
        // The same query is repeated until it succeeds. Once a failure is reported, every further
        // one counts.
        assert_eq!(course.turn(2, 2), (0, 0));
        assert_eq!(course.ended(unavailable(), ""), Next::InTurn);
        assert_eq!(course.ended(Err(NodeError::Busy), ""), Next::InTurn);
        assert!(course.failed.is_some());
        assert_eq!(course.ended(Ok(()), ""), Next::InTurn);
        assert_eq!((&course.failed, course.turn(2, 2)), (&None, (1, 0)));
        assert_eq!(course.ended(unavailable(), ""), Next::Again);
    }

    #[test]
    fn wrong_sums_are_reported_at_once_with_the_replicas_that_were_asked() {
        let mut course = Course::default();
        assert_eq!(course.ended(wrong(), "a, b"), Next::InTurn);
        let failed = course.failed.unwrap();
        assert!(failed.wrong && failed.reason.contains("(asked: a, b)"), "{failed:?}");
    }

    #[test]
    fn a_report_is_bounded_and_names_wrong_sums_first() {
        let mut courses = BTreeMap::new();
        for number in 0..100 {
            let mut course = Course::default();
            for _ in 0..TRIES {
                let reason = "x".repeat(10_000);
                let _ = course.ended(Err(NodeError::Store(reason)), "");
            }
            courses.insert(format!("t{number:02}"), course);
        }
        let _ = courses.get_mut("t99").unwrap().ended(wrong(), "");
        courses.insert("well".to_owned(), Course::default());
        let report = report(&courses);
        assert_eq!(report.len(), REPORTED);
        assert!(report["t99"].wrong);
        assert!(report.values().all(|failed| failed.reason.chars().count() <= REASON));
    }
}
