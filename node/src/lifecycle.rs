//! The tasks of a node apart from queries: it sends heartbeats, loads generations, and leads if it
//! is elected.
//!
//! ```text
//! proposed g+1 ─→ every node loads it ─→ leader's self-test ─→ active g+1 ─→ g retires
//!                      (g is still served)          └─→ rejected: discarded everywhere
//! ```

mod lead;
mod metrics;
mod missing;
mod prepare;
mod probe;
mod reach;
mod readiness;
mod store;
mod turn;
mod turned_away;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opaque_ops::admin::Readiness;
use opaque_store::UnixMillis;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::coordination::{Coordination, Map, Policy, Snapshot, Standing};
use crate::map::call::Greeter;
use crate::map::placement::ShardId;
use crate::query::coordinator::Coordinator;
use crate::shard::loader::{Loader, Progress};
use crate::shard::local::LocalShard;
use crate::shard::replica::ReplicaState;
use crate::shard::served::Serving;

pub use self::metrics::{Outlook, ProbeMetrics};
pub use self::turned_away::TurnedAway;

/// Shortest pause between two renewals of the record, however often it changes.
const BETWEEN: Duration = Duration::from_millis(200);
/// Shortest time between two reports of a load's progress. Each report writes the record.
const TELLING: Duration = Duration::from_secs(1);
/// Reason for not being ready while the node shuts down.
pub const DRAINING: &str = "draining";
/// Pause after a step that failed temporarily.
const RETRY: Duration = Duration::from_secs(1);

/// State of the tasks of a node.
pub struct Lifecycle {
    /// Settings.
    pub config: Config,
    /// The state that nodes agree on.
    pub coordination: Arc<dyn Coordination>,
    /// Data of this node's shard.
    pub local: Arc<LocalShard>,
    /// Loads generations from the store.
    pub loader: Loader,
    /// State that this node reports about itself.
    pub state: Arc<ReplicaState>,
    /// Runs self-tests.
    pub coordinator: Arc<Coordinator>,
    /// Checks whether other nodes respond.
    pub greeter: Arc<dyn Greeter>,
    /// Why clients are turned away although this node serves.
    pub turned_away: TurnedAway,
    /// Results of probes.
    pub probes: ProbeMetrics,
    /// Result of gRPC health checks.
    pub health: HealthReporter,
    /// Result of readiness probes.
    pub readiness: Readiness,
    /// Becomes true when this node must give up the lead and its readiness.
    pub retiring: watch::Receiver<bool>,
    /// Notified when this node lacks a table of the active generation.
    pub lacking: Notify,
}

impl Lifecycle {
    /// Deadlines of the leader.
    pub fn policy(&self) -> Policy {
        let member_ttl = self.coordination.rhythm().member_ttl;
        let prepare_deadline = self.config.prepare_deadline;
        Policy { prepare_deadline, member_ttl, ..Policy::default() }
    }

    /// Runs until `stop` turns true, and takes part in elections until `retiring` does.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut stopped = stop.clone();
        tokio::select! {
            () = self.recall() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        tokio::join!(
            self.heartbeat(stop.clone()),
            self.follow(stop.clone()),
            self.mend(stop.clone()),
            self.retire(stop.clone()),
            self.watch_reach(stop.clone()),
            self.watch_store(stop.clone()),
            self.lead(self.retiring.clone()),
        );
        if let Err(error) = self.coordination.leave(&self.config.name).await {
            tracing::warn!(%error, "could not leave the cluster");
        }
    }

    /// Renews this node's record: immediately after a change, otherwise at the backend's interval.
    async fn heartbeat(&self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(self.coordination.rhythm().heartbeat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.state.changed() => tick.reset(),
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let record = self.state.record(UnixMillis::now(), self.local.resident_bytes());
            let failed = self.coordination.heartbeat(&record).await.err();
            if failed.is_none() {
                self.state.wrote(&record);
            }
            match &failed {
                None if failing => tracing::info!("renewing the member record succeeds again"),
                Some(error) if !failing => {
                    tracing::warn!(%error, "could not renew the member record; retrying");
                }
                Some(_) | None => {}
            }
            failing = failed.is_some();
            tokio::select! {
                () = sleep(BETWEEN) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Loads the active and the proposed generation, and drops those that are neither any more.
    async fn follow(&self, mut stop: watch::Receiver<bool>) {
        let mut snapshots = self.coordination.watch();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            // A generation is installed only when it is complete, so a load may be interrupted
            // anywhere.
            tokio::select! {
                () = self.catch_up(&snapshot) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Handles one state of the cluster.
    ///
    /// A node that cannot load all of the active generation still prepares a proposed one, since a
    /// new epoch is the way to repair a damaged one.
    async fn catch_up(&self, snapshot: &Snapshot) {
        let Some(active) = &snapshot.active else {
            return self.before_the_first(snapshot).await;
        };
        if !active.shards.contains(ShardId(self.config.shard)) {
            let (shard, count) = (self.config.shard, active.shards.count());
            let reason = format!(
                "waiting: shard {shard} is not in the map of generation {}, which has {count} shards",
                active.generation
            );
            return self.waits(&reason).await;
        }
        self.catch_up_with(active).await;
        if self.active_now() != Some(active.generation) {
            // A newer generation has become active, which comes first.
            return;
        }
        let proposed = snapshot.proposed.as_ref();
        let given_up = self.give_up(active, proposed, snapshot.standing.is_lost());
        match proposed {
            Some(map) => self.prepare(map, Some(active), &given_up).await,
            None => {
                self.state.rests();
                self.state.forget_failure();
            }
        }
    }

    /// Waits for a map to become active, and prepares a proposed one: that of a map which was lost
    /// while no node served it.
    async fn before_the_first(&self, snapshot: &Snapshot) {
        let reason = match (&snapshot.proposed, &snapshot.standing) {
            (Some(map), _) if map.shards.contains(ShardId(self.config.shard)) => {
                self.prepare(map, None, &[]).await;
                if self.state.failed_generation() == Some(map.generation) {
                    return;
                }
                format!("waiting for generation {} to become active", map.generation)
            }
            (_, Standing::Lost(loss)) => {
                format!("waiting: {loss}; the leader writes again what is served")
            }
            _ => "waiting for the first shard map".to_owned(),
        };
        self.waits(&reason).await;
    }

    /// Loads the active generation, or as many of its tables as possible, and serves it. The
    /// [missing](missing) tables are loaded later, concurrently with everything else.
    async fn catch_up_with(&self, active: &Map) {
        let generation = active.generation;
        if self.local.generation(generation).is_none() {
            let held = self.local.in_memory();
            let told = self.tells(format!("loading generation {generation}"));
            let serving = self.loader.load_what_can_be(active, &held, &told).await;
            for (table, reason) in &serving.missing {
                tracing::warn!(generation, table, %reason, "a table cannot be loaded");
            }
            if !self.local.install(serving) {
                tracing::info!(
                    generation,
                    "loaded too late: peers have already dropped this generation"
                );
                return;
            }
        }
        self.goes_live(generation).await;
    }

    /// Reports what this node is loading, and periodically how far it is.
    fn tells(&self, what: String) -> impl Fn(Progress) + Send + Sync {
        self.state.doing(what.clone());
        self.not_ready_yet(&what);
        let last = Mutex::new(Instant::now());
        move |progress| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= TELLING {
                *last = Instant::now();
                let said = format!("{what}: {progress}");
                self.not_ready_yet(&said);
                self.state.doing(said);
            }
        }
    }
}

/// Whether a loaded generation is this map. A number may be used again if a map was lost.
fn is_of(held: &Serving, map: &Map) -> bool {
    let Map { generation, shards, tables, .. } = map;
    held.map.generation == *generation && held.map.shards == *shards && held.map.tables == *tables
}

#[cfg(test)]
pub(crate) mod tests;
