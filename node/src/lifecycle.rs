//! A node's life beside its queries: heartbeat, loading generations, and leading when it is its turn.
//!
//! ```text
//! proposed g+1 ─→ every node loads it ─→ leader's self-test ─→ active g+1 ─→ g retires
//!                      (serving g meanwhile)        └─→ rejected: discarded everywhere
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

/// Shortest pause between two renewals of the record, however much changes.
const BETWEEN: Duration = Duration::from_millis(200);
/// Shortest time between two words about the progress of a load: each is a write to the record.
const TELLING: Duration = Duration::from_secs(1);
/// Why a node that is on its way out is not ready.
pub const DRAINING: &str = "draining";
/// Pause after a step that failed for a passing reason.
const RETRY: Duration = Duration::from_secs(1);

/// Everything that the life of a node needs.
pub struct Lifecycle {
    /// Settings.
    pub config: Config,
    /// What the nodes agree on.
    pub coordination: Arc<dyn Coordination>,
    /// What this node holds.
    pub local: Arc<LocalShard>,
    /// Loads generations from the store.
    pub loader: Loader,
    /// What this node says of itself.
    pub state: Arc<ReplicaState>,
    /// Self-tests go through it.
    pub coordinator: Arc<Coordinator>,
    /// Asks other nodes whether they answer.
    pub greeter: Arc<dyn Greeter>,
    /// Why clients are turned away though this node serves.
    pub turned_away: TurnedAway,
    /// What became of probes.
    pub probes: ProbeMetrics,
    /// What health checks see.
    pub health: HealthReporter,
    /// What probes see.
    pub readiness: Readiness,
    /// True from the moment at which this node gives up its lead and its readiness.
    pub retiring: watch::Receiver<bool>,
    /// Told when the active generation lacks a table here.
    pub lacking: Notify,
}

impl Lifecycle {
    /// How long the leader waits for what.
    pub fn policy(&self) -> Policy {
        let member_ttl = self.coordination.rhythm().member_ttl;
        let prepare_deadline = self.config.prepare_deadline;
        Policy { prepare_deadline, member_ttl, ..Policy::default() }
    }

    /// Lives until `stop` turns true, and leads until `retiring` does.
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

    /// Renews this node's record, at once after a change and otherwise in the backend's rhythm.
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
                None if failing => tracing::info!("the member record is renewed again"),
                Some(error) if !failing => {
                    tracing::warn!(%error, "could not renew the member record; trying on");
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

    /// Loads what is active or proposed, and drops what is neither any more.
    async fn follow(&self, mut stop: watch::Receiver<bool>) {
        let mut snapshots = self.coordination.watch();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            // A generation is installed when it is whole, so that a load may be cut off anywhere.
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

    /// One look at the state.
    ///
    /// A node that cannot load all of the active generation still prepares a proposed one: a new
    /// epoch is how a damaged one is repaired.
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
            // What has become active meanwhile comes first.
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

    /// Waits for a map to become active, and prepares one that is proposed: a map that was lost while
    /// no node served it.
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

    /// Loads the active generation, or as many of its tables as can be loaded, and serves it. What
    /// is missing then is loaded [beside everything else](missing).
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
                tracing::info!(generation, "loaded too late: its peers have let it go");
                return;
            }
        }
        self.goes_live(generation).await;
    }

    /// Says what this node is loading, and from time to time how far it is.
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

/// Whether a held generation is this map. A number may come again where a map was lost.
fn is_of(held: &Serving, map: &Map) -> bool {
    let Map { generation, shards, tables, .. } = map;
    held.map.generation == *generation && held.map.shards == *shards && held.map.tables == *tables
}

#[cfg(test)]
mod tests;
