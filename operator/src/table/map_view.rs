//! A shard map, as the tables' controller reads it.

use std::collections::BTreeSet;

use opaque_crds::OpaqueShardMap;
use opaque_crds::shard_map::{Rejection, ShardMap};

use crate::labels::TABLES;

/// How many maps in a row a newer epoch may replace.
const REPLACED: i64 = 3;

/// A parsed shard map.
#[derive(Debug, Clone)]
pub(super) struct MapView<'a> {
    /// The proposed map, or the last one that was proposed.
    pub proposed: &'a ShardMap,
    /// The active map.
    pub active: Option<&'a ShardMap>,
    /// The rejection of `proposed`, if any.
    pub rejection: Option<&'a Rejection>,
    /// Generations that were withdrawn.
    withdrawn: BTreeSet<i64>,
    /// SQL names of the tables that the operator owns.
    pub owned: BTreeSet<String>,
    /// The highest generation that was ever proposed.
    pub(super) last: i64,
}

impl<'a> MapView<'a> {
    /// Reads a map.
    pub(super) fn new(map: &'a OpaqueShardMap) -> Self {
        let status = map.status.as_ref();
        let proposed = &map.spec.map;
        let active = map.active();
        let rejected = status.map_or(&[][..], |status| &status.rejected);
        let rejection =
            rejected.iter().find(|rejection| rejection.generation == proposed.generation);
        let given_up = rejected.iter().chain(&map.spec.withdrawn);
        let generations = given_up.map(|rejection| rejection.generation);
        let last = generations.chain(active.map(|active| active.generation)).max().unwrap_or(0);
        let annotations = map.metadata.annotations.as_ref();
        let owned = annotations.and_then(|all| all.get(TABLES)).map(|names| owned(names));
        let mut owned = owned.unwrap_or_default();
        let entries = active.iter().flat_map(|map| &map.tables);
        owned
            .extend(entries.filter(|entry| entry.owner.is_some()).map(|entry| entry.table.clone()));
        Self {
            proposed,
            active,
            rejection,
            withdrawn: map.spec.withdrawn.iter().map(|one| one.generation).collect(),
            owned,
            last: last.max(proposed.generation),
        }
    }

    /// Whether the nodes have yet to decide on the proposed map.
    pub(super) fn is_waiting(&self) -> bool {
        let active = self.active.map_or(0, |active| active.generation);
        let waits = self.proposed.generation > active;
        waits && self.rejection.is_none() && !self.withdrawn.contains(&self.proposed.generation)
    }

    /// Whether several maps before the proposed one were withdrawn. The nodes must then decide on
    /// this one. Otherwise a table that gets epochs faster than nodes load them would never serve a
    /// new one.
    pub(super) fn is_due(&self) -> bool {
        (1..=REPLACED).all(|before| self.withdrawn.contains(&(self.proposed.generation - before)))
    }

    /// The active epoch of a table.
    pub(super) fn active_epoch(&self, table: &str) -> Option<i64> {
        self.active.and_then(|map| epoch(map, table))
    }

    /// The epoch of a table in the proposed map.
    pub(super) fn proposed_epoch(&self, table: &str) -> Option<i64> {
        epoch(self.proposed, table)
    }

    /// A table of the map that SQL cannot distinguish from `table` and that the operator does not
    /// own.
    pub(super) fn foreign(&self, table: &str) -> Option<&'a str> {
        let maps = self.active.into_iter().chain([self.proposed]);
        let mut names = maps.flat_map(|map| &map.tables).map(|entry| entry.table.as_str());
        names.find(|name| name.eq_ignore_ascii_case(table) && !self.owned.contains(*name))
    }
}

fn owned(annotation: &str) -> BTreeSet<String> {
    serde_json::from_str(annotation).unwrap_or_else(|error| {
        // Without the list nothing is removed. Tables are added to it again when they change.
        tracing::warn!(%error, "annotation {TABLES} of the shard map cannot be read");
        BTreeSet::new()
    })
}

fn epoch(map: &ShardMap, table: &str) -> Option<i64> {
    map.tables.iter().find(|entry| entry.table == table).map(|entry| entry.epoch)
}
