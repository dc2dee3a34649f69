use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use opaque_pir::machine::Kernels;
use opaque_seal::Bfv;
use opaque_store::Store;
use tempfile::TempDir;

use super::*;
use crate::coordination::Leadership;
use crate::map::placement::Shards;
use crate::shard::keys::KeyCache;
use crate::shard::pool::CpuPool;
use crate::shard::registry::Registry;
use crate::support::{Interrupted, serving, until};

const PATIENCE: Duration = Duration::from_secs(60);

impl Interrupted {
    async fn until_proposed(&self) {
        until("a map is proposed", async || self.files.proposed().await.unwrap().is_some()).await;
    }

    /// Three more attempts have failed.
    async fn until_it_was_missed(&self) {
        let enough = self.failures.load(Ordering::SeqCst) + 3;
        let missed = async || self.failures.load(Ordering::SeqCst) >= enough;
        until("three more attempts have failed", missed).await;
    }
}

/// A node of a cluster with one shard. The test acts as the leader.
struct Node {
    cluster: Arc<Cluster>,
    state: Arc<Interrupted>,
    local: Arc<LocalShard>,
    lead: Leadership,
    _directory: TempDir,
}

impl Node {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let state = Interrupted::open(&directory).await;
        state.initialize(Shards::equal(1).unwrap()).await.unwrap();
        let lead = state.try_lead("leader").await.unwrap().unwrap();
        let local = Arc::new(local(&directory));
        let coordination = Arc::clone(&state) as Arc<dyn Coordination>;
        let cluster =
            Arc::new(Cluster::new(coordination, Arc::clone(&local), "node".to_owned(), 0));
        Self { cluster, state, local, lead, _directory: directory }
    }

    /// Requests that the cluster serves epoch 1 of a table.
    fn changes(&self, patience: Duration) -> tokio::task::JoinHandle<Result<u64, NodeError>> {
        let cluster = Arc::clone(&self.cluster);
        let change = Change::Table { table: "t".to_owned(), epoch: Some(1) };
        tokio::spawn(async move { cluster.change(change, patience).await })
    }

    /// The leader activates a generation, and this node has loaded it.
    async fn activate(&self, generation: u64) {
        let map = self.state.activate(&self.lead, generation).await.unwrap();
        self.local.install(Serving { map, ..serving(generation) });
    }
}

/// A replica that holds nothing.
pub(crate) fn local(directory: &TempDir) -> LocalShard {
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    let (bfv, pool) = (Bfv::new().unwrap(), CpuPool::new(1, 1).unwrap());
    let cache = KeyCache::new(NonZeroUsize::MIN, Duration::from_secs(1));
    let registry = Registry::new(cache, store, Arc::clone(&bfv), pool.clone());
    LocalShard::new(Arc::new(registry), bfv, pool, Kernels::best(), 1 << 20)
}

#[tokio::test]
async fn a_change_is_waited_for_while_the_state_cannot_be_read() {
    let node = Node::start().await;
    node.state.away.store(true, Ordering::SeqCst);
    let changing = node.changes(PATIENCE);
    node.state.until_it_was_missed().await;
    node.state.away.store(false, Ordering::SeqCst);
    node.state.until_proposed().await;
    node.state.away.store(true, Ordering::SeqCst);
    node.state.until_it_was_missed().await;
    node.activate(2).await;
    node.state.away.store(false, Ordering::SeqCst);
    assert_eq!(changing.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_rejection_is_heard_after_the_state_was_away() {
    let node = Node::start().await;
    let changing = node.changes(PATIENCE);
    node.state.until_proposed().await;
    node.state.away.store(true, Ordering::SeqCst);
    node.state.until_it_was_missed().await;
    node.state.reject(&node.lead, 2, "a fault").await.unwrap();
    node.state.away.store(false, Ordering::SeqCst);
    let refused = changing.await.unwrap().unwrap_err();
    assert!(matches!(&refused, NodeError::Refused(reason) if reason == "a fault"), "{refused}");
}

#[tokio::test]
async fn a_state_that_stays_away_is_reported_as_such() {
    let node = Node::start().await;
    node.state.away.store(true, Ordering::SeqCst);
    let late = node.changes(Duration::from_millis(300)).await.unwrap().unwrap_err();
    assert!(matches!(late, NodeError::Deadline(STATE)), "{late}");
}

#[tokio::test]
async fn a_proposal_whose_answer_was_lost_is_not_proposed_again() {
    for decided_before_the_next_look in [false, true] {
        let node = Node::start().await;
        node.state.loses_answer.store(true, Ordering::SeqCst);
        let changing = node.changes(PATIENCE);
        node.state.until_proposed().await;
        if decided_before_the_next_look {
            node.state.away.store(true, Ordering::SeqCst);
            node.state.until_it_was_missed().await;
        }
        node.activate(2).await;
        node.state.away.store(false, Ordering::SeqCst);
        assert_eq!(changing.await.unwrap().unwrap(), 2);
        assert_eq!(node.state.proposed().await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_newest_wish_for_a_table_is_not_kept_waiting_by_an_older_one() {
    let node = Node::start().await;
    let change = |epoch| {
        let cluster = Arc::clone(&node.cluster);
        let change = Change::Table { table: "t".to_owned(), epoch: Some(epoch) };
        tokio::spawn(async move { cluster.change(change, PATIENCE).await })
    };
    let first = change(1);
    node.state.until_proposed().await;
    let second = change(2);
    let refused = first.await.unwrap().unwrap_err().to_string();
    assert!(refused.starts_with("withdrawn: generation 3"), "{refused}");
    node.activate(3).await;
    assert_eq!(second.await.unwrap().unwrap(), 3);

    // The served epoch is requested again while another epoch waits.
    let third = change(3);
    node.state.until_proposed().await;
    assert_eq!(change(2).await.unwrap().unwrap(), 3);
    assert_eq!(node.state.proposed().await.unwrap(), None);
    let refused = third.await.unwrap().unwrap_err().to_string();
    assert!(refused.starts_with("withdrawn: a request asked"), "{refused}");
}

#[tokio::test]
async fn a_change_of_another_table_waits_for_its_turn() {
    let node = Node::start().await;
    let first = node.changes(PATIENCE);
    node.state.until_proposed().await;
    let other = Change::Table { table: "u".to_owned(), epoch: Some(1) };
    let late = node.cluster.change(other, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(late, NodeError::Deadline(TURN)), "{late}");
    node.activate(2).await;
    assert_eq!(first.await.unwrap().unwrap(), 2);
}
