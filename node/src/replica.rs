//! What this node tells the others about itself, and which others to ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_proto::v1;
use tokio::sync::{Notify, watch};

use crate::call::Replica;
use crate::coordination::{FailedProbe, Failure, Map, MemberRecord, Snapshot, UnixMillis, alive};
use crate::coordinator::Replicas;
use crate::placement::ShardId;
use crate::served::{ServedTable, Serving};

/// Missing tables whose reason is in a record, which is an annotation of bounded size.
const REASONS: usize = 16;
/// Characters of such a reason.
const REASON: usize = 200;

/// This node's record, as it changes.
#[derive(Debug)]
pub struct ReplicaState {
    record: Mutex<MemberRecord>,
    /// Why no client may ask; said while there is nothing else to say.
    closed: Mutex<Option<String>>,
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
            probes: BTreeMap::new(),
        };
        Self {
            record: Mutex::new(record),
            closed: Mutex::default(),
            changed: Notify::new(),
            written: watch::Sender::new(None),
            waited: AtomicU64::new(0),
        }
    }

    /// The record as of `now`.
    pub fn record(&self, now: UnixMillis, resident_bytes: u64) -> MemberRecord {
        let record = self.lock().clone();
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match &*closed {
            Some(closed) if record.message.is_empty() => closed.clone(),
            _ => record.message,
        };
        MemberRecord { heartbeat: now, resident_bytes, message, ..record }
    }

    /// Notes why no client may ask, or that clients may.
    pub fn closed(&self, reason: Option<String>) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed != reason {
            *closed = reason;
            drop(closed);
            self.changed.notify_one();
        }
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

    /// Notes that a generation is the one that new queries use; false if it was already. `map` is the UID
    /// of the object that it comes from.
    pub fn active(&self, serving: &Serving, map: Option<&str>) -> bool {
        let generation = serving.map.generation;
        let epoch =
            |(name, table): (&String, &Arc<ServedTable>)| (name.clone(), table.manifest.epoch);
        let tables = serving.tables.iter().map(epoch).collect();
        let mut record = self.lock();
        let told = (record.map.as_deref(), &record.tables) == (map, &tables);
        let failed_proposal = record.failed.as_ref().is_some_and(|f| f.generation != generation);
        let unchanged = record.active_generation == generation
            && (record.message.is_empty() || failed_proposal);
        if unchanged && told {
            return false;
        }
        (record.map, record.tables) = (map.map(str::to_owned), tables);
        if !unchanged {
            record.failed.take_if(|failure| failure.generation == generation);
            record.active_generation = generation;
            record.prepared_generation = record.prepared_generation.max(generation);
            record.message.clear();
        }
        drop(record);
        self.changed.notify_one();
        !unchanged
    }

    /// As [`active`](Self::active), of a generation without tables.
    #[cfg(test)]
    pub(crate) fn serves_at(&self, generation: u64) -> bool {
        let map = Map {
            generation,
            placement: crate::placement::VERSION,
            shards: crate::placement::Shards::equal(1).unwrap(),
            tables: BTreeMap::new(),
            owners: BTreeMap::new(),
            proposed_at: UnixMillis(0),
        };
        let (missing, described) = (BTreeMap::new(), BTreeMap::new());
        self.active(&Serving { map, tables: BTreeMap::new(), missing, described }, None)
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

    /// The generation that is being loaded to prepare it, or was when the process before this one
    /// ended.
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

    /// Notes the shards of which this node reaches no replica.
    pub fn unreachable(&self, shards: Vec<ShardId>) {
        let mut record = self.lock();
        if record.unreachable != shards {
            record.unreachable = shards;
            drop(record);
            self.changed.notify_one();
        }
    }

    /// Notes the tables whose probes fail, as the leader finds.
    pub fn probes(&self, failed: BTreeMap<String, FailedProbe>) {
        let mut record = self.lock();
        if record.probes != failed {
            record.probes = failed;
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

    /// The generation that new queries use; 0 before the first.
    pub fn active_generation(&self) -> u64 {
        self.lock().active_generation
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

impl Asked<'static> {
    /// No table in particular: no replica lacks it.
    pub const ANYTHING: Self = Self { table: "", here: true };
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
        state.active(&serving(generation), None);
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

    fn serving(generation: u64) -> Serving {
        let (missing, described) = ([].into(), [].into());
        Serving { map: map(generation), tables: [].into(), missing, described }
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
        state.serves_at(3);
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
    fn a_table_is_probed_at_the_live_replicas_that_hold_it() {
        let about_to_turn = member("c", 1, 4, 99_000);
        let lacks = member("d", 1, 5, 99_000);
        let members = vec![
            member("a", 0, 5, 99_000),
            member("silent", 0, 5, 1_000),
            member("b", 0, 4, 99_000),
            MemberRecord { prepared_generation: 5, ..about_to_turn },
            MemberRecord { missing: [("t".to_owned(), "damaged".to_owned())].into(), ..lacks },
        ];
        let snapshot = Snapshot { members, ..Snapshot::default() };
        let ttl = Duration::from_secs(5);
        let of = |table| {
            let holders = holders(&snapshot, &map(5), table, UnixMillis(100_000), ttl);
            let names = |replicas: &Vec<Replica>| {
                replicas.iter().map(|one| one.node.clone()).collect::<Vec<_>>().join(" ")
            };
            (names(&holders[&0]), names(&holders[&1]))
        };
        assert_eq!(of("t"), ("a".to_owned(), "c".to_owned()));
        assert_eq!(of("u"), ("a".to_owned(), "c d".to_owned()));
    }

    #[test]
    fn a_record_tells_what_the_node_does() {
        let state = ReplicaState::new("n".into(), 0, String::new(), String::new());
        state.prepared(3);
        assert!(state.active(&serving(3), Some("uid")));
        assert!(!state.active(&serving(3), Some("another")), "it serves the same");
        state.failed(4, "plane-0 is damaged".into());
        let record = state.record(UnixMillis(7), 9);
        assert_eq!((record.active_generation, record.prepared_generation), (3, 3));
        assert_eq!((record.heartbeat, record.resident_bytes), (UnixMillis(7), 9));
        assert_eq!(record.map.as_deref(), Some("another"));
        assert_eq!(state.failed_generation(), Some(4));
        assert!(record.message.contains("generation 4: plane-0 is damaged"));
        state.forget_failure();
        assert!(state.record(UnixMillis(7), 9).message.is_empty());
        assert_eq!(state.failed_generation(), None);
    }
}
