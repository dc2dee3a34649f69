//! The leader's tasks: the first map, and the self-test between a proposal and its activation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Lifecycle, RETRY};
use crate::coordination::{
    CoordinationError, Elapsed, Leadership, Map, Snapshot, Standing, Step, Waited, covered,
    next_step, prepared, waits_for_store,
};
use crate::error::NodeError;
use crate::map::call::Replicas;
use crate::map::placement::Shards;

/// Interval at which a node that does not lead tries to acquire the lead.
const TRY_LEAD: Duration = Duration::from_millis(500);
/// Interval at which a leader decides again while nothing changes.
const LOOK: Duration = Duration::from_millis(500);
/// Self-tests that may fail before the proposal is rejected. If a replica does not answer or is
/// busy, more may fail, until the replica would count as dead.
const TESTS: u32 = 5;

/// Interval at which a leader records how long the proposal has waited. At most this much is lost
/// when the leader dies.
const NOTE: Duration = Duration::from_secs(15);

/// How long a leader that stepped down does not compete for the lead.
const STAND_BACK: Duration = Duration::from_secs(3);

/// Whether a leader continues after a decision.
enum Rule {
    GoOn,
    /// Another node already leads, or should.
    StepDown,
}

/// The leader's state for the present proposal.
struct Progress {
    generation: u64,
    /// How long the proposal has waited, by the clocks of this leader and earlier ones.
    waited: Duration,
    /// When `waited` was updated last.
    counted: Instant,
    /// How long the proposal had waited when this leader first saw every shard covered.
    until_cover: Option<Duration>,
    /// How long the proposal had waited when this was recorded last.
    noted: Duration,
    /// Self-tests that failed.
    failures: u32,
    /// Since when self-tests fail because a replica does not answer or is busy.
    unanswered: Option<Instant>,
}

/// What a leader sees of the nodes that prepare a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Every shard has a replica that has prepared the proposal.
    Covered,
    /// A shard has no prepared replica and cannot read the store.
    StoreAway,
    /// A shard has no prepared replica yet.
    Preparing,
}

impl Progress {
    fn new(generation: u64, now: Instant) -> Self {
        let (waited, noted) = (Duration::ZERO, Duration::ZERO);
        let (until_cover, unanswered) = (None, None);
        Self { generation, waited, counted: now, until_cover, noted, failures: 0, unanswered }
    }

    /// How long the proposal has waited, by the clocks of its leaders. The proposer's clock may be
    /// that of another machine, and this machine's wall clock may be changed. `known` is the last
    /// record of the previous leader.
    fn elapsed(
        &mut self,
        generation: u64,
        seen: Seen,
        known: Option<Waited>,
        now: Instant,
    ) -> Elapsed {
        if self.generation != generation {
            *self = Self::new(generation, now);
            let known = known.filter(|waited| waited.generation == generation);
            self.waited = Duration::from_secs(known.map_or(0, |waited| waited.seconds));
            self.noted = self.waited;
        }
        if seen != Seen::StoreAway {
            self.waited = self.waited.saturating_add(now.duration_since(self.counted));
        }
        self.counted = now;
        if seen == Seen::Covered {
            self.until_cover.get_or_insert(self.waited);
        }
        Elapsed { total: self.waited, until_cover: self.until_cover }
    }

    /// The time to record for the next leader, if a record is due.
    fn note(&mut self) -> Option<Waited> {
        if self.waited < self.noted.saturating_add(NOTE) {
            return None;
        }
        self.noted = self.waited;
        Some(Waited { generation: self.generation, seconds: self.waited.as_secs() })
    }

    /// Counts a failed self-test. Returns `true` if the proposal must be rejected.
    fn fails(&mut self, error: &NodeError, now: Instant, ttl: Duration) -> bool {
        self.failures += 1;
        let borne = match error {
            NodeError::Busy | NodeError::ShardUnavailable { .. } => {
                now.duration_since(*self.unanswered.get_or_insert(now)) <= ttl
            }
            _ => false,
        };
        self.failures >= TESTS && !borne
    }
}

impl Lifecycle {
    /// Leads whenever no other node does, until `retiring`. Then frees the lead immediately.
    pub(super) async fn lead(&self, mut retiring: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let leadership = tokio::select! {
                leadership = self.coordination.try_lead(&self.config.name) => leadership,
                _ = retiring.wait_for(|retiring| *retiring) => return,
            };
            let failed = leadership.as_ref().is_err();
            match leadership {
                Ok(Some(leadership)) => {
                    tracing::info!(token = leadership.token(), "leading");
                    let retires = tokio::select! {
                        () = self.rule(&leadership) => false,
                        () = self.probe_tables() => false,
                        () = leadership.lost() => {
                            tracing::warn!(token = leadership.token(), "lost the lead");
                            false
                        }
                        _ = retiring.wait_for(|retiring| *retiring) => true,
                    };
                    self.forget_probes();
                    self.state.waits(Duration::ZERO);
                    leadership.release().await;
                    if retires {
                        tracing::info!("gave up the lead");
                        return;
                    }
                    tokio::select! {
                        () = sleep(STAND_BACK) => {}
                        _ = retiring.wait_for(|retiring| *retiring) => return,
                    }
                }
                Ok(None) => {}
                Err(error) if failing => tracing::debug!(%error, "could not try to lead"),
                Err(error) => tracing::warn!(%error, "could not try to lead"),
            }
            failing = failed;
            tokio::select! {
                () = sleep(TRY_LEAD) => {}
                _ = retiring.wait_for(|retiring| *retiring) => return,
            }
        }
    }

    /// Decides on proposals until the lead is lost.
    async fn rule(&self, leadership: &Leadership) {
        let mut snapshots = self.coordination.watch();
        let mut progress = Progress::new(0, Instant::now());
        let mut written = None;
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let outcome = match self.agree(leadership, &snapshot, &mut written).await {
                Ok(Rule::GoOn) => self.decide(leadership, &snapshot, &mut progress).await,
                other => other,
            };
            match outcome {
                Ok(Rule::GoOn) => {}
                Ok(Rule::StepDown) => return,
                Err(error) => {
                    tracing::warn!(%error, "leading");
                    sleep(RETRY).await;
                }
            }
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Makes the stored map the served one: the first map, or one that was lost. Retries after a
    /// pause.
    async fn agree(
        &self,
        leadership: &Leadership,
        snapshot: &Snapshot,
        tried: &mut Option<Instant>,
    ) -> Result<Rule, NodeError> {
        let pausing = tried.is_some_and(|tried| tried.elapsed() < RETRY);
        if snapshot.standing == Standing::Agreed || pausing {
            return Ok(Rule::GoOn);
        }
        *tried = Some(Instant::now());
        let shards = Shards::equal(self.config.shards).map_err(NodeError::internal)?;
        if snapshot.standing == Standing::First {
            match self.coordination.initialize(shards.clone()).await {
                Ok(_) => return Ok(Rule::GoOn),
                // Another party has yet to create the map, or it has tables.
                Err(CoordinationError::NotInitialized) => {}
                Err(error) => return Err(NodeError::internal(error)),
            }
        }
        match self.coordination.restore(leadership, shards, UnixMillis::now()).await {
            Ok(()) | Err(CoordinationError::NotInitialized) => Ok(Rule::GoOn),
            Err(CoordinationError::Fenced { .. }) => Ok(Rule::StepDown),
            Err(error) => Err(NodeError::internal(error)),
        }
    }

    async fn decide(
        &self,
        leadership: &Leadership,
        snapshot: &Snapshot,
        progress: &mut Progress,
    ) -> Result<Rule, NodeError> {
        let policy = self.policy();
        let proposed = snapshot.proposed.as_ref();
        let now = UnixMillis::now();
        let elapsed = proposed.map_or_else(Elapsed::default, |map| {
            let (members, ttl) = (&snapshot.members, policy.member_ttl);
            let seen = if covered(map, members, now, ttl) {
                Seen::Covered
            } else if waits_for_store(map, members, now, ttl) {
                Seen::StoreAway
            } else {
                Seen::Preparing
            };
            progress.elapsed(map.generation, seen, snapshot.waited, Instant::now())
        });
        self.state.waits(elapsed.total);
        if let (Some(_), Some(waited)) = (proposed, progress.note())
            && let Err(error) = self.coordination.note_wait(leadership, waited).await
        {
            // If the cause persists, the decision below fails too. The time will be recorded again.
            tracing::debug!(%error, "could not record how long the proposal has waited");
        }
        let step = next_step(proposed, elapsed, &snapshot.members, now, &policy);
        let (Step::Test { generation }, Some(map)) = (&step, proposed) else {
            // No test is due. A replica that did not answer now counts as dead.
            progress.unanswered = None;
            if let Step::Reject { generation, reason } = step {
                return self.reject(leadership, generation, &reason).await;
            }
            return Ok(Rule::GoOn);
        };
        let generation = *generation;
        if self.local.generation(generation).is_none() {
            // The cluster is ready for the test but this node is not. Another node should lead.
            tracing::warn!(
                generation,
                "stepping down: this node has not loaded the proposed generation"
            );
            return Ok(Rule::StepDown);
        }
        match self.self_test(snapshot, map).await {
            Ok(()) => self.activate(leadership, generation).await,
            Err(NodeError::Refused(reason)) => self.reject(leadership, generation, &reason).await,
            Err(error) => {
                if !progress.fails(&error, Instant::now(), policy.member_ttl) {
                    return Err(error);
                }
                if snapshot.active.is_none() {
                    // A table that does not answer must not prevent the others from being served.
                    tracing::warn!(generation, %error, "activating the tables that can be served");
                    return self.activate(leadership, generation).await;
                }
                self.reject(leadership, generation, &format!("self-test: {error}")).await
            }
        }
    }

    async fn activate(&self, leadership: &Leadership, generation: u64) -> Result<Rule, NodeError> {
        match self.coordination.activate(leadership, generation).await {
            Ok(_) => tracing::info!(generation, "activated"),
            Err(CoordinationError::Fenced { .. }) => return Ok(Rule::StepDown),
            Err(error) => return Err(NodeError::internal(error)),
        }
        Ok(Rule::GoOn)
    }

    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<Rule, NodeError> {
        match self.coordination.reject(leadership, generation, reason).await {
            Ok(()) => tracing::warn!(generation, reason, "rejected"),
            Err(CoordinationError::Fenced { .. }) => return Ok(Rule::StepDown),
            Err(error) => return Err(NodeError::internal(error)),
        }
        Ok(Rule::GoOn)
    }

    /// Probes every index whose table changes, until each prepared replica has taken part.
    async fn self_test(&self, snapshot: &Snapshot, map: &Map) -> Result<(), NodeError> {
        let generation = map.generation;
        let serving =
            self.local.generation(generation).ok_or(NodeError::UnknownGeneration(generation))?;
        let replicas = prepared(snapshot, map, UnixMillis::now(), self.policy().member_ttl);
        let rounds = replicas.values().map(Vec::len).max().unwrap_or(0);
        let unchanged = snapshot.active.as_ref().filter(|active| active.shards == map.shards);
        for (name, epoch) in &map.tables {
            if unchanged.is_some_and(|active| active.tables.get(name) == Some(epoch)) {
                continue;
            }
            let Some(table) = serving.tables.get(name) else {
                // If a map is restored, all tables that can be loaded are served.
                if snapshot.active.is_none() && serving.missing.contains_key(name) {
                    continue;
                }
                return Err(NodeError::internal("a table of the map is not loaded"));
            };
            for index in table.indexes.values() {
                for round in 0..rounds {
                    let one = one_per_shard(&replicas, round);
                    self.coordinator.probe(&serving, table, index, &one).await?;
                }
            }
        }
        Ok(())
    }
}

/// Replica number `round` of every shard. A shard with fewer replicas starts again.
pub(super) fn one_per_shard(replicas: &Replicas, round: usize) -> Replicas {
    let pick = |(shard, replicas): (&u32, &Vec<_>)| {
        let one = replicas.iter().cycle().skip(round).take(1).cloned().collect();
        (*shard, one)
    };
    replicas.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn unavailable() -> NodeError {
        NodeError::ShardUnavailable { shard: 1, reason: "connection refused".to_owned() }
    }

    #[test]
    fn a_replica_that_does_not_answer_is_borne_until_it_would_count_as_dead() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(2, start);
        assert!((0..10).all(|second| !progress.fails(&unavailable(), at(second), TTL)));
        assert!(!progress.fails(&NodeError::Busy, at(10), TTL));
        assert!(progress.fails(&unavailable(), at(11), TTL));
        // The replica was dead for a while. The next failure is a new case.
        progress.unanswered = None;
        assert!(!progress.fails(&unavailable(), at(60), TTL));

        let mut progress = Progress::new(2, start);
        let wrong = NodeError::internal("a fault");
        assert!((1..TESTS).all(|_| !progress.fails(&wrong, start, TTL)));
        assert!(progress.fails(&wrong, start, TTL));
    }

    #[test]
    fn a_proposal_waits_since_this_leader_saw_it_and_for_stragglers_since_it_saw_the_first_cover() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waited = |total, cover: Option<u64>| Elapsed {
            total: Duration::from_secs(total),
            until_cover: cover.map(Duration::from_secs),
        };
        let mut progress = Progress::new(0, start);
        let mut elapsed = |generation, seen, now| progress.elapsed(generation, seen, None, now);
        assert_eq!(elapsed(2, Seen::Preparing, at(10)), waited(0, None));
        assert_eq!(elapsed(2, Seen::Preparing, at(40)), waited(30, None));
        assert_eq!(elapsed(2, Seen::Covered, at(70)), waited(60, Some(60)));
        // A shard that is no longer covered does not start the count again.
        assert_eq!(elapsed(2, Seen::Preparing, at(80)), waited(70, Some(60)));
        assert_eq!(elapsed(2, Seen::Covered, at(90)), waited(80, Some(60)));
        assert_eq!(elapsed(3, Seen::Covered, at(90)), waited(0, Some(0)));
    }

    #[test]
    fn time_without_the_store_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(0, start);
        let mut total = |seen, now| progress.elapsed(2, seen, None, now).total.as_secs();
        assert_eq!(total(Seen::Preparing, at(0)), 0);
        assert_eq!(total(Seen::Preparing, at(10)), 10);
        assert_eq!((total(Seen::StoreAway, at(20)), total(Seen::StoreAway, at(9_000))), (10, 10));
        assert_eq!(total(Seen::Preparing, at(9_005)), 15, "it is not over when the store is back");
    }

    proptest! {
        /// Leaders follow one another. The last one counts the time that has passed, except what
        /// each recorded too late.
        #[test]
        fn a_deadline_survives_its_leaders(leads in prop::collection::vec(0..600_u64, 1..12)) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            let (mut passed, mut noted, mut changes) = (0, None, 0);
            for seconds in leads {
                let mut progress = Progress::new(0, at(passed));
                let mut counted = 0;
                // The leader decides every second.
                for second in 0..=seconds {
                    let now = at(passed + second);
                    counted = progress.elapsed(7, Seen::Preparing, noted, now).total.as_secs();
                    noted = progress.note().or(noted);
                }
                passed += seconds;
                prop_assert!(counted <= passed, "{counted} s of {passed} s");
                prop_assert!(counted + changes * NOTE.as_secs() >= passed, "{counted} of {passed}");
                changes += 1;
            }
            // Another generation starts at zero.
            let mut progress = Progress::new(0, at(passed));
            let next = progress.elapsed(8, Seen::Preparing, noted, at(passed));
            prop_assert_eq!(next.total, Duration::ZERO);
        }
    }
}
