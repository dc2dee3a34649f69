//! Tables of the active generation that could not be loaded. This node coordinates their queries,
//! and retries to load them, concurrently with everything else.
//!
//! **Flow.** A missing table is described immediately: by the store, or by a peer if the store's
//! copy is damaged or gone. From then on, this node answers for the table through other replicas.
//! Loading is retried after a pause that doubles with each failure, one table at a time, until the
//! table is loaded or the active generation no longer has it. A loaded table is added to every
//! generation that lacks it.

mod turns;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::iter;
use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::turns::Turns;
use super::Lifecycle;
use crate::coordination::{Map, describers};
use crate::map::placement::Shards;
use crate::shard::loader::{Loader, described};
use crate::shard::served::{ServedTable, Serving};

/// Tables that are described concurrently.
const DESCRIBED: usize = 8;
/// How long the store or one peer may take to describe a table.
const DESCRIBING: Duration = Duration::from_secs(10);
/// Peers that are called for one description.
const ASKED: usize = 8;

impl Lifecycle {
    /// Describes and loads missing tables until `stop`.
    pub(super) async fn mend(&self, mut stop: watch::Receiver<bool>) {
        let loader = self.loader.aside();
        let mut turns = Turns::new(&self.config.name);
        loop {
            tokio::select! {
                () = self.mend_next(&loader, &mut turns) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One step: describes the tables that have just been found missing, or retries to load one
    /// table.
    async fn mend_next(&self, loader: &Loader, turns: &mut Turns) {
        let active = self.active_now().and_then(|active| self.local.generation(active));
        let Some(serving) = active.filter(|serving| !serving.is_whole()) else {
            self.lacking.notified().await;
            return;
        };
        let (map, new) = (serving.map.clone(), turns.keep(&missing(&serving), Instant::now()));
        // Drop the reference, so that a generation that ends can leave memory.
        drop(serving);
        iter(new)
            .map(|(table, epoch)| self.describe(loader, &map, table, epoch))
            .buffer_unordered(DESCRIBED)
            .collect::<()>()
            .await;
        let Some((table, epoch, due)) = turns.next() else { return };
        tokio::select! {
            () = sleep_until(due) => {}
            // Another generation may have become active, and may lack other tables.
            () = self.lacking.notified() => return,
        }
        if !self.load_again(loader, &map, &table, epoch).await {
            turns.failed(&table, Instant::now());
            self.describe(loader, &map, table, epoch).await;
        }
    }

    /// Loads one table, unless the active generation drops it in the meantime. Returns `false` if
    /// the table is still missing.
    async fn load_again(&self, loader: &Loader, map: &Map, table: &str, epoch: u64) -> bool {
        let alone = Map { tables: [(table.to_owned(), epoch)].into(), ..map.clone() };
        let held = self.local.in_memory();
        let loaded = tokio::select! {
            loaded = loader.load_what_can_be(&alone, &held, &|_| {}) => loaded,
            () = self.let_go(&map.shards, table, epoch) => return true,
        };
        let Some(found) = loaded.tables.get(table) else {
            let reason = loaded.missing.get(table).cloned().unwrap_or_default();
            let digit = |c: char| c.is_ascii_digit();
            tracing::debug!(table, epoch, %reason, "still missing");
            self.amend(map, table, epoch, |serving| {
                // The amount of free memory differs each time. That alone is not a new reason.
                let before = serving.missing.get(table).map(String::as_str).unwrap_or_default();
                if !before.split(digit).eq(reason.split(digit)) {
                    serving.missing.insert(table.to_owned(), reason.clone());
                }
            })
            .await;
            return false;
        };
        self.amend(map, table, epoch, |serving| {
            serving.missing.remove(table);
            serving.described.remove(table);
            serving.tables.insert(table.to_owned(), Arc::clone(found));
        })
        .await;
        tracing::info!(table, epoch, "loaded a missing table");
        true
    }

    /// Waits until the active generation has no such table.
    async fn let_go(&self, shards: &Shards, table: &str, epoch: u64) {
        let mut snapshots = self.coordination.watch();
        let gone = snapshots.wait_for(|snapshot| {
            snapshot
                .active
                .as_ref()
                .is_some_and(|map| map.shards != *shards || map.tables.get(table) != Some(&epoch))
        });
        if gone.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gets the data for coordinating a missing table's queries, if it is not known yet.
    async fn describe(&self, loader: &Loader, map: &Map, table: String, epoch: u64) {
        let now = self.local.generation(map.generation);
        if now.is_none_or(|now| now.described.contains_key(&table)) {
            return;
        }
        let by_store = timeout(DESCRIBING, loader.describe(&map.shards, &table, epoch)).await;
        let found = match by_store {
            Ok(Ok(described)) => Some(described),
            Ok(Err(_)) | Err(_) => self.described_by_peers(loader, map, &table, epoch).await,
        };
        let Some(found) = found.map(Arc::new) else { return };
        self.amend(map, &table, epoch, |serving| {
            serving.described.insert(table.clone(), Arc::clone(&found));
        })
        .await;
    }

    /// A table as described by a peer. If the store has the manifest but a public part is damaged,
    /// the peer's manifest must be the same.
    async fn described_by_peers(
        &self,
        loader: &Loader,
        map: &Map,
        table: &str,
        epoch: u64,
    ) -> Option<ServedTable> {
        let stored = timeout(DESCRIBING, loader.manifest(table, epoch)).await;
        let stored = stored.ok().and_then(Result::ok);
        let snapshot = self.coordination.watch().borrow().clone();
        let fresh = (UnixMillis::now(), self.policy().member_ttl);
        let peers = describers(&snapshot, map, table, &self.config.name, fresh);
        for peer in peers.iter().take(ASKED) {
            let asking = self.coordinator.describe(peer, table, epoch);
            let node = &peer.node;
            match timeout(DESCRIBING, asking).await {
                Ok(Ok(description))
                    if stored.as_ref().is_none_or(|stored| **stored == description.manifest) =>
                {
                    tracing::info!(table, epoch, %node, "described by a peer");
                    return Some(described(&map.shards, description));
                }
                Ok(Ok(_)) => {
                    tracing::warn!(table, epoch, %node, "a peer has another manifest than the store");
                }
                Ok(Err(error)) => tracing::debug!(table, epoch, %node, %error, "not described"),
                Err(_) => tracing::debug!(table, epoch, %node, "not described in time"),
            }
        }
        None
    }

    /// Changes what this node knows of a missing table, and reports it.
    async fn amend(&self, map: &Map, table: &str, epoch: u64, change: impl Fn(&mut Serving)) {
        self.local.amend(&map.shards, table, epoch, change);
        if let Some(active) = self.active_now() {
            self.goes_live(active).await;
        }
    }
}

/// The missing tables of a generation, with their epochs.
fn missing(serving: &Serving) -> Vec<(String, u64)> {
    let epoch = |table: &String| serving.map.tables.get(table).copied();
    let tables = serving.missing.keys();
    tables.filter_map(|table| Some((table.clone(), epoch(table)?))).collect()
}
