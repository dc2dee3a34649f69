//! The map as an `OpaqueShardMap` has it, and the rules for changing that object. No I/O.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::shard_map::{self, OpaqueShardMap, OpaqueShardMapStatus, Rejection, TableEpoch};

use crate::coordination::{Change, CoordinationError, Map, Outcome, UnixMillis};
use crate::placement::{self, ShardId, ShardWeight, Shards};

/// Rejections that the status keeps.
const REJECTIONS: usize = 16;
/// Longest reason that it takes, in characters.
const REASON: usize = 1024;

/// The object's maps, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maps {
    /// The map that queries use.
    pub(super) active: Option<Map>,
    /// `spec.map`: the active one, or one that shall follow it, or one that was rejected.
    pub(super) newest: Map,
    rejected: Vec<(u64, String)>,
    /// Highest token of a leader that wrote the status.
    pub(super) fence: u64,
    /// The node that wrote it with that token.
    leader: Option<String>,
}

impl Maps {
    /// Reads an object, of which anything may be wrong that its rules do not refuse.
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
        let rejected = status.rejected.into_iter().map(rejection).collect::<Result<_, _>>();
        let fence = unsigned("fencingToken", status.fencing_token.unwrap_or(0)).map_err(corrupt)?;
        Ok(Self {
            active,
            newest,
            rejected: rejected.map_err(corrupt)?,
            fence,
            leader: status.leader,
        })
    }

    /// Whether a leader may write the status. After the Lease was deleted two may lead with one token:
    /// it belongs to the first that wrote it.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] when another has written this token, or a higher one was written.
    pub(super) fn admit(&self, leader: &str, token: u64) -> Result<(), CoordinationError> {
        let others = self.leader.as_deref().is_some_and(|last| last != leader);
        if token < self.fence || (token == self.fence && others) {
            return Err(CoordinationError::Fenced { token, current: self.fence });
        }
        Ok(())
    }

    /// The map that waits to become active.
    pub(super) fn proposed(&self) -> Option<&Map> {
        let active = self.active.as_ref()?;
        let waits = self.newest.generation > active.generation
            && self.rejection(self.newest.generation).is_none();
        waits.then_some(&self.newest)
    }

    /// What became of a generation. Of rejections the newest 16 are known.
    pub(super) fn outcome(&self, generation: u64) -> Outcome {
        let active = self.active.as_ref().map_or(0, |map| map.generation);
        if let Some(reason) = self.rejection(generation) {
            Outcome::Rejected { reason: reason.to_owned() }
        } else if generation > 0 && generation <= active {
            Outcome::Activated
        } else if self.proposed().is_some_and(|map| map.generation == generation) {
            Outcome::Pending
        } else {
            Outcome::Unknown
        }
    }

    /// The map after `change`, to be written as `spec.map`.
    pub(super) fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let active = self.active.as_ref().ok_or(CoordinationError::NotInitialized)?;
        let proposed = self.proposed();
        if active.generation != expected || proposed.is_some() {
            return Err(CoordinationError::Conflict {
                expected,
                active: active.generation,
                proposed: proposed.map(|map| map.generation),
            });
        }
        if let Some(existing) = change.clashes_with(active) {
            return Err(CoordinationError::NameTaken { existing });
        }
        // The API keeps whole seconds.
        let now = UnixMillis(now.seconds() * 1000);
        Ok(change.apply(active, self.newest.generation + 1, now))
    }

    /// The proposed map, if it is the one that the caller means.
    pub(super) fn decide(&self, generation: u64) -> Result<&Map, CoordinationError> {
        let proposed = self.proposed();
        proposed.filter(|map| map.generation == generation).ok_or(CoordinationError::NotProposed {
            generation,
            proposed: proposed.map(|map| map.generation),
        })
    }

    fn rejection(&self, generation: u64) -> Option<&str> {
        let mut rejected = self.rejected.iter();
        rejected.find(|(number, _)| *number == generation).map(|(_, reason)| reason.as_str())
    }
}

/// What a leader writes into the status.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// `spec.map` is active.
    Active,
    /// `spec.map` is given up.
    Rejected(&'a str),
    /// Nothing, but who leads.
    Leads,
}

/// `object`'s status after a leader's verdict on its `spec.map`.
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
    match verdict {
        Verdict::Active => status.active = Some(object.spec.map.clone()),
        Verdict::Rejected(reason) => {
            let generation = object.spec.map.generation;
            let reason = reason.chars().take(REASON).collect();
            status.rejected.push(Rejection { generation, reason });
            let old = status.rejected.len().saturating_sub(REJECTIONS);
            status.rejected.drain(..old);
        }
        Verdict::Leads => {}
    }
    status
}

/// The map as the object has it.
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
