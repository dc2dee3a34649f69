//! Two nodes of two shards that may reach each other or not.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use opaque_store::Store;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::coordination::{Change, Coordination, Leadership};
use crate::lifecycle::tests::life;
use crate::map::call::Greeter;
use crate::map::placement::Shards;
use crate::shard::loader::tests::published;
use crate::shard::local::LocalShard;
use crate::shard::replica::ReplicaState;
use crate::support::{self, Interrupted};

/// Twice the nodes' --query-deadline-s.
const GRACE: Duration = Duration::from_secs(20);

/// The state that a node reports, and the data that it holds.
type House = (Arc<ReplicaState>, Arc<LocalShard>);

/// The connections between the nodes.
#[derive(Default)]
struct Street {
    nodes: Mutex<BTreeMap<String, House>>,
    /// Pairs of nodes between which nothing gets through, by sender and receiver.
    blocked: Mutex<BTreeSet<(&'static str, &'static str)>>,
    /// A generation that all nodes claim to serve.
    claimed: AtomicU64,
}

impl Street {
    fn block(&self, from: &'static str, to: &'static str) {
        self.blocked.lock().unwrap().insert((from, to));
    }

    fn heal(&self) {
        self.blocked.lock().unwrap().clear();
    }
}

struct Door(&'static str, Arc<Street>);

#[async_trait]
impl Greeter for Door {
    async fn hello(&self, replica: &Replica, generation: u64) -> Result<Hello, CallError> {
        let Self(own, street) = self;
        let unreachable = || CallError::TryAnother("unreachable".into());
        let blocked = street.blocked.lock().unwrap().contains(&(*own, &replica.node));
        let neighbour = street.nodes.lock().unwrap().get(&replica.node).cloned();
        let (state, local) = neighbour.filter(|_| !blocked).ok_or_else(unreachable)?;
        let holds = local.generation(generation).is_some();
        let claimed = street.claimed.load(Ordering::SeqCst);
        Ok(Hello { active_generation: state.active_generation().max(claimed), holds })
    }
}

struct Node {
    life: Arc<Lifecycle>,
    way: Arc<Interrupted>,
    running: JoinHandle<()>,
}

impl Node {
    fn is_ready(&self) -> bool {
        self.life.readiness.is_ready()
    }

    fn reason(&self) -> String {
        self.life.readiness.reason().unwrap_or_default()
    }

    fn unreachable(&self) -> Vec<ShardId> {
        self.life.state.record(UnixMillis(0), 0).unreachable
    }
}

/// Nodes `a` of shard 0 and `b` of shard 1. The test acts as the leader.
struct Cluster {
    a: Node,
    b: Node,
    street: Arc<Street>,
    lead: Leadership,
    stop: watch::Sender<bool>,
    _directory: TempDir,
}

impl Cluster {
    /// Two epochs of `cubes` and `squares` are in the store. The first of `cubes` is active, and
    /// both nodes are ready.
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        published(&directory).await;
        published(&directory).await;
        let street = Arc::new(Street::default());
        let (stop, stopped) = watch::channel(false);
        let way = Interrupted::open(&directory).await;
        way.initialize(Shards::equal(2).unwrap()).await.unwrap();
        let lead = way.try_lead("test").await.unwrap().unwrap();
        let a = start("a", 0, &street, &directory, &stopped).await;
        let b = start("b", 1, &street, &directory, &stopped).await;
        let cluster = Self { a, b, street, lead, stop, _directory: directory };
        let generation = cluster.load(1).await;
        cluster.until("both are ready", |c| c.serves(&c.a, generation)).await;
        cluster.until("both are ready", |c| c.serves(&c.b, generation)).await;
        cluster.until("they have met", |c| c.a.unreachable().is_empty()).await;
        cluster.until("they have met", |c| c.b.unreachable().is_empty()).await;
        cluster
    }

    /// Activates an epoch of `cubes` as soon as `a` has prepared it.
    async fn load(&self, epoch: u64) -> u64 {
        let files = &self.a.way.files;
        let active = files.active().await.unwrap().unwrap().generation;
        let change = Change::Table { table: "cubes".to_owned(), epoch: Some(epoch) };
        let generation = files.propose(change, active, UnixMillis::now()).await.unwrap().generation;
        let prepared =
            |c: &Self| c.a.life.state.record(UnixMillis(0), 0).prepared_generation == generation;
        self.until("it is prepared", prepared).await;
        files.activate(&self.lead, generation).await.unwrap();
        generation
    }

    fn serves(&self, node: &Node, generation: u64) -> bool {
        node.is_ready() && node.life.state.active_generation() == generation
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        support::until(what, async || condition(self)).await;
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.a.running.await.unwrap();
        self.b.running.await.unwrap();
    }
}

async fn start(
    name: &'static str,
    shard: u32,
    street: &Arc<Street>,
    directory: &TempDir,
    stopped: &watch::Receiver<bool>,
) -> Node {
    let deadline = GRACE.as_secs() / 2;
    let arguments =
        format!("--name {name} --shard {shard} --shards 2 --query-deadline-s {deadline}");
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    let way = Interrupted::open(directory).await;
    let greeter = Arc::new(Door(name, Arc::clone(street)));
    let life = life(&arguments, Arc::clone(&way) as _, store, directory, stopped);
    let life = Arc::new(Lifecycle { greeter, ..life });
    let neighbour = (Arc::clone(&life.state), Arc::clone(&life.local));
    street.nodes.lock().unwrap().insert(name.to_owned(), neighbour);
    let running = tokio::spawn(Arc::clone(&life).run(stopped.clone()));
    Node { life, way, running }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_watch_turns_clients_away_before_its_peers_let_go_and_comes_back() {
    let cluster = Cluster::start().await;
    let old = cluster.a.life.state.active_generation();
    cluster.b.way.away.store(true, Ordering::SeqCst);
    let next = cluster.load(2).await;
    cluster.until("the other serves the next", |c| c.serves(&c.a, next)).await;
    cluster.until("it turns clients away", |c| !c.b.is_ready()).await;
    assert!(cluster.a.life.local.generation(old).is_some(), "its peer has let go already");
    assert!(cluster.b.reason().contains("lost its watch"), "{}", cluster.b.reason());
    assert!(cluster.a.is_ready(), "{}", cluster.a.reason());

    cluster.b.way.away.store(false, Ordering::SeqCst);
    cluster.until("it has caught up", |c| c.serves(&c.b, next)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_claims_more_than_the_state_says_is_not_believed() {
    let cluster = Cluster::start().await;
    cluster.street.claimed.store(99, Ordering::SeqCst);
    let before = cluster.b.way.reads.load(Ordering::SeqCst);
    let compared = |c: &Cluster| c.b.way.reads.load(Ordering::SeqCst) >= before + 3;
    cluster.until("it has compared", compared).await;
    assert!(cluster.b.is_ready(), "{}", cluster.b.reason());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_reach_a_shard_leaves_clients_to_one_that_does() {
    let cluster = Cluster::start().await;
    cluster.street.block("b", "a");
    cluster.until("its record says so", |c| c.b.unreachable() == [ShardId(0)]).await;
    cluster.until("it turns clients away", |c| !c.b.is_ready()).await;
    assert!(cluster.b.reason().contains("shard 0"), "{}", cluster.b.reason());
    assert!(cluster.b.life.turned_away.is_cut_off());
    assert!(cluster.a.is_ready() && cluster.a.unreachable().is_empty());

    // If no node reaches all shards, clients are admitted and receive an error that names the
    // missing shard.
    cluster.street.block("a", "b");
    cluster.until("both say so", |c| c.a.unreachable() == [ShardId(1)]).await;
    cluster.until("both are ready", |c| c.a.is_ready() && c.b.is_ready()).await;

    cluster.street.heal();
    cluster.until("both reach all", |c| c.a.unreachable().is_empty()).await;
    cluster.until("both reach all", |c| c.b.unreachable().is_empty()).await;
    assert!(cluster.a.is_ready() && cluster.b.is_ready());
    cluster.stop().await;
}
