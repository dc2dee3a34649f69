//! Loads a proposed generation while the active one is served: one replica of a shard after the
//! other, within the memory limit, and only while it is proposed.

use std::sync::Arc;
use std::time::Duration;

use opaque_store::UnixMillis;
use tokio::time::{Instant, sleep};

use super::turn::{Turn, turn};
use super::{Lifecycle, RETRY, is_of};
use crate::coordination::{Map, Snapshot};
use crate::error::NodeError;
use crate::map::placement::ShardId;
use crate::shard::loader::Refusal;
use crate::shard::served::Serving;

/// Longest pause before a store that could not be read is tried again.
const STORE_RETRY: Duration = Duration::from_secs(10);

/// Result of an attempt to prepare a generation.
enum Attempt {
    /// The generation is installed, or was loaded too late.
    Over,
    /// The generation will fit when superseded ones are gone.
    NoRoomYet,
    /// Another replica of the shard comes first.
    NotYet {
        /// Name of that replica.
        first: String,
    },
}

impl Lifecycle {
    /// Reads from the record of the previous process which generation it was loading when it ended.
    /// Waits until the cluster's state is reachable, since the first heartbeat replaces the record.
    pub(super) async fn recall(&self) {
        loop {
            match self.coordination.members().await {
                Ok(members) => {
                    let own = members.iter().find(|member| member.node == self.config.name);
                    return own.into_iter().for_each(|before| self.state.recall(before));
                }
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "cannot read this node's former record; retrying");
                    sleep(RETRY).await;
                }
                Err(error) => {
                    return tracing::warn!(%error, "cannot read this node's former record");
                }
            }
        }
    }

    /// Drops generations above the active one that are no longer proposed. Returns those of their
    /// tables that the proposed map also has, so that they are not loaded a second time. If the
    /// stored map is `lost`, peers may serve a generation that is not known here, so nothing is
    /// dropped.
    pub(super) fn give_up(
        &self,
        active: &Map,
        proposed: Option<&Map>,
        lost: bool,
    ) -> Vec<Arc<Serving>> {
        let mut shared = Vec::new();
        for held in self.local.generations() {
            let generation = held.map.generation;
            let wanted = proposed.is_some_and(|map| is_of(&held, map));
            if generation > active.generation && !wanted && !lost {
                shared.extend(proposed.and_then(|map| common(&held, map)).map(Arc::new));
                self.local.discard(generation);
            }
        }
        shared
    }

    /// Loads a proposed generation, once, and shares tables of `given_up`. Ends when the generation
    /// is no longer proposed, and drops it then. Tables that the `active` generation lacks may be
    /// missing here too. While no map is active, the tables that can be loaded suffice, as after a
    /// restart.
    pub(super) async fn prepare(&self, map: &Map, active: Option<&Map>, given_up: &[Arc<Serving>]) {
        let generation = map.generation;
        if self.local.generation(generation).is_some_and(|held| is_of(&held, map))
            || self.state.failed_generation() == Some(generation)
        {
            return;
        }
        if self.state.preparing() == Some(generation) {
            // The record keeps stating which generation it was preparing, for the shard's other
            // replicas.
            return self.cannot_prepare(
                generation,
                format!(
                    "this node ended while it prepared generation {generation}, for lack of memory or by a fault: find out how its last process ended, then request the change again"
                ),
            );
        }
        tokio::select! {
            () = self.prepare_in_turn(map, active, given_up) => {}
            () = self.until_nobody_wants(generation) => {
                tracing::info!(generation, "not prepared: it is no longer proposed");
            }
        }
        self.state.rests();
    }

    async fn prepare_in_turn(&self, map: &Map, active: Option<&Map>, given_up: &[Arc<Serving>]) {
        let (generation, since) = (map.generation, Instant::now());
        let mut away = 0;
        loop {
            let mut pause = RETRY;
            let said = match self.attempt(map, active, given_up, since).await {
                Ok(Attempt::Over) => return,
                Ok(Attempt::NotYet { first }) => {
                    self.state
                        .doing(format!("generation {generation}: node {first} prepares first"));
                    self.until_its_turn(generation, since).await;
                    continue;
                }
                Ok(Attempt::NoRoomYet) => "waiting until older tables leave memory".to_owned(),
                Err(NodeError::StoreAway(reason)) => {
                    away += 1;
                    pause = RETRY.saturating_mul(away).min(STORE_RETRY);
                    tracing::warn!(generation, %reason, "cannot prepare yet");
                    format!("trying again: {reason}")
                }
                Err(error) if active.is_none() && !matches!(error, NodeError::Refused(_)) => {
                    tracing::warn!(generation, %error, "preparing without a table");
                    return self.prepare_what_can_be(map, error.to_string()).await;
                }
                Err(error) => return self.cannot_prepare(generation, error.to_string()),
            };
            self.state.rests();
            self.state.doing(format!("generation {generation}, {said}"));
            sleep(pause).await;
        }
    }

    /// Plans and admits the load of a generation, and loads it if it is this replica's turn.
    async fn attempt(
        &self,
        map: &Map,
        active: Option<&Map>,
        given_up: &[Arc<Serving>],
        since: Instant,
    ) -> Result<Attempt, NodeError> {
        let generation = map.generation;
        let held = [self.local.in_memory(), given_up.to_vec()].concat();
        let serving = active.and_then(|active| self.local.generation(active.generation));
        let plan = self.loader.plan(map, serving.as_deref(), &held).await?;
        // Admission comes before the turn, so that all replicas of a shard refuse at once what does
        // not fit.
        let reserved = self.loader.admit(&plan, &held, self.active_now().unwrap_or(0));
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(Refusal::Later(_)) => return Ok(Attempt::NoRoomYet),
            Err(Refusal::Never(shortage)) => return Err(NodeError::memory(shortage)),
        };
        // Drop the references, so that generations that end can leave memory.
        drop((held, serving));
        if !plan.is_held() {
            match self.turn(generation, since) {
                Turn::Load => {}
                Turn::After(first) => return Ok(Attempt::NotYet { first }),
                Turn::Never(node) => {
                    return Err(NodeError::Refused(format!(
                        "node {node} of the same shard ended while it prepared this generation, and this node does not try: find out how that node's last process ended, then request the change again"
                    )));
                }
            }
            self.state.prepares(generation).await;
        }
        let told = self.tells(format!("preparing generation {generation}"));
        let mut serving = self.loader.carry_out(plan, &told).await?;
        // A missing table may have been loaded in the meantime.
        serving.share(&self.local.in_memory());
        if self.local.install(serving) {
            self.state.prepared(generation);
        }
        drop(reserved);
        Ok(Attempt::Over)
    }

    /// Loads as many tables as possible. `reason` states why not all of them.
    async fn prepare_what_can_be(&self, map: &Map, reason: String) {
        let generation = map.generation;
        self.state.prepares(generation).await;
        let told = self.tells(format!("preparing generation {generation}"));
        let held = self.local.in_memory();
        let serving = self.loader.load_what_can_be(map, &held, &told).await;
        if serving.tables.is_empty() {
            self.cannot_prepare(generation, reason);
        } else if self.local.install(serving) {
            self.state.prepared(generation);
        }
    }

    fn cannot_prepare(&self, generation: u64, reason: String) {
        tracing::warn!(generation, %reason, "cannot prepare");
        self.state.failed(generation, reason);
    }

    /// Whether it is this replica's turn. It has waited since `since`.
    fn turn(&self, generation: u64, since: Instant) -> Turn {
        let snapshot = self.coordination.watch().borrow().clone();
        let me = (self.config.name.as_str(), ShardId(self.config.shard));
        let ttl = self.coordination.rhythm().member_ttl;
        turn(generation, me, since.elapsed(), &snapshot.members, UnixMillis::now(), ttl)
    }

    async fn until_its_turn(&self, generation: u64, since: Instant) {
        let mut snapshots = self.coordination.watch();
        while matches!(self.turn(generation, since), Turn::After(_)) {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                // Silence of a member does not change the snapshot.
                () = sleep(RETRY) => {}
            }
        }
    }

    /// Waits until a generation is no longer proposed. If it has become active while it is being
    /// loaded, the load continues.
    async fn until_nobody_wants(&self, generation: u64) {
        let is = |map: &Option<Map>| map.as_ref().is_some_and(|map| map.generation == generation);
        let unwanted = |snapshot: &Arc<Snapshot>| {
            let loading = self.state.preparing() == Some(generation);
            let wanted = is(&snapshot.proposed) || (loading && is(&snapshot.active));
            !wanted
        };
        // The sender lives as long as the coordination.
        let _ = self.coordination.watch().wait_for(unwanted).await;
    }
}

/// The tables of a generation that `map` has unchanged.
fn common(held: &Serving, map: &Map) -> Option<Serving> {
    let mut tables = held.tables.clone();
    tables.retain(|name, table| map.tables.get(name) == Some(&table.manifest.epoch));
    let is_same = held.map.shards == map.shards && !tables.is_empty();
    let (missing, described) = ([].into(), [].into());
    is_same.then(|| Serving { map: held.map.clone(), tables, missing, described })
}
