//! The tables of a cluster's shard map: what is proposed to the nodes, and when.
//!
//! **Guarantees.** [`propose`] changes nothing of a map but its tables, and of those only tables
//! that are the operator's. A map is proposed only when no other waits, or in the place of its own.
//! One table changes at a time, so that the rejection of a map is the rejection of one epoch, and
//! an epoch that was rejected is proposed again only when its table's spec has changed.
//!
//! **Owners.** Each table of an OpaqueTable has its name in the map: nodes then refuse to load the
//! table, or to roll it back. A map of an earlier version gets the names by a proposal that changes
//! nothing else.
//!
//! **Withdrawal.** A map that waits is withdrawn as soon as a table that it changes is to have
//! another epoch: its OpaqueTable was deleted, pins another one, or has a newer one. The nodes'
//! leader activates a map by a write that replaces the version it has seen, and so does this: one
//! of the two happens.
//!
//! **Fairness.** Of several tables the one goes first whose epoch was published first: a table that
//! gets epochs faster than they can be served cannot hold back the others. Nor itself: after three
//! epochs that made way for newer ones the nodes decide on the fourth.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::OpaqueTable;
use opaque_crds::shard_map::{ShardMap, TableEpoch};
use opaque_crds::table::OpaqueTableStatus;

use super::epochs;
use super::map_view::MapView;

/// How long the removal of tables rests after the nodes rejected it.
const REMOVAL_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long after the last proposal owners alone are proposed: nodes and custom resources of an
/// earlier version lose them again.
const OWNERS_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The tables of a namespace that belong to a map's cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterTables {
    /// Those that exist and are not being deleted.
    pub readable: Vec<OpaqueTable>,
    /// SQL names of those that exist and cannot be read: they stay in the map as they are.
    pub unreadable: BTreeSet<String>,
    /// Whether a node of an earlier version runs, which loses the owners of tables when it leads:
    /// the map gets them once all nodes are newer.
    pub loses_owners: bool,
}

/// A change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The map to propose; none if it stays.
    pub map: Option<ShardMap>,
    /// Why the proposed map, which waits for the nodes, is withdrawn by the same write; none if it
    /// does not wait.
    pub withdraws: Option<String>,
    /// The tables that are the operator's from now on.
    pub owned: BTreeSet<String>,
}

/// What comes of looking at a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is to be changed until something else does.
    Settled,
    /// Nothing is to be changed before this time.
    Later(Timestamp),
    /// A change is to be written.
    Propose(Proposal),
}

/// The next change of a map, if its turn has come. A proposal of tables that is no longer wanted is
/// withdrawn, and the next one does not wait for it.
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
        // They stay the operator's until the nodes have dropped them: the proposal may be rejected.
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

/// Whether the proposed map was rejected, and a table does not remember that its epoch was meant.
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

/// Whether a proposed epoch is good, and only no longer the newest.
fn is_behind(table: &OpaqueTable, status: &OpaqueTableStatus, proposed: Option<i64>) -> bool {
    let known = status.epochs.iter().any(|entry| Some(entry.epoch) == proposed);
    known && table.spec.epoch.is_none()
}

/// Until when the removal of tables rests: for a while after the nodes rejected it.
fn removal_pause(map: &MapView<'_>, gone: &BTreeSet<&String>) -> Option<Timestamp> {
    map.rejection?;
    let mut removed = gone.iter().filter(|name| map.active_epoch(name).is_some());
    removed.find(|name| map.proposed_epoch(name).is_none())?;
    map.proposed.proposed_at.0.checked_add(REMOVAL_PAUSE).ok()
}

impl ClusterTables {
    /// Whether a table of this name exists.
    fn has(&self, name: &str) -> bool {
        self.unreadable.contains(name) || self.readable.iter().any(|table| table.sql_name() == name)
    }

    /// The tables whose epochs the map serves: the operator's, whatever the annotation says.
    fn served(&self, map: &MapView<'_>) -> impl Iterator<Item = &OpaqueTable> {
        self.readable.iter().filter(|table| {
            let epochs = table.status.iter().flat_map(|status| &status.epochs);
            let active = map.active_epoch(&table.sql_name());
            active.is_some_and(|active| epochs.into_iter().any(|entry| entry.epoch == active))
        })
    }

    /// Gives every table of an OpaqueTable its owner; whether one lacked it.
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

    /// Why the map that waits is no longer wanted; none if it is, or is not for the operator to
    /// judge.
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

    /// Why the proposed epoch of a table is not what its OpaqueTable asks for.
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
