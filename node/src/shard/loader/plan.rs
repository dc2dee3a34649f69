//! The content of a load and its admission: tables that are already in memory, and tables to load.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use opaque_store::Manifest;

use super::{Loader, need};
use crate::coordination::Map;
use crate::error::NodeError;
use crate::shard::memory::{Need, Reservation, Shortage};
use crate::shard::served::{ServedTable, Serving, find_held, resident_bytes};

/// A table of a map, either in memory or in the store.
pub(super) enum Found {
    Held(Arc<ServedTable>),
    Stored(Arc<Manifest>),
}

/// The tables to load for a map, and those that are shared.
pub struct Plan {
    /// The tables that are taken over from the active generation.
    pub(super) serving: Serving,
    pub(super) found: Vec<(String, Found)>,
    need: Need,
}

impl Plan {
    /// Memory that the load needs.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Whether everything is already in memory.
    pub fn is_held(&self) -> bool {
        self.found.iter().all(|(_, found)| matches!(found, Found::Held(_)))
    }
}

/// Why a plan is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The plan will fit when superseded generations are gone or other work has ended.
    Later(Shortage),
    /// The plan does not fit.
    Never(Shortage),
}

impl Loader {
    /// Plans to load every table of a proposed map. A table that a generation in `held` has at the
    /// same epoch and with the same shards is shared, so that a new epoch of one table costs
    /// nothing for the others. A table that the proposal does not change is taken over from
    /// `active`, even if it is missing there: a table that cannot be loaded does not prevent new
    /// epochs of others.
    ///
    /// # Errors
    /// The first table whose manifest cannot be read.
    pub async fn plan(
        &self,
        map: &Map,
        active: Option<&Serving>,
        held: &[Arc<Serving>],
    ) -> Result<Plan, NodeError> {
        let serving = unchanged(map, active);
        let changed = map.tables.iter().filter(|(name, _)| {
            !serving.tables.contains_key(*name) && !serving.missing.contains_key(*name)
        });
        let found = changed.map(async |(name, epoch)| {
            // An epoch that is in memory may be gone from the store. A node that starts later could
            // not load it.
            let manifest = self.manifest(name, *epoch).await?;
            let held = find_held(held, map, name, *epoch);
            Ok::<_, NodeError>((name.clone(), held.map_or(Found::Stored(manifest), Found::Held)))
        });
        let found = try_join_all(found).await?;
        let sum = found.iter().fold(need::Sum::default(), |sum, (_, found)| match found {
            Found::Held(_) => sum,
            Found::Stored(manifest) => sum.with(&map.shards, self.shard, manifest),
        });
        Ok(Plan { serving, found, need: sum.need(self.side_by_side) })
    }

    /// Admits a plan in addition to everything in `held`, of which generations below `active` will
    /// be dropped. The memory stays reserved until the loaded tables are counted as held.
    ///
    /// # Errors
    /// [`Refusal`] if memory does not suffice.
    pub fn admit(
        &self,
        plan: &Plan,
        held: &[Arc<Serving>],
        active: u64,
    ) -> Result<Reservation, Refusal> {
        self.memory.admit(resident_bytes(held), plan.need).map_err(|shortage| {
            let staying = held.iter().filter(|serving| serving.map.generation >= active);
            match self.memory.check(resident_bytes(staying), plan.need) {
                Ok(()) => Refusal::Later(shortage),
                Err(shortage) => Refusal::Never(shortage),
            }
        })
    }

    /// Leaves out the tables of an active map that do not fit in addition to `resident` bytes.
    /// Returns the need of the others.
    pub(super) fn leave_out(
        &self,
        map: &Map,
        found: &mut [(&String, Result<Found, NodeError>)],
        resident: u64,
    ) -> Need {
        // Sorted by the size of the whole table, so that all shards keep the same tables.
        let size = |found: &Result<Found, NodeError>| match found {
            Ok(Found::Stored(manifest)) => manifest.matrix_bytes(),
            Ok(Found::Held(_)) | Err(_) => 0,
        };
        found.sort_by_key(|(name, found)| (size(found), *name));
        let mut sum = need::Sum::default();
        for (_, found) in found {
            let Ok(Found::Stored(manifest)) = found else { continue };
            let next = sum.with(&map.shards, self.shard, manifest);
            let (before, after) = (sum.need(self.side_by_side), next.need(self.side_by_side));
            let own = Need { resident: after.resident - before.resident, ..after };
            match self.memory.check(resident + before.resident, own) {
                Ok(()) => sum = next,
                Err(shortage) => *found = Err(NodeError::memory(shortage)),
            }
        }
        sum.need(self.side_by_side)
    }
}

/// The tables of a proposed map that are unchanged from the active one, if the shards are
/// unchanged.
fn unchanged(map: &Map, active: Option<&Serving>) -> Serving {
    let mut kept = Serving {
        map: map.clone(),
        tables: BTreeMap::new(),
        missing: BTreeMap::new(),
        described: BTreeMap::new(),
    };
    let Some(active) = active.filter(|active| active.map.shards == map.shards) else { return kept };
    for (name, epoch) in &map.tables {
        if active.map.tables.get(name) != Some(epoch) {
            continue;
        }
        let Serving { map: _, tables, missing, described } = active;
        kept.tables.extend(tables.get_key_value(name).map(owned));
        kept.missing.extend(missing.get_key_value(name).map(owned));
        kept.described.extend(described.get_key_value(name).map(owned));
    }
    kept
}

fn owned<V: Clone>((name, value): (&String, &V)) -> (String, V) {
    (name.clone(), value.clone())
}
