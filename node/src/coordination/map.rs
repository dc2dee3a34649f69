//! The shard map and the changes to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::UnixMillis;
use crate::placement::Shards;

/// Who serves which tables; one generation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Version of the map.
    pub generation: u64,
    /// Version of the placement rule, [`crate::placement::VERSION`].
    pub placement: u32,
    /// The shards and their weights.
    pub shards: Shards,
    /// The epoch of each table, by the table's name.
    pub tables: BTreeMap<String, u64>,
    /// The OpaqueTable that owns a table, by the table's name: it alone decides on the table's epochs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// When it was proposed.
    pub proposed_at: UnixMillis,
}

/// A change to the active map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Serves `epoch` of a table; none drops the table.
    Table {
        /// The table's name.
        table: String,
        /// Its epoch from now on.
        epoch: Option<u64>,
    },
    /// Other shards, or other weights.
    Shards(Shards),
}

impl Change {
    /// The table of `map` whose name differs from the changed table's by case alone, if there is
    /// one. SQL could not tell the two apart.
    pub(super) fn clashes_with(&self, map: &Map) -> Option<String> {
        let Self::Table { table, epoch: Some(_) } = self else { return None };
        let mut names = map.tables.keys();
        names.find(|name| *name != table && name.eq_ignore_ascii_case(table)).cloned()
    }

    /// Whether `map` is as this change would have it.
    pub(crate) fn is_in(&self, map: &Map) -> bool {
        match self {
            Self::Table { table, epoch } => map.tables.get(table) == epoch.as_ref(),
            Self::Shards(shards) => map.shards == *shards,
        }
    }

    /// The map after this change.
    pub(super) fn apply(self, map: &Map, generation: u64, proposed_at: UnixMillis) -> Map {
        let Map { generation: _, placement: _, shards, tables, owners, proposed_at: _ } =
            map.clone();
        let placement = crate::placement::VERSION;
        let mut changed = Map { generation, placement, shards, tables, owners, proposed_at };
        match self {
            Self::Table { table, epoch: Some(epoch) } => {
                changed.tables.insert(table, epoch);
            }
            Self::Table { table, epoch: None } => {
                changed.tables.remove(&table);
                changed.owners.remove(&table);
            }
            Self::Shards(shards) => changed.shards = shards,
        }
        changed
    }
}
