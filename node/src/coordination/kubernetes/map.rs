//! The map in its `OpaqueShardMap`, and the rules for changing that object. No I/O.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::shard_map::{
    self, OpaqueShardMap, OpaqueShardMapStatus, Rejection, TableEpoch, Waited as Waits,
};
use opaque_store::UnixMillis;

use crate::coordination::written::{LOST_REASON, Reading, Served, Written};
use crate::coordination::{Change, CoordinationError, Map, Outcome, Waited};
use crate::map::placement::{self, ShardId, ShardWeight, Shards};

// The operator writes these numbers into a new map, and a node refuses others.
const _: () = assert!(
    placement::VERSION == shard_map::PLACEMENT_VERSION
        && placement::VIRTUAL_NODES == shard_map::VIRTUAL_NODES
);

/// Number of rejections in the status.
const REJECTIONS: usize = 16;
/// Longest reason of a rejection, in characters.
const REASON: usize = 1024;

/// The object's maps, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maps {
    /// The map that queries use.
    pub(super) active: Option<Map>,
    /// `spec.map`: the active map, a proposed one, or a rejected one.
    pub(super) newest: Map,
    /// Generations that a leader rejected or that were withdrawn.
    rejected: Vec<(u64, String)>,
    /// Highest token of a leader that wrote the status.
    pub(super) fence: u64,
    /// UID of the object.
    uid: Option<String>,
    /// UID of the object in which `active` became active, according to the status.
    active_uid: Option<String>,
    /// The node that wrote the status with that token.
    leader: Option<String>,
    /// How long a proposal has waited.
    pub(super) waited: Option<Waited>,
}

impl Maps {
    /// Reads an object and checks everything that the API server's rules do not.
    ///
    /// # Errors
    /// [`CoordinationError::Corrupt`] with the object's name.
    pub(super) fn read(object: &OpaqueShardMap) -> Result<Self, CoordinationError> {
        let corrupt = |reason| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            CoordinationError::Corrupt {
                object: format!("OpaqueShardMap {namespace}/{name}"),
                reason,
            }
        };
        let status = object.status.clone().unwrap_or_default();
        let newest = read_map(&object.spec.map).map_err(corrupt)?;
        let active = status.active.as_ref().map(read_map).transpose().map_err(corrupt)?;
        if active.as_ref().is_some_and(|active| active.generation > newest.generation) {
            return Err(corrupt("the active generation is above spec.map.generation".into()));
        }
        let rejection = |Rejection { generation, reason }: Rejection| {
            Ok((unsigned("a rejected generation", generation)?, reason))
        };
        let rejected = status.rejected.into_iter().chain(object.spec.withdrawn.iter().cloned());
        let rejected = rejected.map(rejection).collect::<Result<_, _>>();
        let fence = unsigned("fencingToken", status.fencing_token.unwrap_or(0)).map_err(corrupt)?;
        let waited = |Waits { generation, seconds }: Waits| {
            let generation = unsigned("a generation that waits", generation)?;
            Ok(Waited { generation, seconds: unsigned("its seconds", seconds)? })
        };
        let waited = status.waited.map(waited).transpose().map_err(corrupt)?;
        let (uid, active_uid) = (object.metadata.uid.clone(), status.uid);
        let (rejected, leader) = (rejected.map_err(corrupt)?, status.leader);
        Ok(Self { active, newest, rejected, fence, uid, active_uid, leader, waited })
    }

    /// Whether a leader may write the status. After the Lease was deleted, two nodes may lead with
    /// the same token. The token belongs to the first that wrote it.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] if another leader wrote this token, or a higher one was
    /// written.
    pub(super) fn admit(&self, leader: &str, token: u64) -> Result<(), CoordinationError> {
        let others = self.leader.as_deref().is_some_and(|last| last != leader);
        if token < self.fence || (token == self.fence && others) {
            return Err(CoordinationError::Fenced { token, current: self.fence });
        }
        Ok(())
    }

    /// The stored maps, for comparison with the served one.
    pub(super) fn written(&self) -> Written<'_> {
        Written {
            active: self.active.as_ref(),
            newest: Some(&self.newest),
            rejected: self.rejects(self.newest.generation),
            highest_rejected: self.highest_rejected(),
            uid: self.uid.as_deref(),
            active_uid: self.active_uid.as_deref(),
        }
    }

    /// The outcome of a generation, for a node with this `reading`. Only the newest 16 rejections
    /// and the newest 16 withdrawals are known.
    pub(super) fn outcome(&self, reading: &Reading, generation: u64) -> Outcome {
        let active = reading.active.as_ref().map_or(0, |map| map.generation);
        // Nodes of earlier versions do not know withdrawals, and may activate nevertheless.
        if self.active.as_ref().is_some_and(|map| map.generation == generation) {
            Outcome::Activated
        } else if let Some(reason) = self.rejection(generation) {
            Outcome::Rejected { reason: reason.to_owned() }
        } else if generation > 0 && generation <= active {
            Outcome::Activated
        } else if reading.proposed.as_ref().is_some_and(|map| map.generation == generation) {
            Outcome::Pending
        } else {
            Outcome::Unknown
        }
    }

    /// The map after `change`, to be written as `spec.map` in place of one that waits. If the
    /// waiting map is this change, it is returned.
    pub(super) fn propose(
        &self,
        served: &Served<'_>,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let reading = self.written().read(served);
        let (active, proposed) = reading.before(&change, expected)?;
        if let Some(same) = proposed.filter(|map| change.is_in(map)) {
            return Ok(same.clone());
        }
        change.check(active)?;
        // Clients cannot change a table that is about to get an owner either.
        proposed.map_or(Ok(()), |waiting| change.check(waiting))?;
        // A leader of an earlier version omits the owners from the active map.
        if self.newest.generation == active.generation {
            change.check(&self.newest)?;
        }
        // The API stores whole seconds.
        let now = UnixMillis(now.seconds() * 1000);
        let newest = self.newest.generation.max(self.highest_rejected());
        Ok(self.keep_owners(change.apply(active, newest + 1, now)))
    }

    /// A map with the owners that the object names. A leader of an earlier version omits them from
    /// the active map, and nodes may not remove any.
    pub(super) fn keep_owners(&self, map: Map) -> Map {
        let mut map = map;
        for (table, owner) in &self.newest.owners {
            if map.tables.contains_key(table) {
                map.owners.insert(table.clone(), owner.clone());
            }
        }
        map
    }

    /// The proposed map, if it has this generation.
    pub(super) fn decide(
        &self,
        served: &Served<'_>,
        generation: u64,
    ) -> Result<&Map, CoordinationError> {
        let proposed = self.written().proposal(served);
        proposed.filter(|map| map.generation == generation).ok_or(CoordinationError::NotProposed {
            generation,
            proposed: proposed.map(|map| map.generation),
        })
    }

    /// Whether a generation was rejected.
    pub(super) fn rejects(&self, generation: u64) -> bool {
        self.rejection(generation).is_some()
    }

    fn highest_rejected(&self) -> u64 {
        self.rejected.iter().map(|(generation, _)| *generation).max().unwrap_or(0)
    }

    fn rejection(&self, generation: u64) -> Option<&str> {
        let mut rejected = self.rejected.iter();
        rejected.find(|(number, _)| *number == generation).map(|(_, reason)| reason.as_str())
    }
}

/// Changes that a leader makes to the status.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// `spec.map` is active.
    Active,
    /// This map is active, which was served before. These generations are lost.
    Served(&'a shard_map::ShardMap, &'a [u64]),
    /// No map is active.
    NoneActive,
    /// `spec.map` is rejected.
    Rejected(&'a str),
    /// `spec.map` has waited for this many seconds.
    Waits(u64),
    /// Only the name and token of the leader.
    Leads,
}

/// The status of `object` after a leader's verdict on its `spec.map`.
pub(super) fn judged(
    object: &OpaqueShardMap,
    leader: &str,
    token: u64,
    verdict: Verdict<'_>,
) -> OpaqueShardMapStatus {
    let mut status = object.status.clone().unwrap_or_default();
    status.observed_generation = object.metadata.generation;
    status.leader = Some(leader.to_owned());
    status.fencing_token = i64::try_from(token).ok();
    let mut activate = |map: &shard_map::ShardMap| {
        // An identical map is kept unchanged, since a map must not change under its number.
        let same = |written: &shard_map::ShardMap| read_map(written) == read_map(map);
        if !status.active.as_ref().is_some_and(same) {
            status.active = Some(map.clone());
        }
        status.uid.clone_from(&object.metadata.uid);
    };
    match verdict {
        Verdict::Active => activate(&object.spec.map),
        Verdict::Served(map, lost) => {
            activate(map);
            let lost = lost.iter().filter_map(|generation| i64::try_from(*generation).ok());
            lost.for_each(|generation| reject(&mut status.rejected, generation, LOST_REASON));
        }
        Verdict::NoneActive => (status.active, status.uid) = (None, None),
        Verdict::Rejected(reason) => {
            reject(&mut status.rejected, object.spec.map.generation, reason);
        }
        Verdict::Waits(seconds) => {
            let generation = object.spec.map.generation;
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            status.waited = Some(Waits { generation, seconds });
        }
        Verdict::Leads => {}
    }
    status
}

/// Adds a rejection at the end, unless it is known.
fn reject(rejected: &mut Vec<Rejection>, generation: i64, reason: &str) {
    if rejected.iter().all(|rejection| rejection.generation != generation) {
        let reason = reason.chars().take(REASON).collect();
        rejected.push(Rejection { generation, reason });
        let old = rejected.len().saturating_sub(REJECTIONS);
        rejected.drain(..old);
    }
}

/// Withdraws a waiting generation of `object`.
pub(super) fn withdraw(
    object: &mut OpaqueShardMap,
    generation: u64,
    reason: &str,
) -> Result<(), CoordinationError> {
    let generation = i64::try_from(generation)
        .map_err(|_| CoordinationError::NotProposed { generation, proposed: None })?;
    object.spec.withdraw(generation, reason);
    Ok(())
}

/// The map in the form of the object.
///
/// # Errors
/// [`CoordinationError::Corrupt`] for numbers that the object cannot hold.
pub(super) fn write_map(map: &Map) -> Result<shard_map::ShardMap, CoordinationError> {
    let Map { generation, placement, shards, tables, owners, proposed_at } = map;
    let refuse = |what: &str| CoordinationError::Corrupt {
        object: "the proposed map".into(),
        reason: format!("an OpaqueShardMap cannot hold {what}"),
    };
    let shard = |shard: &ShardWeight| {
        let id = i32::try_from(shard.shard.0).map_err(|_| refuse("the number of a shard"))?;
        let weight = i32::try_from(shard.weight.get()).map_err(|_| refuse("a weight"))?;
        Ok(shard_map::ShardWeight { id, weight })
    };
    let table = |(table, epoch): (&String, &u64)| {
        let epoch = i64::try_from(*epoch).map_err(|_| refuse("an epoch"))?;
        Ok(TableEpoch { table: table.clone(), epoch, owner: owners.get(table).cloned() })
    };
    let proposed_at = i64::try_from(proposed_at.0)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .ok_or_else(|| refuse("the time of the proposal"))?;
    Ok(shard_map::ShardMap {
        generation: i64::try_from(*generation).map_err(|_| refuse("the generation"))?,
        placement_version: i32::try_from(*placement).map_err(|_| refuse("the placement rule"))?,
        virtual_nodes: i32::try_from(placement::VIRTUAL_NODES)
            .map_err(|_| refuse("the virtual nodes"))?,
        shards: shards.as_slice().iter().map(shard).collect::<Result<_, _>>()?,
        tables: tables.iter().map(table).collect::<Result<_, _>>()?,
        proposed_at: Time(proposed_at),
    })
}

fn read_map(map: &shard_map::ShardMap) -> Result<Map, String> {
    let shard_map::ShardMap {
        generation,
        placement_version,
        virtual_nodes,
        shards,
        tables,
        proposed_at,
    } = map;
    let (rule, nodes) = (placement::VERSION, placement::VIRTUAL_NODES);
    if u32::try_from(*placement_version) != Ok(rule) {
        return Err(format!("placement rule {placement_version}; this node knows {rule}"));
    }
    if u32::try_from(*virtual_nodes) != Ok(nodes) {
        return Err(format!("{virtual_nodes} virtual nodes; this node places with {nodes}"));
    }
    let mut weights = Vec::with_capacity(shards.len());
    for shard_map::ShardWeight { id, weight } in shards {
        let shard = u32::try_from(*id).map_err(|_| format!("shard {id}"))?;
        let weight = u32::try_from(*weight).ok().and_then(NonZeroU32::new);
        let weight = weight.ok_or_else(|| format!("shard {id} has no weight above 0"))?;
        weights.push(ShardWeight { shard: ShardId(shard), weight });
    }
    weights.sort_by_key(|weight| weight.shard);
    let (mut epochs, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for TableEpoch { table, epoch, owner } in tables {
        let number = unsigned("an epoch", *epoch)?;
        if number == 0 || epochs.insert(table.clone(), number).is_some() {
            return Err(format!("table {table:?} has epoch 0, or is there twice"));
        }
        owners.extend(owner.clone().map(|owner| (table.clone(), owner)));
    }
    let generation = unsigned("the generation", *generation)?;
    if generation == 0 {
        return Err("generation 0".into());
    }
    Ok(Map {
        generation,
        placement: rule,
        shards: Shards::new(weights).map_err(|error| error.to_string())?,
        tables: epochs,
        owners,
        proposed_at: UnixMillis(unsigned(
            "the time of the proposal",
            proposed_at.0.as_millisecond(),
        )?),
    })
}

fn unsigned(what: &str, number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("{what} is {number}"))
}

#[cfg(test)]
mod tests;
