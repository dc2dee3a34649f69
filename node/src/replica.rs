//! What this node tells the others about itself, and which others to ask.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_proto::v1;
use tokio::sync::{Notify, watch};

use crate::call::Replica;
use crate::coordination::{Failure, Map, MemberRecord, Snapshot, UnixMillis, alive};
use crate::coordinator::Replicas;
use crate::placement::ShardId;

/// This node's record, as it changes.
#[derive(Debug)]
pub struct ReplicaState {
    record: Mutex<MemberRecord>,
    changed: Notify,
    /// What the record that was written last says of `preparing`.
    written: watch::Sender<Option<u64>>,
    /// Seconds that the proposal has waited, as this node counts them while it leads.
    waited: AtomicU64,
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
            preparing: None,
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
        Self {
            record: Mutex::new(record),
            changed: Notify::new(),
            written: watch::Sender::new(None),
            waited: AtomicU64::new(0),
        }
    }

    /// The record as of `now`.
    pub fn record(&self, now: UnixMillis, resident_bytes: u64) -> MemberRecord {
        MemberRecord { heartbeat: now, resident_bytes, ..self.lock().clone() }
    }

    /// Notes that a generation is loaded.
    pub fn prepared(&self, generation: u64) {
        let mut record = self.lock();
        record.prepared_generation = generation;
        record.preparing = None;
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

    /// Notes that a generation is about to be loaded, and waits until the record that says so is
    /// written: if the load kills this process, the next one knows from it.
    pub async fn prepares(&self, generation: u64) {
        let mut written = self.written.subscribe();
        self.lock().preparing = Some(generation);
        self.changed.notify_one();
        // The sender lives as long as this value.
        let _ = written.wait_for(|preparing| *preparing == Some(generation)).await;
    }

    /// Notes that no generation is being loaded to prepare it, whatever came of it.
    pub fn rests(&self) {
        let mut record = self.lock();
        if record.preparing.take().is_some() {
            if record.failed.is_none() {
                record.message.clear();
            }
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Takes over what the record of the process before this one says: the generation that it was
    /// loading when it ended.
    pub fn recall(&self, before: &MemberRecord) {
        self.lock().preparing = before.preparing;
    }

    /// The generation that is being loaded to prepare it, or was when the process before this one ended.
    pub fn preparing(&self) -> Option<u64> {
        self.lock().preparing
    }

    /// Notes that a record was written.
    pub fn wrote(&self, record: &MemberRecord) {
        self.written.send_replace(record.preparing);
    }

    /// Notes how long the proposal has waited; zero when none waits or this node does not lead.
    pub fn waits(&self, waited: Duration) {
        self.waited.store(waited.as_secs(), Ordering::Relaxed);
    }

    /// Seconds that the proposal has waited, as far as this node counts them.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
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

/// A member's record for the wire.
pub fn member_to_proto(member: &MemberRecord, alive: bool) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
        node: member.node.clone(),
        address: member.client_address.clone(),
        active_generation: member.active_generation,
        prepared_generation: member.prepared_generation,
        alive,
        message: member.message.clone(),
        resident_bytes: member.resident_bytes,
    }
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
    /// generation in turn, then the others, which may have just come back.
    pub fn replicas(&self, snapshot: &Snapshot, map: &Map, now: UnixMillis) -> Replicas {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let of_shard = |shard: ShardId| {
            let members = snapshot.members.iter().filter(|member| member.shard == shard);
            let mut members: Vec<&MemberRecord> = members.collect();
            if !members.is_empty() {
                let middle = turn % members.len();
                members.rotate_left(middle);
            }
            members.sort_by_key(|member| self.rank(member, map.generation, now));
            (shard.0, members.into_iter().map(replica).collect())
        };
        map.shards.ids().map(of_shard).collect()
    }

    fn rank(&self, member: &MemberRecord, generation: u64, now: UnixMillis) -> u8 {
        let fresh = now.since(member.heartbeat) <= self.ttl;
        let holds =
            member.active_generation == generation || member.prepared_generation == generation;
        match (member.node == self.own_name, fresh, holds) {
            (true, _, _) => 0,
            (false, true, true) => 1,
            (false, true, false) => 2,
            (false, false, _) => 3,
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

fn replica(member: &MemberRecord) -> Replica {
    Replica {
        node: member.node.clone(),
        shard: member.shard.0,
        address: member.peer_address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::placement::{self, Shards};

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
            let replicas = directory.replicas(&snapshot, &map(5), UnixMillis(100_000));
            let names: Vec<_> = replicas[&0].iter().map(|replica| replica.node.as_str()).collect();
            assert_eq!(names, ["me", "fresh", "behind", "silent"]);
            assert_eq!(replicas[&1].len(), 1);
        }
    }

    #[test]
    fn equal_replicas_take_turns() {
        let members = (0..3).map(|i| member(&format!("n{i}"), 1, 5, 99_000)).collect();
        let snapshot = Snapshot { members, ..Snapshot::default() };
        let directory = Directory::new("me".into(), Duration::from_secs(5));
        let first = |_| {
            let replicas = directory.replicas(&snapshot, &map(5), UnixMillis(100_000));
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
