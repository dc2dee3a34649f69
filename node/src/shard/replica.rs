//! What this node tells the others about itself, and which others to ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_proto::v1;
use opaque_store::UnixMillis;
use tokio::sync::{Notify, watch};

use crate::coordination::{FailedProbe, Failure, Map, MemberRecord, Snapshot, alive};
use crate::map::call::Replica;
use crate::map::call::Replicas;
use crate::map::placement::ShardId;
use crate::shard::served::{ServedTable, Serving};

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
            store: None,
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
            placement: crate::map::placement::VERSION,
            shards: crate::map::placement::Shards::equal(1).unwrap(),
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

    /// Notes why the store cannot be read, or that it can.
    pub fn store(&self, trouble: Option<String>) {
        let trouble = trouble.map(|trouble| trouble.chars().take(REASON).collect());
        let mut record = self.lock();
        if record.store != trouble {
            record.store = trouble;
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
mod tests;
