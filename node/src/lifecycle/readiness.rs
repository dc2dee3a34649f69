//! Decides when clients are admitted and turned away, and when old generations are dropped.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic_health::ServingStatus;

use super::{DRAINING, Lifecycle};
use crate::shard::served::Serving;

impl Lifecycle {
    /// How long a superseded generation stays: as long as a query that began under it may take,
    /// including reading it.
    pub(super) fn grace(&self) -> Duration {
        self.config.query_deadline() * 2
    }

    /// Drops older generations after the grace time, whatever this node is loading, and whether or
    /// not it has caught up. Its peers have dropped them too, so no query could be answered from
    /// them.
    pub(super) async fn retire(&self, mut stop: watch::Receiver<bool>) {
        let mut snapshots = self.coordination.watch();
        let mut newest = None;
        let mut due = VecDeque::new();
        loop {
            let active = snapshots.borrow_and_update().active.as_ref().map(|map| map.generation);
            if let Some(generation) = active.filter(|_| active > newest) {
                newest = active;
                due.push_back((Instant::now() + self.grace(), generation));
            }
            let next = due.front().map(|(at, _)| *at);
            let next = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = next => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let now = Instant::now();
            while let Some((_, generation)) = due.pop_front_if(|(at, _)| *at <= now) {
                self.local.retire_below(generation);
                self.turn_away().await;
            }
        }
    }

    /// The active generation at this moment. The snapshot that this node works on may be older.
    pub(super) fn active_now(&self) -> Option<u64> {
        self.coordination.watch().borrow().active.as_ref().map(|map| map.generation)
    }

    /// UID of the object from which the active map was read.
    pub(super) fn map_uid(&self) -> Option<String> {
        self.coordination.watch().borrow().map_uid.clone()
    }

    /// Reports what this node serves of an active generation, and admits clients if that is
    /// anything.
    pub(super) async fn goes_live(&self, generation: u64) {
        let Some(serving) = self.local.generation(generation) else { return };
        self.state.lacks(&serving.missing);
        // This also applies to a complete generation: tables that were missing in the previous one
        // are no longer loaded.
        self.lacking.notify_one();
        if !serving.has_answers() {
            let reason = nothing_to_serve(&serving);
            self.not_ready_yet(&reason);
            self.state.doing(reason);
            self.turn_away().await;
        } else if self.state.active(&serving, self.map_uid().as_deref()) {
            self.serves(generation).await;
            let (tables, missing) = (serving.tables.len(), serving.missing.len());
            tracing::info!(generation, tables, missing, "serving");
        }
    }

    /// Admits clients. Does nothing if this node is shutting down, if another node serves them
    /// better, or if another generation than the loaded one is active by now, since peers may drop
    /// this one at any moment.
    pub(super) async fn serves(&self, generation: u64) {
        if *self.retiring.borrow() || self.active_now() != Some(generation) {
            return;
        }
        if let Some(reason) = self.turned_away.reason() {
            return self.readiness.not_ready(reason);
        }
        self.readiness.ready();
        self.health.set_service_status("", ServingStatus::Serving).await;
        // The node may have started to shut down, or its generations may have been dropped, in
        // between.
        self.turn_away().await;
    }

    /// Turns clients away if this node is shutting down, has no data to answer from, or another
    /// node serves them better.
    pub(super) async fn turn_away(&self) {
        let retiring = *self.retiring.borrow();
        let refused = refusal(retiring, self.active_now(), &self.local.generations());
        let Some(reason) = refused.map(str::to_owned).or_else(|| self.turned_away.reason()) else {
            return;
        };
        // A node that is not ready has already reported a more precise reason.
        if self.readiness.is_ready() {
            self.readiness.not_ready(reason);
        }
        self.health.set_service_status("", ServingStatus::NotServing).await;
    }

    /// Waits for another map, and reports it.
    pub(super) async fn waits(&self, reason: &str) {
        self.state.doing(reason);
        self.readiness.not_ready(reason);
        self.health.set_service_status("", ServingStatus::NotServing).await;
    }

    /// Gives probes the reason why this node does not serve yet, if it does not.
    pub(super) fn not_ready_yet(&self, reason: &str) {
        if !self.readiness.is_ready() && !*self.retiring.borrow() {
            self.readiness.not_ready(reason);
        }
    }
}

/// Why a node that holds these generations, oldest first, admits no clients; `None` if it does.
///
/// A node that lacks some tables of the active generation answers for the others directly, and for
/// those through its peers. While it loads the active generation, it answers from the previous one.
fn refusal(retiring: bool, active: Option<u64>, held: &[Arc<Serving>]) -> Option<&'static str> {
    let newest = held.iter().rev().find(|serving| Some(serving.map.generation) <= active);
    match newest {
        _ if retiring => Some(DRAINING),
        None if held.is_empty() => Some("the active generation is not loaded yet"),
        Some(serving) if !serving.has_answers() => {
            Some("this node has no table of the active generation")
        }
        Some(_) | None => None,
    }
}

/// Why a node without any table of the active generation is not ready.
fn nothing_to_serve(serving: &Serving) -> String {
    let first = serving.missing.iter().next();
    let (table, reason) = first.map(|(table, reason)| (table.as_str(), reason.as_str())).unzip();
    format!(
        "no table can be served: table {:?} cannot be loaded: {}",
        table.unwrap_or_default(),
        reason.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::placement::Shards;
    use crate::shard::loader::described;
    use crate::shard::loader::tests::published;
    use crate::support::map;

    async fn held(generation: u64, present: &[&str], missing: &[&str]) -> Arc<Serving> {
        let directory = tempfile::TempDir::new().unwrap();
        let manifest = published(&directory).await.swap_remove(0);
        let shards = Shards::equal(1).unwrap();
        let table = || {
            let (manifest, public_parts) = (manifest.clone(), Vec::new());
            let description = crate::map::call::Description { manifest, public_parts };
            Arc::new(described(&shards, description))
        };
        let tables: Vec<_> = present.iter().chain(missing).map(|name| (*name, 1)).collect();
        let map = map(generation, 1, &tables);
        Arc::new(Serving {
            map,
            tables: present.iter().map(|name| ((*name).to_owned(), table())).collect(),
            missing: missing.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
            described: missing.iter().map(|name| ((*name).to_owned(), table())).collect(),
        })
    }

    #[tokio::test]
    async fn a_node_is_ready_with_one_table_or_if_there_is_none() {
        let refused = |held: &[&Arc<Serving>]| {
            let held: Vec<_> = held.iter().map(|one| Arc::clone(one)).collect();
            refusal(false, Some(5), &held)
        };
        let whole = held(5, &["a"], &[]).await;
        let part = held(5, &["a"], &["b", "c"]).await;
        let nothing = held(5, &[], &["b"]).await;
        let (empty, before, after) =
            (held(5, &[], &[]).await, held(4, &["a"], &[]).await, held(6, &["a"], &[]).await);
        assert_eq!(refused(&[&whole]), None);
        assert_eq!(refused(&[&part]), None);
        assert_eq!(refused(&[&empty]), None);
        assert_eq!(refused(&[&before]), None, "while it loads the active one");
        assert_eq!(refused(&[&before, &part, &after]), None);
        assert!(refused(&[&nothing]).is_some());
        assert!(refused(&[&before, &nothing, &after]).is_some());
        assert!(refused(&[]).is_some());
        assert_eq!(refusal(true, Some(5), &[whole]), Some(DRAINING));
    }
}
