//! Helpers for the tests of several modules.

#[path = "../../store/src/tests/disk.rs"]
pub(crate) mod disk;
#[path = "../tests/support/publish.rs"]
pub(crate) mod publish;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opaque_store::UnixMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::coordination::{
    Change, Coordination, CoordinationError, FileCoordination, Leader, Leadership, Map,
    MemberRecord, Outcome, Snapshot, Waited,
};
use crate::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, Greeter, Hello, NumberedRow, Replica,
    RowsCall, ShardCaller,
};
use crate::map::placement::{self, ShardId, Shards};
use crate::shard::served::Serving;

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let looking = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = timeout(Duration::from_secs(60), looking).await;
    assert!(looked.is_ok(), "waited in vain until {what}");
}

/// What a scrape reads from a collector.
pub(crate) fn scrape(collector: impl Collector) -> String {
    let mut registry = Registry::with_prefix("opaque_node");
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// A shard map with equal shards.
pub(crate) fn map(generation: u64, shards: u32, tables: &[(&str, u64)]) -> Map {
    Map {
        generation,
        placement: placement::VERSION,
        shards: Shards::equal(shards).unwrap(),
        tables: tables.iter().map(|(name, epoch)| ((*name).to_owned(), *epoch)).collect(),
        owners: [].into(),
        proposed_at: UnixMillis(0),
    }
}

/// A generation of one shard without tables.
pub(crate) fn serving(generation: u64) -> Serving {
    let map = map(generation, 1, &[]);
    Serving { map, tables: [].into(), missing: [].into(), described: [].into() }
}

/// The record of a node that has just started.
pub(crate) fn member(node: &str, shard: u32, heartbeat: UnixMillis) -> MemberRecord {
    MemberRecord {
        node: node.to_owned(),
        shard: ShardId(shard),
        heartbeat,
        ..MemberRecord::default()
    }
}

/// Peers that never answer.
pub(crate) struct Nobody;

#[async_trait]
impl ShardCaller for Nobody {
    async fn evaluate(&self, _: &Replica, _: &EvaluateCall) -> Result<EvaluateReply, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }

    async fn read_rows(&self, _: &Replica, _: &RowsCall) -> Result<Vec<NumberedRow>, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }

    async fn describe(&self, _: &Replica, _: &str, _: u64) -> Result<Description, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }
}

#[async_trait]
impl Greeter for Nobody {
    async fn hello(&self, _: &Replica, _: u64) -> Result<Hello, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }
}

/// A coordination that a test can put out of reach with `away`.
pub(crate) struct Interrupted {
    /// Where the state is, also while it is out of reach.
    pub(crate) files: FileCoordination,
    /// While this is set, calls fail and the watch shows nothing new.
    pub(crate) away: AtomicBool,
    /// Whether the next proposal succeeds but returns an error.
    pub(crate) loses_answer: AtomicBool,
    /// How many calls have failed.
    pub(crate) failures: AtomicU32,
    /// How often the active map was read.
    pub(crate) reads: AtomicU32,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Interrupted {
    pub(crate) async fn open(directory: &TempDir) -> Arc<Self> {
        let files = FileCoordination::open(directory.path().join("state")).await.unwrap();
        let mut heard = files.watch();
        let (sender, snapshots) = watch::channel(heard.borrow().clone());
        let (away, loses_answer) = (AtomicBool::new(false), AtomicBool::new(false));
        let (failures, reads) = (AtomicU32::new(0), AtomicU32::new(0));
        let way = Arc::new(Self { files, away, loses_answer, failures, reads, snapshots });
        let listening = Arc::clone(&way);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let _ = timeout(Duration::from_millis(20), heard.changed()).await;
                if !listening.away.load(Ordering::SeqCst) {
                    sender.send_replace(heard.borrow().clone());
                }
            }
        });
        way
    }

    fn check(&self) -> Result<(), CoordinationError> {
        if self.away.load(Ordering::SeqCst) { Err(self.failure()) } else { Ok(()) }
    }

    fn failure(&self) -> CoordinationError {
        self.failures.fetch_add(1, Ordering::SeqCst);
        let source = io::ErrorKind::ConnectionRefused.into();
        CoordinationError::Io { object: "the API server".to_owned(), source }
    }
}

#[async_trait]
impl Coordination for Interrupted {
    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError> {
        self.check()?;
        self.files.heartbeat(member).await
    }

    async fn leave(&self, node: &str) -> Result<(), CoordinationError> {
        self.files.leave(node).await
    }

    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError> {
        self.files.members().await
    }

    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError> {
        self.check()?;
        self.files.try_lead(node).await
    }

    async fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        self.files.leader().await
    }

    async fn active(&self) -> Result<Option<Map>, CoordinationError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        self.files.active().await
    }

    async fn proposed(&self) -> Result<Option<Map>, CoordinationError> {
        self.check()?;
        self.files.proposed().await
    }

    async fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError> {
        self.files.initialize(shards).await
    }

    async fn restore(
        &self,
        lead: &Leadership,
        shards: Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError> {
        self.files.restore(lead, shards, now).await
    }

    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        self.check()?;
        let proposed = self.files.propose(change, expected, now).await?;
        if self.loses_answer.swap(false, Ordering::SeqCst) {
            Err(self.failure())
        } else {
            Ok(proposed)
        }
    }

    async fn activate(&self, lead: &Leadership, generation: u64) -> Result<Map, CoordinationError> {
        self.files.activate(lead, generation).await
    }

    async fn reject(
        &self,
        lead: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), CoordinationError> {
        self.files.reject(lead, generation, reason).await
    }

    async fn withdraw(&self, generation: u64, reason: &str) -> Result<(), CoordinationError> {
        self.check()?;
        self.files.withdraw(generation, reason).await
    }

    async fn note_wait(&self, lead: &Leadership, waited: Waited) -> Result<(), CoordinationError> {
        self.files.note_wait(lead, waited).await
    }

    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError> {
        self.check()?;
        self.files.outcome(generation).await
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }
}
