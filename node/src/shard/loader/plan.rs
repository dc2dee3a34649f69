//! What a load is of, and whether it is admitted: tables in memory already, and tables to be loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use opaque_store::Manifest;

use super::{Loader, need};
use crate::coordination::Map;
use crate::error::NodeError;
use crate::shard::memory::{Need, Reservation, Shortage};
use crate::shard::served::{ServedTable, Serving, find_held, resident_bytes};

/// A table of a map: in memory already, or to be loaded.
pub(super) enum Found {
    Held(Arc<ServedTable>),
    Stored(Arc<Manifest>),
}

/// What is to be loaded for a map, and what is shared.
pub struct Plan {
    /// What the map has as the active generation has it.
    pub(super) serving: Serving,
    pub(super) found: Vec<(String, Found)>,
    need: Need,
}

impl Plan {
    /// What it takes of memory.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Whether everything is in memory already.
    pub fn is_held(&self) -> bool {
        self.found.iter().all(|(_, found)| matches!(found, Found::Held(_)))
    }
}

/// Why a plan is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It fits once superseded generations are gone, or other work has ended.
    Later(Shortage),
    /// It does not fit.
    Never(Shortage),
}

impl Loader {
    /// Plans to load every table of a proposed map. What a generation of `held` has at the same epoch
    /// and the same shards is shared with it, so that a new epoch of one table costs nothing for the
    /// others. A table that the proposal leaves as it is in `active` is taken from there, missing or
    /// not: one that cannot be loaded keeps no other from getting its new epoch.
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
            // An epoch that is still in memory may be gone from the store: whoever starts next could
            // not load it.
            let manifest = self.manifest(name, *epoch).await?;
            let held = find_held(held, map, name, *epoch);
            Ok::<_, NodeError>((name.clone(), held.map_or(Found::Stored(manifest), Found::Held)))
        });
        let found = try_join_all(found).await?;
        let sum = need::of(&map.shards, self.shard, found.iter().map(|(_, found)| found));
        Ok(Plan { serving, found, need: sum.need(self.side_by_side) })
    }

    /// Admits a plan beside everything in `held`, of which generations below `active` will be let
    /// go. What is loaded stays reserved until it is counted as held.
    ///
    /// # Errors
    /// [`Refusal`] when memory does not suffice.
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

    /// Leaves out the tables of an active map that do not fit beside `resident` bytes; gives the
    /// need of the others.
    pub(super) fn leave_out(
        &self,
        map: &Map,
        found: &mut [(&String, Result<Found, NodeError>)],
        resident: u64,
    ) -> Need {
        // By the size of the whole table, so that all shards have the same tables.
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

/// The tables of a proposed map that are as in the active one, if the shards are.
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
