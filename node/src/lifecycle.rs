//! A node's life beside its queries: heartbeat, loading generations, and leading when it is its turn.
//!
//! ```text
//! proposed g+1 ─→ every node loads it ─→ leader's self-test ─→ active g+1 ─→ g retires
//!                      (serving g meanwhile)        └─→ rejected: discarded everywhere
//! ```

mod lead;
mod missing;
mod readiness;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opaque_ops::admin::Readiness;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::coordination::{Coordination, Map, Policy, Snapshot, UnixMillis};
use crate::coordinator::Coordinator;
use crate::error::NodeError;
use crate::loader::{Loader, Progress};
use crate::local::LocalShard;
use crate::placement::ShardId;
use crate::replica::ReplicaState;

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
        tokio::join!(
            self.heartbeat(stop.clone()),
            self.follow(stop.clone()),
            self.mend(stop.clone()),
            self.retire(stop.clone()),
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
            return self.waits("waiting for the first shard map").await;
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
        for held in self.local.generations() {
            let generation = held.map.generation;
            let wanted = proposed.is_some_and(|map| map.generation == generation);
            if generation > active.generation && !wanted {
                self.local.discard(generation);
            }
        }
        match proposed {
            Some(map) => self.prepare(map, active.generation).await,
            None => self.state.forget_failure(),
        }
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

    /// Loads a proposed generation, once; again only while the store is away and the generation is
    /// still proposed, which ends with the leader's deadline.
    async fn prepare(&self, map: &Map, active: u64) {
        let generation = map.generation;
        if self.local.generation(generation).is_some()
            || self.state.failed_generation() == Some(generation)
        {
            return;
        }
        let told = self.tells(format!("preparing generation {generation}"));
        loop {
            let (active, held) = (self.local.generation(active), self.local.in_memory());
            match self.loader.load(map, active.as_deref(), &held, &told).await {
                Ok(mut serving) => {
                    // What was missing may have been loaded meanwhile.
                    serving.share(&self.local.in_memory());
                    if self.local.install(serving) {
                        self.state.prepared(generation);
                    }
                    return;
                }
                Err(NodeError::StoreAway(reason)) => {
                    tracing::warn!(generation, %reason, "cannot prepare yet");
                    self.state.doing(format!("generation {generation}, trying again: {reason}"));
                }
                Err(error) => {
                    tracing::warn!(generation, %error, "cannot prepare");
                    self.state.failed(generation, error.to_string());
                    return;
                }
            }
            sleep(RETRY).await;
            let snapshot = self.coordination.watch().borrow().clone();
            if snapshot.proposed.as_ref().is_none_or(|map| map.generation != generation) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
