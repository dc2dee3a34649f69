//! What this node tells the others about itself, and which others to ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_proto::v1;
use tokio::sync::Notify;

use crate::call::Replica;
use crate::coordination::{Failure, Map, MemberRecord, Snapshot, UnixMillis, alive};
use crate::coordinator::Replicas;
use crate::placement::ShardId;

/// Missing tables whose reason is in a record, which is an annotation of bounded size.
const REASONS: usize = 16;
/// Characters of such a reason.
const REASON: usize = 200;

/// This node's record, as it changes.
#[derive(Debug)]
pub struct ReplicaState {
    record: Mutex<MemberRecord>,
    changed: Notify,
}

impl ReplicaState {
    /// A node that serves nothing yet.
    pub fn new(node: String, shard: u32, client_address: String, peer_address: String) -> Self {
        let record = MemberRecord {
            node,
            shard: ShardId(shard),
            client_address,
            peer_address,
            active_generation: 0,
            prepared_generation: 0,
            failed: None,
            message: "starting".into(),
            resident_bytes: 0,
            heartbeat: UnixMillis::default(),
            trust: None,
            certificate: None,
            map: None,
            tables: [].into(),
            missing: [].into(),
            unreachable: Vec::new(),
        };
        Self { record: Mutex::new(record), changed: Notify::new() }
    }

    /// The record as of `now`.
    pub fn record(&self, now: UnixMillis, resident_bytes: u64) -> MemberRecord {
        MemberRecord { heartbeat: now, resident_bytes, ..self.lock().clone() }
    }

    /// Notes that a generation is loaded.
    pub fn prepared(&self, generation: u64) {
        let mut record = self.lock();
        record.prepared_generation = generation;
        record.failed = None;
        record.message.clear();
        drop(record);
        self.changed.notify_one();
    }

    /// Notes that a generation is the one that new queries use; false if it was already.
    pub fn active(&self, generation: u64) -> bool {
        let mut record = self.lock();
        let failed_proposal = record.failed.as_ref().is_some_and(|f| f.generation != generation);
        let unchanged = record.active_generation == generation;
        if unchanged && (record.message.is_empty() || failed_proposal) {
            return false;
        }
        record.failed.take_if(|failure| failure.generation == generation);
        record.active_generation = generation;
        record.prepared_generation = record.prepared_generation.max(generation);
        record.message.clear();
        drop(record);
        self.changed.notify_one();
        true
    }

    /// Notes that a generation cannot be loaded.
    pub fn failed(&self, generation: u64, reason: String) {
        let mut record = self.lock();
        record.message = format!("generation {generation}: {reason}");
        let failed = Some(Failure { generation, reason });
        if record.failed != failed {
            record.failed = failed;
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Notes which tables of the active generation this node cannot serve, and why.
    pub fn lacks(&self, missing: &BTreeMap<String, String>) {
        let missing = abridged(missing);
        let mut record = self.lock();
        if record.missing != missing {
            record.missing = missing;
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Notes that nobody waits any more for a generation that could not be loaded.
    pub fn forget_failure(&self) {
        let mut record = self.lock();
        if record.failed.take().is_some() {
            record.message.clear();
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Notes what this node's TLS runs on: digest of the trusted authorities, serial of its certificate.
    pub fn runs_on(&self, trust: Option<String>, certificate: Option<String>) {
        let mut record = self.lock();
        if (&record.trust, &record.certificate) != (&trust, &certificate) {
            (record.trust, record.certificate) = (trust, certificate);
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Says what the node is doing.
    pub fn doing(&self, message: impl Into<String>) {
        let message = message.into();
        let mut record = self.lock();
        if record.message != message {
            record.message = message;
            drop(record);
            self.changed.notify_one();
        }
    }

    /// The generation that could not be loaded.
    pub fn failed_generation(&self) -> Option<u64> {
        self.lock().failed.as_ref().map(|failure| failure.generation)
    }

    /// Waits for the next change of the record.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The record for the wire.
    pub fn to_proto(&self, resident_bytes: u64) -> v1::ReplicaStatus {
        member_to_proto(&self.record(UnixMillis::now(), resident_bytes), true)
    }

    fn lock(&self) -> MutexGuard<'_, MemberRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every missing table's name, and the first characters of the first reasons.
fn abridged(missing: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let reasons = missing.values().map(|reason| reason.chars().take(REASON).collect());
    let untold = std::iter::repeat_with(|| "see the node's log".to_owned());
    missing.keys().cloned().zip(reasons.take(REASONS).chain(untold)).collect()
}

/// What a member does, or which tables it lacks.
fn message(member: &MemberRecord) -> String {
    let mut missing = member.missing.iter();
    match missing.next() {
        Some((table, reason)) if member.message.is_empty() => match missing.count() {
            0 => format!("table {table:?} cannot be loaded: {reason}"),
            more => format!("table {table:?} cannot be loaded: {reason}; and {more} more tables"),
        },
        Some(_) | None => member.message.clone(),
    }
}

/// A member's record for the wire.
pub fn member_to_proto(member: &MemberRecord, alive: bool) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
        node: member.node.clone(),
        address: member.client_address.clone(),
        active_generation: member.active_generation,
        prepared_generation: member.prepared_generation,
        alive,
        message: message(member),
        resident_bytes: member.resident_bytes,
    }
}

/// The table that a query is about, as the node that answers it sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The table's name.
    pub table: &'a str,
    /// Whether the node has its own shard's part of it.
    pub here: bool,
}

/// Orders the replicas of each shard for one query.
#[derive(Debug)]
pub struct Directory {
    own_name: String,
    ttl: Duration,
    turn: AtomicUsize,
}

impl Directory {
    /// Members silent for longer than `ttl` come last.
    pub fn new(own_name: String, ttl: Duration) -> Self {
        Self { own_name, ttl, turn: AtomicUsize::new(0) }
    }

    /// The replicas of every shard of `map`: this node itself, then live replicas that hold the
    /// generation in turn, then the others, which may have just come back. Those that lack the
    /// table which is asked come last, this node after all others: their records may be out of
    /// date.
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

/// The live replicas that prepared `generation`, by shard: whom a self-test must cover.
pub fn prepared(snapshot: &Snapshot, map: &Map, now: UnixMillis, ttl: Duration) -> Replicas {
    let of_shard = |shard: ShardId| {
        let replicas = alive(&snapshot.members, now, ttl)
            .filter(|member| member.shard == shard)
            .filter(|member| member.prepared_generation == map.generation);
        (shard.0, replicas.map(replica).collect())
    };
    map.shards.ids().map(of_shard).collect()
}

/// Live nodes other than `own_name` that may describe a table of `map`: first those that serve it,
/// then those that lack it too and may know of it from another.
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

/// How a member is called.
pub fn replica(member: &MemberRecord) -> Replica {
    Replica {
        node: member.node.clone(),
        shard: member.shard.0,
        address: member.peer_address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{self, Shards};

    const ANY: Asked<'static> = Asked { table: "t", here: true };

    fn member(node: &str, shard: u32, generation: u64, heartbeat: u64) -> MemberRecord {
        let state = ReplicaState::new(node.into(), shard, String::new(), format!("{node}:1"));
        state.active(generation);
        state.record(UnixMillis(heartbeat), 0)
    }

    fn map(generation: u64) -> Map {
        Map {
            generation,
            placement: placement::VERSION,
            shards: Shards::equal(2).unwrap(),
            tables: BTreeMap::new(),
            owners: [].into(),
            proposed_at: UnixMillis(0),
        }
    }

    #[test]
    fn this_node_comes_first_and_the_silent_last() {
        let members = vec![
            member("silent", 0, 5, 1_000),
            member("behind", 0, 4, 99_000),
            member("fresh", 0, 5, 99_000),
            member("me", 0, 4, 99_000),
            member("other", 1, 5, 99_000),
        ];
        let snapshot = Snapshot { members, ..Snapshot::default() };
        let directory = Directory::new("me".into(), Duration::from_secs(5));
        for _ in 0..3 {
            let replicas = directory.replicas(&snapshot, &map(5), ANY, UnixMillis(100_000));
            let names: Vec<_> = replicas[&0].iter().map(|replica| replica.node.as_str()).collect();
            assert_eq!(names, ["me", "fresh", "behind", "silent"]);
            assert_eq!(replicas[&1].len(), 1);
        }
    }

    #[test]
    fn replicas_that_lack_the_table_come_last_and_this_node_after_them() {
        let lacks = |mut member: MemberRecord| {
            member.missing = [("t".to_owned(), "damaged".to_owned())].into();
            member
        };
        let members = vec![
            lacks(member("lacks", 0, 5, 99_000)),
            member("me", 0, 5, 99_000),
            member("silent", 0, 5, 1_000),
            member("holds", 0, 5, 99_000),
        ];
        let snapshot = Snapshot { members, ..Snapshot::default() };
        let directory = Directory::new("me".into(), Duration::from_secs(5));
        let order = |table, here| {
            let asked = Asked { table, here };
            let replicas = directory.replicas(&snapshot, &map(5), asked, UnixMillis(100_000));
            replicas[&0].iter().map(|replica| replica.node.clone()).collect::<Vec<_>>()
        };
        for _ in 0..4 {
            assert_eq!(order("t", false), ["holds", "silent", "lacks", "me"]);
            assert_eq!(order("t", true), ["me", "holds", "silent", "lacks"]);
            assert_eq!(order("u", true)[0], "me");
            assert_eq!(order("u", true)[3], "silent");
        }
        let ttl = Duration::from_secs(5);
        let asked = describers(&snapshot, &map(5), "t", "me", (UnixMillis(100_000), ttl));
        let asked: Vec<_> = asked.into_iter().map(|replica| replica.node).collect();
        assert_eq!(asked, ["holds", "lacks"]);
    }

    #[test]
    fn a_record_names_every_missing_table_and_stays_small() {
        let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
        state.active(3);
        let one = [("t00".to_owned(), "store: plane-0 is damaged".to_owned())].into();
        state.lacks(&one);
        let told = state.to_proto(0).message;
        assert_eq!(told, "table \"t00\" cannot be loaded: store: plane-0 is damaged");
        let many = (0..40).map(|i| (format!("t{i:02}"), "ä".repeat(1_000))).collect();
        state.lacks(&many);
        let record = state.record(UnixMillis(7), 0);
        assert_eq!(record.missing.len(), 40);
        assert!(record.missing.values().map(String::len).sum::<usize>() < 8_000);
        assert!(state.to_proto(0).message.ends_with("and 39 more tables"));
        state.doing("preparing generation 4");
        assert_eq!(state.to_proto(0).message, "preparing generation 4");
        state.lacks(&BTreeMap::new());
        assert_eq!(state.record(UnixMillis(7), 0).missing, BTreeMap::new());
    }

    #[test]
    fn equal_replicas_take_turns() {
        let members = (0..3).map(|i| member(&format!("n{i}"), 1, 5, 99_000)).collect();
        let snapshot = Snapshot { members, ..Snapshot::default() };
        let directory = Directory::new("me".into(), Duration::from_secs(5));
        let first = |_| {
            let replicas = directory.replicas(&snapshot, &map(5), ANY, UnixMillis(100_000));
            assert!(replicas[&0].is_empty(), "a shard without replicas is there, and empty");
            replicas[&1][0].node.clone()
        };
        let mut firsts: Vec<String> = (0..3).map(first).collect();
        firsts.sort();
        assert_eq!(firsts, ["n0", "n1", "n2"]);
    }

    #[test]
    fn a_record_tells_what_the_node_does() {
        let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
        state.prepared(3);
        state.active(3);
        state.failed(4, "plane-0 is damaged".into());
        let record = state.record(UnixMillis(7), 9);
        assert_eq!((record.active_generation, record.prepared_generation), (3, 3));
        assert_eq!((record.heartbeat, record.resident_bytes), (UnixMillis(7), 9));
        assert_eq!(state.failed_generation(), Some(4));
        assert!(record.message.contains("generation 4: plane-0 is damaged"));
        state.forget_failure();
        assert!(state.record(UnixMillis(7), 9).message.is_empty());
        assert_eq!(state.failed_generation(), None);
    }
}
