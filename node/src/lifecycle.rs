//! A node's life beside its queries: heartbeat, loading generations, and leading when it is its turn.
//!
//! ```text
//! proposed g+1 ─→ every node loads it ─→ leader's self-test ─→ active g+1 ─→ g retires
//!                      (serving g meanwhile)        └─→ rejected: discarded everywhere
//! ```

mod lead;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::coordination::{Coordination, Map, Policy, Snapshot, UnixMillis};
use crate::coordinator::Coordinator;
use crate::error::NodeError;
use crate::loader::Loader;
use crate::local::LocalShard;
use crate::replica::ReplicaState;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a superseded generation stays for queries that began under it.
const GRACE: Duration = Duration::from_secs(15);
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
}

impl Lifecycle {
    /// How long the leader waits for what.
    pub fn policy(&self) -> Policy {
        Policy { prepare_deadline: self.config.activation_deadline, ..Policy::default() }
    }

    /// Lives until `stop` turns true.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        tokio::join!(
            self.heartbeat(stop.clone()),
            self.follow(stop.clone()),
            self.lead(stop.clone()),
        );
        if let Err(error) = self.coordination.leave(&self.config.name).await {
            tracing::warn!(%error, "could not leave the cluster");
        }
    }

    /// Renews this node's record, at once after a change and otherwise every second.
    async fn heartbeat(&self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(HEARTBEAT);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.state.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let record = self.state.record(UnixMillis::now(), self.local.resident_bytes());
            if let Err(error) = self.coordination.heartbeat(&record).await {
                tracing::warn!(%error, "could not renew the member record");
            }
        }
    }

    /// Loads what is active or proposed, and drops what is neither any more.
    async fn follow(&self, mut stop: watch::Receiver<bool>) {
        let mut snapshots = self.coordination.watch();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let settled = self.catch_up(&snapshot).await;
            // After a failure the pause is what matters: every heartbeat of a member is a change.
            tokio::select! {
                changed = snapshots.changed(), if settled => if changed.is_err() { return },
                () = sleep(RETRY), if !settled => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One look at the state; false when something failed that may work later.
    async fn catch_up(&self, snapshot: &Snapshot) -> bool {
        let Some(active) = &snapshot.active else {
            self.state.doing("waiting for the first shard map");
            return true;
        };
        if self.local.generation(active.generation).is_none() {
            self.state.doing(format!("loading generation {}", active.generation));
            if let Err(error) = self.load(active).await {
                tracing::warn!(generation = active.generation, %error, "cannot load");
                self.state.failed(active.generation, error.to_string());
                return false;
            }
        }
        self.serve(active).await;
        let proposed = snapshot.proposed.as_ref();
        for held in self.local.generations() {
            let generation = held.map.generation;
            let wanted = proposed.is_some_and(|map| map.generation == generation);
            if generation > active.generation && !wanted {
                self.local.discard(generation);
            }
        }
        if proposed.is_none() {
            self.state.forget_failure();
        }
        if let Some(map) = proposed {
            let held = self.local.generation(map.generation).is_some();
            if !held && self.state.failed_generation() != Some(map.generation) {
                match self.load(map).await {
                    Ok(()) => self.state.prepared(map.generation),
                    Err(error) => {
                        tracing::warn!(generation = map.generation, %error, "cannot prepare");
                        self.state.failed(map.generation, error.to_string());
                    }
                }
            }
        }
        true
    }

    /// Turns new queries to a loaded generation, and lets older ones go after a grace time.
    async fn serve(&self, active: &Map) {
        let generation = active.generation;
        let record = self.state.record(UnixMillis::now(), 0);
        if record.active_generation == generation {
            return;
        }
        self.state.active(generation);
        self.health.set_service_status("", ServingStatus::Serving).await;
        tracing::info!(generation, tables = active.tables.len(), "serving");
        let local = Arc::clone(&self.local);
        tokio::spawn(async move {
            sleep(GRACE).await;
            local.retire_below(generation);
        });
    }

    /// Loads a generation from the store.
    async fn load(&self, map: &Map) -> Result<(), NodeError> {
        let serving = self.loader.load(map, &self.local.generations()).await?;
        self.local.install(serving);
        Ok(())
    }
}
