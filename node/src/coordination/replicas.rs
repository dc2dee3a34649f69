//! Chooses the replicas of each shard and their order, from the member records.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opaque_store::UnixMillis;

use super::{Map, MemberRecord, Snapshot, alive};
use crate::map::call::{Replica, Replicas};
use crate::map::placement::ShardId;

/// The table of a query, from the point of view of the node that answers it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The table's name.
    pub table: &'a str,
    /// Whether the node has its shard's part of the table.
    pub here: bool,
}

impl Asked<'static> {
    /// No particular table: no replica lacks it.
    pub const ANYTHING: Self = Self { table: "", here: true };
}

/// Orders the replicas of each shard for one query.
#[derive(Debug)]
pub struct ReplicaOrder {
    own_name: String,
    ttl: Duration,
    turn: AtomicUsize,
}

impl ReplicaOrder {
    /// Members that have been silent for longer than `ttl` come last.
    pub fn new(own_name: String, ttl: Duration) -> Self {
        Self { own_name, ttl, turn: AtomicUsize::new(0) }
    }

    /// The replicas of every shard of `map`: first this node, then live replicas that hold the
    /// generation, in rotating order, then the others, which may have just come back. Replicas that
    /// lack the table come last, and this node after all of them if it lacks the table. They are
    /// not left out because their records may be out of date.
    pub fn replicas(
        &self,
        snapshot: &Snapshot,
        map: &Map,
        asked: Asked<'_>,
        now: UnixMillis,
    ) -> Replicas {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let of_shard = |shard: ShardId| {
            let members = snapshot.members.iter().filter(|member| member.shard == shard);
            let mut members: Vec<&MemberRecord> = members.collect();
            if !members.is_empty() {
                let middle = turn % members.len();
                members.rotate_left(middle);
            }
            members.sort_by_key(|member| self.rank(member, map.generation, asked, now));
            (shard.0, members.into_iter().map(replica).collect())
        };
        map.shards.ids().map(of_shard).collect()
    }

    fn rank(
        &self,
        member: &MemberRecord,
        generation: u64,
        Asked { table, here }: Asked<'_>,
        now: UnixMillis,
    ) -> u8 {
        if member.node == self.own_name {
            return if here { 0 } else { 5 };
        }
        if member.missing.contains_key(table) {
            return 4;
        }
        let fresh = now.since(member.heartbeat) <= self.ttl;
        let holds =
            member.active_generation == generation || member.prepared_generation == generation;
        match (fresh, holds) {
            (true, true) => 1,
            (true, false) => 2,
            (false, _) => 3,
        }
    }
}

/// The live replicas that prepared `generation`, by shard. A self-test must cover them.
pub fn prepared(snapshot: &Snapshot, map: &Map, now: UnixMillis, ttl: Duration) -> Replicas {
    let of_shard = |shard: ShardId| {
        let replicas = alive(&snapshot.members, now, ttl)
            .filter(|member| member.shard == shard)
            .filter(|member| member.prepared_generation == map.generation);
        (shard.0, replicas.map(replica).collect())
    };
    map.shards.ids().map(of_shard).collect()
}

/// The live replicas that can answer for a table of `map`, by shard.
pub fn holders(
    snapshot: &Snapshot,
    map: &Map,
    table: &str,
    now: UnixMillis,
    ttl: Duration,
) -> Replicas {
    let generation = map.generation;
    let of_shard = |shard: ShardId| {
        let replicas = alive(&snapshot.members, now, ttl)
            .filter(|member| member.shard == shard && !member.missing.contains_key(table))
            .filter(|member| {
                [member.active_generation, member.prepared_generation].contains(&generation)
            });
        (shard.0, replicas.map(replica).collect())
    };
    map.shards.ids().map(of_shard).collect()
}

/// Live nodes other than `own_name` that may be able to describe a table of `map`: first those that
/// serve it, then those that lack it too, which may have its description from another node.
pub fn describers(
    snapshot: &Snapshot,
    map: &Map,
    table: &str,
    own_name: &str,
    (now, ttl): (UnixMillis, Duration),
) -> Vec<Replica> {
    let others = alive(&snapshot.members, now, ttl)
        .filter(|member| member.node != own_name && member.active_generation == map.generation);
    let mut others: Vec<&MemberRecord> = others.collect();
    others.sort_by_key(|member| member.missing.contains_key(table));
    others.into_iter().map(replica).collect()
}

/// The address and name of a member.
pub fn replica(member: &MemberRecord) -> Replica {
    Replica {
        node: member.node.clone(),
        shard: member.shard.0,
        address: member.peer_address.clone(),
    }
}

#[cfg(test)]
mod tests;
