//! The leader's part: the first map, and the self-test between a proposal and its activation.

use std::sync::Arc;
use std::time::Duration;

use opaque_pir::probe::Probe;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Lifecycle, RETRY};
use crate::coordination::{Leadership, Map, Snapshot, Step, UnixMillis, next_step};
use crate::coordinator::Replicas;
use crate::error::NodeError;
use crate::placement::Shards;
use crate::replica::prepared;

/// How often a node that does not lead tries to.
const TRY_LEAD: Duration = Duration::from_millis(500);
/// How often a leader looks again while nothing changes.
const LOOK: Duration = Duration::from_millis(500);
/// Self-tests that may fail because a replica went away before the proposal is rejected.
const TESTS: u32 = 5;

impl Lifecycle {
    /// Leads whenever nobody else does.
    pub(super) async fn lead(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let leadership = tokio::select! {
                leadership = self.coordination.try_lead(&self.config.name) => leadership,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match leadership {
                Ok(Some(leadership)) => {
                    tracing::info!(token = leadership.token(), "leading");
                    tokio::select! {
                        () = self.rule(&leadership) => {}
                        _ = stop.wait_for(|stop| *stop) => return,
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "could not try to lead"),
            }
            tokio::select! {
                () = sleep(TRY_LEAD) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Decides on proposals until the lead is lost.
    async fn rule(&self, leadership: &Leadership) {
        let mut snapshots = self.coordination.watch();
        let mut failed_tests = (0, 0);
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let outcome = if snapshot.active.is_none() {
                self.first_map().await
            } else {
                self.decide(leadership, &snapshot, &mut failed_tests).await
            };
            match outcome {
                Ok(()) => {}
                Err(NodeError::Draining) => return,
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

    async fn first_map(&self) -> Result<(), NodeError> {
        let shards = Shards::equal(self.config.shards).map_err(NodeError::internal)?;
        self.coordination.initialize(shards).await.map_err(NodeError::internal)?;
        Ok(())
    }

    async fn decide(
        &self,
        leadership: &Leadership,
        snapshot: &Snapshot,
        (tested, failures): &mut (u64, u32),
    ) -> Result<(), NodeError> {
        let policy = self.policy();
        let proposed = snapshot.proposed.as_ref();
        let step = next_step(proposed, &snapshot.members, UnixMillis::now(), &policy);
        let (Step::Test { generation }, Some(map)) = (&step, proposed) else {
            if let Step::Reject { generation, reason } = step {
                return self.reject(leadership, generation, &reason).await;
            }
            return Ok(());
        };
        let generation = *generation;
        if *tested != generation {
            (*tested, *failures) = (generation, 0);
        }
        match self.self_test(snapshot, map).await {
            Ok(()) => {
                self.coordination.activate(leadership, generation).await.map_err(lost)?;
                tracing::info!(generation, "activated");
                Ok(())
            }
            Err(NodeError::Refused(reason)) => self.reject(leadership, generation, &reason).await,
            Err(error) => {
                *failures += 1;
                if *failures < TESTS {
                    return Err(error);
                }
                self.reject(leadership, generation, &format!("self-test: {error}")).await
            }
        }
    }

    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), NodeError> {
        tracing::warn!(generation, reason, "rejected");
        self.coordination.reject(leadership, generation, reason).await.map_err(lost)
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
            let table = serving
                .tables
                .get(name)
                .ok_or_else(|| NodeError::internal("a table of the map is not loaded"))?;
            for index in table.indexes.values() {
                for round in 0..rounds {
                    let one = one_per_shard(&replicas, round);
                    let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(NodeError::internal)?;
                    let probe = Arc::new(Probe::random(&mut rng));
                    self.coordinator.probe(&serving, table, index, &one, probe).await?;
                }
            }
        }
        Ok(())
    }
}

/// The `round`-th replica of every shard; a shard with fewer starts again.
fn one_per_shard(replicas: &Replicas, round: usize) -> Replicas {
    let pick = |(shard, replicas): (&u32, &Vec<_>)| {
        let one = replicas.iter().cycle().skip(round).take(1).cloned().collect();
        (*shard, one)
    };
    replicas.iter().map(pick).collect()
}

/// A decision that came too late: whoever decides it now, this node does not.
fn lost(error: crate::coordination::CoordinationError) -> NodeError {
    use crate::coordination::CoordinationError;
    match error {
        CoordinationError::Fenced { .. } => NodeError::Draining,
        other => NodeError::internal(other),
    }
}
