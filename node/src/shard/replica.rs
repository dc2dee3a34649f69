//! The state that this node reports to the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opaque_proto::v1;
use opaque_store::UnixMillis;
use tokio::sync::{Notify, watch};

use crate::coordination::{FailedProbe, Failure, MemberRecord};
use crate::map::placement::ShardId;
use crate::shard::served::{ServedTable, Serving};

/// Number of missing tables whose reason a record contains. The record is an annotation of bounded
/// size.
const REASONS: usize = 16;
/// Longest such reason, in characters.
const REASON: usize = 200;

/// This node's record, which changes over time.
#[derive(Debug)]
pub struct ReplicaState {
    record: Mutex<MemberRecord>,
    /// Why all clients are refused. Reported while there is no other message.
    closed: Mutex<Option<String>>,
    changed: Notify,
    /// The value of `preparing` in the record that was written last.
    written: watch::Sender<Option<u64>>,
    /// Seconds that the proposal has waited, as counted by this node while it leads.
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
            tables: BTreeMap::new(),
            missing: BTreeMap::new(),
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

    /// The record at `now`.
    pub fn record(&self, now: UnixMillis, resident_bytes: u64) -> MemberRecord {
        let record = self.lock().clone();
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match &*closed {
            Some(closed) if record.message.is_empty() => closed.clone(),
            _ => record.message,
        };
        MemberRecord { heartbeat: now, resident_bytes, message, ..record }
    }

    /// Records why all clients are refused, or that clients are admitted.
    pub fn closed(&self, reason: Option<String>) {
        if set(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner), reason) {
            self.changed.notify_one();
        }
    }

    /// Records that a generation is loaded.
    pub fn prepared(&self, generation: u64) {
        self.change(|record| {
            record.prepared_generation = generation;
            record.preparing = None;
            record.failed = None;
            record.message.clear();
            true
        });
    }

    /// Records the generation that new queries use. Returns `false` if it is unchanged. `map` is
    /// the UID of the object from which it comes.
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

    /// Like [`active`](Self::active), for a generation without tables.
    #[cfg(test)]
    pub(crate) fn serves_at(&self, generation: u64) -> bool {
        self.active(&crate::support::serving(generation), None)
    }

    /// Records that a generation cannot be loaded.
    pub fn failed(&self, generation: u64, reason: String) {
        self.change(|record| {
            record.message = format!("generation {generation}: {reason}");
            set(&mut record.failed, Some(Failure { generation, reason }))
        });
    }

    /// Records which tables of the active generation this node cannot serve, and why.
    pub fn lacks(&self, missing: &BTreeMap<String, String>) {
        self.change(|record| set(&mut record.missing, abridged(missing)));
    }

    /// Records that a generation is about to be loaded, and waits until the record is written. If
    /// the load kills this process, the next one thus knows.
    pub async fn prepares(&self, generation: u64) {
        let mut written = self.written.subscribe();
        self.lock().preparing = Some(generation);
        self.changed.notify_one();
        // The sender lives as long as this value.
        let _ = written.wait_for(|preparing| *preparing == Some(generation)).await;
    }

    /// Records that no generation is being loaded in order to prepare it, whatever the outcome.
    pub fn rests(&self) {
        self.change(|record| {
            let prepares = record.preparing.take().is_some();
            if prepares && record.failed.is_none() {
                record.message.clear();
            }
            prepares
        });
    }

    /// Takes over from the record of the previous process which generation it was loading when it
    /// ended.
    pub fn recall(&self, before: &MemberRecord) {
        self.lock().preparing = before.preparing;
    }

    /// The generation that is being loaded in order to prepare it, or that was when the previous
    /// process ended.
    pub fn preparing(&self) -> Option<u64> {
        self.lock().preparing
    }

    /// Records that a record was written.
    pub fn wrote(&self, record: &MemberRecord) {
        self.written.send_replace(record.preparing);
    }

    /// Records how long the proposal has waited. Zero if none waits or this node does not lead.
    pub fn waits(&self, waited: Duration) {
        self.waited.store(waited.as_secs(), Ordering::Relaxed);
    }

    /// Seconds that the proposal has waited, as counted by this node.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Forgets the generation that could not be loaded, when it is no longer proposed.
    pub fn forget_failure(&self) {
        self.change(|record| {
            let failed = record.failed.take().is_some();
            if failed {
                record.message.clear();
            }
            failed
        });
    }

    /// Records this node's TLS material: digest of the trusted authorities, and serial of its
    /// certificate.
    pub fn runs_on(&self, trust: Option<String>, certificate: Option<String>) {
        self.change(|record| {
            set(&mut record.trust, trust) | set(&mut record.certificate, certificate)
        });
    }

    /// Records the shards of which this node reaches no replica.
    pub fn unreachable(&self, shards: Vec<ShardId>) {
        self.change(|record| set(&mut record.unreachable, shards));
    }

    /// Records why the store cannot be read, or that it can.
    pub fn store(&self, trouble: Option<String>) {
        let trouble = trouble.map(|trouble| trouble.chars().take(REASON).collect());
        self.change(|record| set(&mut record.store, trouble));
    }

    /// Records the tables whose probes fail. The leader runs them.
    pub fn probes(&self, failed: BTreeMap<String, FailedProbe>) {
        self.change(|record| set(&mut record.probes, failed));
    }

    /// Records what the node is doing.
    pub fn doing(&self, message: impl Into<String>) {
        self.change(|record| set(&mut record.message, message.into()));
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

    /// The record in its protocol form.
    pub fn to_proto(&self, resident_bytes: u64) -> v1::ReplicaStatus {
        member_to_proto(&self.record(UnixMillis::now(), resident_bytes), true)
    }

    /// Changes the record. It is written again if `change` returns true.
    fn change(&self, change: impl FnOnce(&mut MemberRecord) -> bool) {
        if change(&mut self.lock()) {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemberRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a value. Returns whether it is another one.
fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let changes = *field != value;
    *field = value;
    changes
}

/// Names of all missing tables, and the beginning of the first reasons.
fn abridged(missing: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let reasons = missing.values().map(|reason| reason.chars().take(REASON).collect());
    let untold = std::iter::repeat_with(|| "see the node's log".to_owned());
    missing.keys().cloned().zip(reasons.take(REASONS).chain(untold)).collect()
}

/// What a member is doing, or which tables it lacks.
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

/// A member's record in its protocol form.
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

#[cfg(test)]
mod tests;
