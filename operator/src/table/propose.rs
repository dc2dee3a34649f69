//! Decides which tables of a cluster's shard map are proposed to the nodes, and when.
//!
//! **Guarantees.** [`propose`] changes only the tables of a map, and only those that the operator
//! owns. A map is proposed only if no other is waiting, or in place of the operator's own proposal.
//! One table changes at a time, so that the rejection of a map is the rejection of one epoch. An
//! epoch that was rejected is proposed again only after its table's spec has changed.
//!
//! **Owners.** The map records the name of the OpaqueTable of each table that has one. Nodes then
//! refuse to load or roll back the table. A map of an earlier version gets the owners by a proposal
//! that changes nothing else.
//!
//! **Withdrawal.** A waiting map is withdrawn as soon as a table that it changes should have
//! another epoch: its OpaqueTable was deleted, pins another epoch, or has a newer one. The nodes'
//! leader activates a map by a write that replaces the version it has read. The withdrawal is a
//! write of the same kind, so exactly one of the two succeeds.
//!
//! **Fairness.** Among several tables, the one whose epoch was published first goes first. A table
//! that gets epochs faster than they can be served therefore cannot hold back the others. It cannot
//! block itself either: after three epochs that were replaced by newer ones, the nodes decide on
//! the fourth.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueTable;
use opaque_crds::shard_map::{ShardMap, TableEpoch};
use opaque_crds::table::OpaqueTableStatus;

use super::epochs;
use super::map_view::MapView;

/// Pause after the nodes rejected the removal of tables.
const REMOVAL_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Pause after the last proposal before a proposal that changes only owners. Nodes and custom
/// resources of an earlier version drop the owners again.
const OWNERS_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The tables of a namespace that belong to a map's cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterTables {
    /// The tables that exist and are not being deleted.
    pub readable: Vec<OpaqueTable>,
    /// SQL names of tables that exist and cannot be read. They stay in the map unchanged.
    pub unreadable: BTreeSet<String>,
    /// Whether a node of an earlier version runs. It would drop the owners of tables when it leads,
    /// so the map gets them only after all nodes are newer.
    pub loses_owners: bool,
}

/// A change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The map to propose; `None` if it stays.
    pub map: Option<ShardMap>,
    /// Why the same write withdraws the proposed map that waits for the nodes; `None` if no map
    /// waits.
    pub withdraws: Option<String>,
    /// The tables that the operator owns from now on.
    pub owned: BTreeSet<String>,
}

/// Result of examining a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No change is needed until something else changes.
    Settled,
    /// No change may be made before this time.
    Later(Timestamp),
    /// A change must be written.
    Propose(Proposal),
}

/// The next change of a map, if it is due. A proposal that is no longer wanted is withdrawn, and
/// the next one does not wait for it.
pub(super) fn propose(map: &MapView<'_>, tables: &ClusterTables, now: Timestamp) -> Outcome {
    let Some(active) = map.active else { return Outcome::Settled };
    if is_unheard(map, tables) {
        return Outcome::Settled;
    }
    if !map.is_waiting() {
        return next(map, active, tables, now);
    }
    let Some(reason) = tables.unwanted(map, active) else { return Outcome::Settled };
    let withdraws = Some(reason);
    match next(map, active, tables, now) {
        Outcome::Propose(next) => Outcome::Propose(Proposal { withdraws, ..next }),
        Outcome::Settled | Outcome::Later(_) => {
            Outcome::Propose(Proposal { map: None, withdraws, owned: map.owned.clone() })
        }
    }
}

/// The next change of a map for which no proposal waits.
fn next(map: &MapView<'_>, active: &ShardMap, tables: &ClusterTables, now: Timestamp) -> Outcome {
    let gone: BTreeSet<&String> = map.owned.iter().filter(|name| !tables.has(name)).collect();
    let served = |name: &str| map.active_epoch(name).is_some();
    let mut owned = map.owned.clone();
    owned.retain(|name| !gone.contains(name) || served(name));
    owned.extend(tables.served(map).map(OpaqueTable::sql_name));

    let mut changed = active.clone();
    let adopts = tables.put_owners(map, &mut changed);
    let pause = removal_pause(map, &gone);
    if gone.iter().any(|name| served(name)) && pause.is_none_or(|until| until <= now) {
        // The operator owns them until the nodes have dropped them, because the proposal may be
        // rejected.
        changed.tables.retain(|entry| !gone.contains(&entry.table));
    } else if let Some(next) = tables.next(map) {
        owned.insert(next.table.clone());
        changed.tables.retain(|entry| entry.table != next.table);
        changed.tables.push(next);
        changed.tables.sort_by(|one, other| one.table.cmp(&other.table));
    } else {
        let due =
            adopts.then(|| map.proposed.proposed_at.0.checked_add(OWNERS_PAUSE).ok()).flatten();
        if due.is_none_or(|at| at > now) {
            if owned != map.owned {
                return Outcome::Propose(Proposal { map: None, withdraws: None, owned });
            }
            let later = pause.into_iter().chain(due).min();
            return later.map_or(Outcome::Settled, Outcome::Later);
        }
    }
    changed.generation = map.last + 1;
    changed.proposed_at = Time(now);
    Outcome::Propose(Proposal { map: Some(changed), withdraws: None, owned })
}

/// Whether the proposed map was rejected, but the affected table has not recorded that yet.
fn is_unheard(map: &MapView<'_>, tables: &ClusterTables) -> bool {
    let Some(rejection) = map.rejection else { return false };
    tables.readable.iter().any(|table| {
        let name = table.sql_name();
        let proposed = map.proposed_epoch(&name);
        if proposed == map.active_epoch(&name) {
            return false;
        }
        let epochs = table.status.iter().flat_map(|status| &status.epochs);
        let entry = epochs.into_iter().find(|entry| Some(entry.epoch) == proposed);
        entry.is_some_and(|entry| {
            let heard = entry.rejected.as_ref().map(|rejected| rejected.map_generation);
            heard.is_none_or(|heard| heard < rejection.generation)
        })
    })
}

/// Whether a proposed epoch is valid and only no longer the newest.
fn is_behind(table: &OpaqueTable, status: &OpaqueTableStatus, proposed: Option<i64>) -> bool {
    let known = status.epochs.iter().any(|entry| Some(entry.epoch) == proposed);
    known && table.spec.epoch.is_none()
}

/// Until when the removal of tables pauses, after the nodes rejected it.
fn removal_pause(map: &MapView<'_>, gone: &BTreeSet<&String>) -> Option<Timestamp> {
    map.rejection?;
    let mut removed = gone.iter().filter(|name| map.active_epoch(name).is_some());
    removed.find(|name| map.proposed_epoch(name).is_none())?;
    map.proposed.proposed_at.0.checked_add(REMOVAL_PAUSE).ok()
}

impl ClusterTables {
    /// Whether a table with this name exists.
    fn has(&self, name: &str) -> bool {
        self.unreadable.contains(name) || self.readable.iter().any(|table| table.sql_name() == name)
    }

    /// The tables whose epochs the map serves. The operator owns them, whatever the annotation
    /// says.
    fn served(&self, map: &MapView<'_>) -> impl Iterator<Item = &OpaqueTable> {
        self.readable.iter().filter(|table| {
            let epochs = table.status.iter().flat_map(|status| &status.epochs);
            let active = map.active_epoch(&table.sql_name());
            active.is_some_and(|active| epochs.into_iter().any(|entry| entry.epoch == active))
        })
    }

    /// Adds the owner of every OpaqueTable's table. Returns whether one was missing.
    fn put_owners(&self, map: &MapView<'_>, changed: &mut ShardMap) -> bool {
        let mut lacked = false;
        if self.loses_owners {
            return lacked;
        }
        for table in self.served(map) {
            let name = table.sql_name();
            let mut entries = changed.tables.iter_mut();
            let Some(entry) = entries.find(|entry| entry.table == name) else { continue };
            let owner = table.metadata.name.clone();
            lacked |= entry.owner != owner;
            entry.owner = owner;
        }
        lacked
    }

    /// Why the waiting map is no longer wanted. `None` if it is wanted, or if the operator cannot
    /// judge it.
    fn unwanted(&self, map: &MapView<'_>, active: &ShardMap) -> Option<String> {
        if map.proposed.shards != active.shards {
            return None;
        }
        let maps = [active, map.proposed];
        let names: BTreeSet<&str> =
            maps.iter().flat_map(|map| &map.tables).map(|entry| entry.table.as_str()).collect();
        let mut changed =
            names.into_iter().filter(|name| map.active_epoch(name) != map.proposed_epoch(name));
        changed.find_map(|name| self.objection(map, name))
    }

    /// Why the proposed epoch of a table differs from what its OpaqueTable requests.
    fn objection(&self, map: &MapView<'_>, name: &str) -> Option<String> {
        if self.unreadable.contains(name) || !map.owned.contains(name) {
            return None;
        }
        let proposed = map.proposed_epoch(name);
        let Some(table) = self.readable.iter().find(|table| table.sql_name() == name) else {
            let deleted = proposed.is_some();
            return deleted.then(|| format!("the OpaqueTable of table {name} was deleted"));
        };
        let status = table.status.as_ref()?;
        let wanted = epochs::choose(table, status).epoch;
        if wanted == proposed || (is_behind(table, status, proposed) && map.is_due()) {
            return None;
        }
        Some(match wanted {
            Some(epoch) => format!("table {name} is to serve epoch {epoch}"),
            None => format!("table {name} is to keep the epoch that it serves"),
        })
    }

    /// The table whose turn it is, and its epoch.
    fn next(&self, map: &MapView<'_>) -> Option<TableEpoch> {
        let mut waiting = Vec::new();
        for table in &self.readable {
            let Some(status) = &table.status else { continue };
            let Some(epoch) = epochs::choose(table, status).epoch else { continue };
            let name = table.sql_name();
            if map.active_epoch(&name) != Some(epoch) {
                let entry = status.epochs.iter().find(|entry| entry.epoch == epoch);
                let owner = table.metadata.name.clone().filter(|_| !self.loses_owners);
                waiting.push((entry.map(|entry| entry.published.0), name, epoch, owner));
            }
        }
        let (_, table, epoch, owner) = waiting.into_iter().min()?;
        Some(TableEpoch { table, epoch, owner })
    }
}
