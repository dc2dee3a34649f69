//! The shard map and changes to it.

use std::collections::BTreeMap;

use opaque_store::UnixMillis;
use serde::{Deserialize, Serialize};

use super::CoordinationError;
use crate::map::placement::Shards;

/// One generation of the shard map: the shards, and the epoch of each table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Version of the map.
    pub generation: u64,
    /// Version of the placement rule, [`crate::map::placement::VERSION`].
    pub placement: u32,
    /// The shards and their weights.
    pub shards: Shards,
    /// The epoch of each table, by the table's name.
    pub tables: BTreeMap<String, u64>,
    /// The OpaqueTable that owns a table, by the table's name. Only the owner decides on the
    /// table's epochs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// When the map was proposed.
    pub proposed_at: UnixMillis,
}

impl Map {
    /// Checks that clients may change a table: no OpaqueTable owns it. Case is ignored.
    ///
    /// # Errors
    /// [`CoordinationError::Owned`].
    pub(crate) fn check_owner(&self, table: &str) -> Result<(), CoordinationError> {
        let owned = self.owners.iter().find(|(name, _)| name.eq_ignore_ascii_case(table));
        match owned {
            Some((table, owner)) => {
                Err(CoordinationError::Owned { table: table.clone(), owner: owner.clone() })
            }
            None => Ok(()),
        }
    }

    /// Checks that a table may have this name: it must not differ from another table's name only by
    /// case, since SQL could not tell the two apart.
    ///
    /// # Errors
    /// [`CoordinationError::NameTaken`].
    pub(crate) fn check_name(&self, table: &str) -> Result<(), CoordinationError> {
        let mut names = self.tables.keys();
        let other = names.find(|name| *name != table && name.eq_ignore_ascii_case(table));
        match other.cloned() {
            Some(existing) => Err(CoordinationError::NameTaken { existing }),
            None => Ok(()),
        }
    }
}

/// A change to the active map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Serves `epoch` of a table, or drops the table if it is `None`.
    Table {
        /// The table's name.
        table: String,
        /// The epoch to serve.
        epoch: Option<u64>,
    },
    /// Other shards, or other weights.
    Shards(Shards),
}

impl Change {
    /// Checks that nodes may apply this change to `map`.
    ///
    /// # Errors
    /// [`CoordinationError::Owned`] and [`CoordinationError::NameTaken`].
    pub(super) fn check(&self, map: &Map) -> Result<(), CoordinationError> {
        match self {
            Self::Table { table, epoch: Some(_) } => {
                map.check_owner(table)?;
                map.check_name(table)
            }
            Self::Table { table, epoch: None } => map.check_owner(table),
            Self::Shards(_) => Ok(()),
        }
    }

    /// Whether this change may replace a proposal: the proposal concerns nothing else.
    pub(crate) fn replaces(&self, proposed: &Map, active: &Map) -> bool {
        let entry = |map: &Map, table: &str| {
            (map.tables.get(table).copied(), map.owners.get(table).cloned())
        };
        let mut tables = proposed.tables.keys().chain(active.tables.keys());
        let (own, shards) = match self {
            Self::Table { table, epoch: _ } => (Some(table), proposed.shards == active.shards),
            Self::Shards(_) => (None, true),
        };
        shards
            && tables.all(|name| Some(name) == own || entry(proposed, name) == entry(active, name))
    }

    /// Whether `map` already contains this change.
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
        let placement = crate::map::placement::VERSION;
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

/// The reason for withdrawing a proposal that another one replaces.
pub(super) fn replaced_by(generation: u64) -> String {
    format!(
        "withdrawn: generation {generation} replaces it, with a newer change of the same tables"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support;

    fn map(shards: u32, tables: &[(&str, u64)]) -> Map {
        support::map(1, shards, tables)
    }

    fn table(table: &str, epoch: Option<u64>) -> Change {
        Change::Table { table: table.to_owned(), epoch }
    }

    #[test]
    fn a_change_replaces_a_proposal_of_the_same_and_of_nothing_else() {
        let active = map(2, &[("a", 1), ("b", 1)]);
        let shards = || Change::Shards(Shards::equal(3).unwrap());
        let (of_a, of_b) = (table("a", Some(7)), table("b", None));
        let cases = [
            // (proposed, of a, of b, of shards)
            (map(2, &[("a", 2), ("b", 1)]), true, false, false),
            (map(2, &[("b", 1)]), true, false, false),
            (map(2, &[("a", 1), ("b", 1), ("c", 1)]), false, false, false),
            (map(2, &[("a", 2), ("b", 2)]), false, false, false),
            (map(4, &[("a", 1), ("b", 1)]), false, false, true),
            (map(4, &[("a", 2), ("b", 1)]), false, false, false),
            // A proposal that changes nothing does not block any other.
            (map(2, &[("a", 1), ("b", 1)]), true, true, true),
        ];
        for (proposed, a, b, by_shards) in cases {
            let replaced = [&of_a, &of_b, &shards()].map(|one| one.replaces(&proposed, &active));
            assert_eq!(replaced, [a, b, by_shards], "{proposed:?}");
        }
        assert!(table("c", Some(9)).replaces(&map(2, &[("a", 1), ("b", 1), ("c", 1)]), &active));
        let mut owned = map(2, &[("a", 1), ("b", 1)]);
        owned.owners.insert("b".to_owned(), "table-b".to_owned());
        assert!(!of_a.replaces(&owned, &active) && of_b.replaces(&owned, &active));
    }

    #[test]
    fn what_an_opaque_table_owns_is_not_the_clients_to_change() {
        let owners = [("prices".to_owned(), "prices-of-2026".to_owned())].into();
        let map = Map { owners, ..support::map(3, 1, &[("prices", 4), ("loaded", 1)]) };
        let change = |table: &str, epoch| Change::Table { table: table.to_owned(), epoch };
        for table in ["prices", "PRICES", "Prices"] {
            for epoch in [Some(9), None] {
                let error = change(table, epoch).check(&map).unwrap_err();
                assert!(matches!(error, CoordinationError::Owned { .. }), "{error}");
                let words = error.to_string();
                assert!(
                    words.contains("OpaqueTable prices-of-2026") && words.contains("spec.epoch")
                );
            }
        }
        change("loaded", Some(2)).check(&map).unwrap();
        change("new", Some(1)).check(&map).unwrap();
        Change::Shards(Shards::equal(2).unwrap()).check(&map).unwrap();
        let changed = change("loaded", Some(2)).apply(&map, 4, UnixMillis(1));
        assert_eq!(changed.owners, map.owners);
        assert_eq!(change("prices", None).apply(&map, 4, UnixMillis(1)).owners, [].into());
    }
}
