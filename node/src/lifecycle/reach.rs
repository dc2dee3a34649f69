//! Checks the path to every shard, and turns clients away if another node serves them better. The
//! rules are in [`reach`](crate::query::reach).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant as Deadline, sleep, timeout};

use super::Lifecycle;
use crate::coordination::{Asked, Map, ReplicaOrder, Snapshot, alive};
use crate::map::call::{CallError, Hello, Replica};
use crate::map::placement::ShardId;
use crate::query::coordinator::{Patience, gather};
use crate::query::reach::{Objection, Pace, Reach, reaches_all};

/// How long a shard may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long one replica may take before another is called as well.
const HEDGE: Duration = Duration::from_secs(1);
/// How long reading the state may take.
const READ: Duration = Duration::from_secs(3);
/// Shortest pause between two checks that are caused by changed records.
const CHANGES: Duration = Duration::from_secs(1);
/// Shards that are called concurrently.
const AT_A_TIME: usize = 256;

/// Result of a check of some shards.
struct Found {
    /// Whether each shard answered.
    reached: BTreeMap<ShardId, bool>,
    /// The newest generation that a shard reported.
    newest: Option<u64>,
}

impl Lifecycle {
    /// Calls every shard in turn, until `stop`.
    pub(super) async fn watch_reach(&self, mut stop: watch::Receiver<bool>) {
        let pace = Pace::within(self.grace());
        let order =
            ReplicaOrder::new(self.config.name.clone(), self.coordination.rhythm().member_ttl);
        let mut snapshots = self.coordination.watch();
        let mut reach = Reach::new(pace);
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            if let Some(active) = &snapshot.active {
                let looking = self.look(&snapshot, active, &order, &mut reach);
                let objection = tokio::select! {
                    objection = looking => objection,
                    _ = stop.wait_for(|stop| *stop) => return,
                };
                self.turn_away_for(objection).await;
            }
            // A node that comes back writes its record.
            let missing = !reach.unreachable().is_empty();
            // Records change often: one check covers many changes.
            let changed = async {
                sleep(CHANGES).await;
                snapshots.changed().await
            };
            tokio::select! {
                changed = changed, if missing => if changed.is_err() { return },
                () = sleep(pace.again) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Calls the shards that are due, and evaluates the answers.
    async fn look(
        &self,
        snapshot: &Snapshot,
        active: &Map,
        order: &ReplicaOrder,
        reach: &mut Reach,
    ) -> Option<Objection> {
        let own = active.generation;
        let due = reach.due(active.shards.ids(), Instant::now());
        let Found { reached, newest } = self.ask(snapshot, active, order, &due).await;
        let now = Instant::now();
        let before = reach.unreachable();
        for (shard, reached) in reached {
            reach.asked(shard, reached, now);
        }
        let unreachable = reach.unreachable();
        if unreachable != before {
            let (count, first) = (unreachable.len(), unreachable.first());
            match first {
                Some(shard) => tracing::warn!(count, first = %shard, "shards cannot be reached"),
                None => tracing::info!("every shard can be reached again"),
            }
        }
        self.state.unreachable(unreachable);
        reach.heard(own, newest, now);
        let members =
            alive(&snapshot.members, UnixMillis::now(), self.coordination.rhythm().member_ttl);
        reach.another(reaches_all(members, &self.config.name, own), now);
        // A newer generation that a peer reported is compared with the state, if that can be read.
        let state = match reach.suspects(now) {
            Some(_) => self.read_active().await,
            None => None,
        };
        reach.objection(own, state, Instant::now())
    }

    /// The active generation according to the cluster's state, unless that is unreachable.
    async fn read_active(&self) -> Option<u64> {
        let read = timeout(READ, self.coordination.active()).await;
        read.ok()?.ok()?.map(|map| map.generation)
    }

    /// Calls shards, each at a replica that answers.
    async fn ask(
        &self,
        snapshot: &Snapshot,
        active: &Map,
        order: &ReplicaOrder,
        due: &[ShardId],
    ) -> Found {
        if due.is_empty() {
            return Found { reached: BTreeMap::new(), newest: None };
        }
        let generation = self.answers_from(active.generation);
        let newest = AtomicU64::new(0);
        let mut replicas = order.replicas(snapshot, active, Asked::ANYTHING, UnixMillis::now());
        let mut asking: Vec<BoxFuture<'_, (ShardId, bool)>> = Vec::new();
        for &shard in due {
            let mut replicas = replicas.remove(&shard.0).unwrap_or_default();
            // Other replicas of this node's shard are called only to learn which generation they
            // serve. The shard counts as reached without them.
            replicas.retain(|replica| replica.node != self.config.name);
            let own = shard.0 == self.config.shard && self.local.generation(generation).is_some();
            let answers = self.hello(shard.0, replicas, generation, &newest);
            asking.push(answers.map(move |answers| (shard, own || answers)).boxed());
        }
        let reached = stream::iter(asking).buffer_unordered(AT_A_TIME).collect().await;
        Found { reached, newest: Some(newest.into_inner()) }
    }

    /// Whether a replica that holds `generation` answers. Updates `newest` with the generations
    /// that replicas report.
    async fn hello(
        &self,
        shard: u32,
        replicas: Vec<Replica>,
        generation: u64,
        newest: &AtomicU64,
    ) -> bool {
        let patience = Patience { deadline: Deadline::now() + ANSWER, hedge_after: HEDGE };
        let shard = BTreeMap::from([(shard, replicas)]);
        let ask = |replica| async move {
            let Hello { active_generation, holds } =
                self.greeter.hello(&replica, generation).await?;
            newest.fetch_max(active_generation, Ordering::Relaxed);
            if holds { Ok(()) } else { Err(CallError::TryAnother("not loaded".into())) }
        };
        let answered = gather(&shard, patience, ask).await;
        if let Err(error) = &answered {
            tracing::debug!(%error, "a shard cannot be reached");
        }
        answered.is_ok()
    }

    /// The generation from which clients are answered, or would be.
    fn answers_from(&self, active: u64) -> u64 {
        let held = self.local.generations();
        let held = held.iter().rev().map(|serving| serving.map.generation);
        held.into_iter().find(|generation| *generation <= active).unwrap_or(active)
    }

    /// Turns clients away for this reason, or admits them if there is no reason any more.
    async fn turn_away_for(&self, objection: Option<Objection>) {
        let before = self.turned_away.replace(objection.clone());
        match (before, objection) {
            (None, Some(objection)) => {
                tracing::warn!(reason = %objection, "turning clients away");
                self.turn_away().await;
            }
            (Some(_), None) => {
                tracing::info!("letting clients in again");
                self.serves(self.state.active_generation()).await;
            }
            (Some(before), Some(objection)) if before != objection => {
                self.not_ready_yet(&objection.to_string());
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests;
