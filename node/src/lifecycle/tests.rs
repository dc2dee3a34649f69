use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Parser;
use opaque_store::Store;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::Args;
use crate::coordination::{Change, FileCoordination, Leadership, Loss, MemberRecord};
use crate::map::placement::Shards;
use crate::query::cluster::tests::local;
use crate::shard::loader::tests::published;
use crate::shard::memory::Memory;
use crate::shard::memory::tests::for_tables;
use crate::shard::pool::CpuPool;
use crate::support::disk::Disk;
use crate::support::{self, Nobody};

const PATIENCE: Duration = Duration::from_secs(30);
/// Twice the nodes' --query-deadline-s.
const GRACE: Duration = Duration::from_secs(2);

/// A node without peers, in a cluster of one shard. The test acts as the leader.
struct Node {
    life: Arc<Lifecycle>,
    disk: Arc<Disk>,
    lead: Leadership,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    directory: TempDir,
}

impl Node {
    /// Two epochs of the tables `cubes` and `squares` are in the store, and the first ones are
    /// active. The node starts with a store that holds an object back.
    async fn start(held_back: Option<&'static str>) -> Self {
        Self::start_like(held_back, |_| {}, Memory::unlimited(), None).await
    }

    async fn ready() -> Self {
        let node = Self::start(None).await;
        node.until("the node is ready", Self::is_ready).await;
        node
    }

    /// Like [`start`](Self::start), without the manifests of the first epochs of some tables.
    async fn start_without(tables: &[&str]) -> Self {
        let lose = |state: &Path| {
            for table in tables {
                let manifest = manifest(state.parent().unwrap(), table);
                fs::rename(&manifest, manifest.with_extension("gone")).unwrap();
            }
        };
        Self::start_after(lose).await
    }

    /// Like [`start`](Self::start), after a change to the coordination directory.
    async fn start_after(accident: impl FnOnce(&Path)) -> Self {
        Self::start_like(None, accident, Memory::unlimited(), None).await
    }

    /// Like [`start`](Self::start), with a memory limit, and after a process that left this record
    /// while the second epoch of `squares` was proposed.
    async fn start_with(memory: Arc<Memory>, before: Option<MemberRecord>) -> Self {
        Self::start_like(None, |_| {}, memory, before).await
    }

    async fn start_like(
        held_back: Option<&'static str>,
        accident: impl FnOnce(&Path),
        memory: Arc<Memory>,
        before: Option<MemberRecord>,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        published(&directory).await;
        published(&directory).await;
        let state = directory.path().join("state");
        let coordination = FileCoordination::open(&state).await.unwrap();
        coordination.initialize(Shards::equal(1).unwrap()).await.unwrap();
        let lead = coordination.try_lead("test").await.unwrap().unwrap();
        for table in ["cubes", "squares"] {
            let generation = propose(&coordination, table, 1).await;
            coordination.activate(&lead, generation).await.unwrap();
        }
        if before.is_some() {
            assert_eq!(propose(&coordination, "squares", 2).await, PROPOSED);
        }
        accident(&state);
        let coordination = FileCoordination::open(&state).await.unwrap();
        let disk = Arc::new(Disk::new(directory.path()));
        disk.held_back.send_replace(held_back);
        if let Some(before) = before {
            coordination.heartbeat(&before).await.unwrap();
        }
        let (stop, stopped) = watch::channel(false);
        let arguments = "--name node --shard 0 --shards 1 --query-deadline-s 1";
        let store = Store::new(Arc::clone(&disk) as _);
        let life = life(arguments, Arc::new(coordination), store, &directory, &stopped);
        let life = Arc::new(Lifecycle { loader: life.loader.admitted_by(memory), ..life });
        let running = tokio::spawn(Arc::clone(&life).run(stopped));
        Self { life, disk, lead, stop, running, directory }
    }

    /// A file of the coordination directory.
    fn state(&self, file: &str) -> PathBuf {
        self.directory.path().join("state").join(file)
    }

    /// Writes the served map, like a leader.
    async fn restore(&self) {
        let (shards, now) = (Shards::equal(1).unwrap(), UnixMillis::now());
        self.life.coordination.restore(&self.lead, shards, now).await.unwrap();
    }

    /// Restores the manifest of a table's first epoch.
    fn mend(&self, table: &str) {
        let manifest = manifest(self.directory.path(), table);
        fs::rename(manifest.with_extension("gone"), manifest).unwrap();
    }

    fn says(&self) -> MemberRecord {
        self.life.state.record(UnixMillis(0), self.life.local.resident_bytes())
    }

    fn misses(&self) -> Vec<String> {
        self.says().missing.into_keys().collect()
    }

    /// Proposes another epoch of `squares`.
    async fn propose(&self, epoch: u64) -> u64 {
        propose(&*self.life.coordination, "squares", epoch).await
    }

    async fn activate(&self, generation: u64) {
        self.life.coordination.activate(&self.lead, generation).await.unwrap();
    }

    /// The partitions that were requested and whose path contains `part`.
    fn partitions_read(&self, part: &str) -> Vec<String> {
        let mut reads = self.disk.reads.lock().unwrap().clone();
        reads.retain(|path| path.contains("/partition-") && path.contains(part));
        reads
    }

    fn assert_read_once(&self, part: &str) {
        let mut reads = self.partitions_read(part);
        let all = reads.len();
        reads.sort();
        reads.dedup();
        assert_eq!(reads.len(), all);
    }

    async fn withdraw(&self, generation: u64) {
        self.life.coordination.withdraw(generation, "no longer wanted").await.unwrap();
    }

    fn has_failed(&self, generation: u64) -> bool {
        self.says().failed.is_some_and(|failed| failed.generation == generation)
    }

    fn is_ready(&self) -> bool {
        self.life.readiness.is_ready()
    }

    fn holds(&self) -> Vec<u64> {
        self.life.local.generations().iter().map(|serving| serving.map.generation).collect()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        support::until(what, async || condition(self)).await;
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap();
    }
}

fn manifest(directory: &Path, table: &str) -> PathBuf {
    let epoch = format!("tables/{table}/epochs/00000000000000000001");
    directory.join(epoch).join("manifest.json")
}

async fn propose(
    coordination: &dyn Coordination,
    table: &str,
    epoch: impl Into<Option<u64>>,
) -> u64 {
    let active = coordination.active().await.unwrap().unwrap().generation;
    let change = Change::Table { table: table.to_owned(), epoch: epoch.into() };
    coordination.propose(change, active, UnixMillis::now()).await.unwrap().generation
}

/// Waits until the node can see that a generation is active.
async fn until_heard(life: &Lifecycle, generation: u64) {
    let mut snapshots = life.coordination.watch();
    let heard = |snapshot: &Arc<Snapshot>| {
        snapshot.active.as_ref().is_some_and(|map| map.generation == generation)
    };
    timeout(PATIENCE, snapshots.wait_for(heard)).await.unwrap().unwrap();
}

/// A node that knows no peers.
pub(super) fn life(
    arguments: &str,
    coordination: Arc<dyn Coordination>,
    store: Store,
    directory: &TempDir,
    stopped: &watch::Receiver<bool>,
) -> Lifecycle {
    let arguments = format!(
        "opaque-node {arguments} --client-listen 127.0.0.1:0 --peer-listen 127.0.0.1:0 \
         --store unused --coordination unused --tls-dir unused"
    );
    let args = Args::try_parse_from(arguments.split_whitespace()).unwrap();
    let config = Config::try_from(args).unwrap();
    let (name, shard, pool) = (config.name.clone(), config.shard, CpuPool::new(2, 8).unwrap());
    Lifecycle {
        coordination,
        local: Arc::new(local(directory)),
        loader: Loader::new(shard, store, pool.clone(), 2),
        state: Arc::new(ReplicaState::new(name.clone(), shard, String::new(), name)),
        coordinator: Arc::new(Coordinator::new(Arc::new(Nobody), pool, config.query_deadline())),
        greeter: Arc::new(Nobody),
        turned_away: TurnedAway::default(),
        probes: ProbeMetrics::default(),
        health: tonic_health::server::health_reporter().0,
        readiness: Readiness::not_yet("starting"),
        retiring: stopped.clone(),
        lacking: Notify::new(),
        config,
    }
}

const FIRST: &str = "squares/epochs/00000000000000000001/index-0/partition-";
const SECOND: &str = "squares/epochs/00000000000000000002/index-0/partition-";

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_its_peers_have_let_go_when_it_is_loaded_makes_no_node_ready() {
    let node = Node::start(Some(FIRST)).await;
    node.until("the node loads", |node| !node.partitions_read(FIRST).is_empty()).await;
    let next = node.propose(2).await;
    node.activate(next).await;
    // From the peers' point of view. This node's load continues.
    sleep(GRACE + Duration::from_secs(1)).await;
    node.disk.held_back.send_replace(Some(SECOND));
    node.until("the node loads again", |node| !node.partitions_read(SECOND).is_empty()).await;
    assert!(!node.is_ready());
    assert_eq!(node.holds(), [0; 0]);

    node.disk.held_back.send_replace(None);
    node.until("the node is ready", Node::is_ready).await;
    assert_eq!(node.holds(), [next]);
    // A table that both generations have was loaded once.
    node.assert_read_once("cubes/");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_generation_makes_no_node_ready_while_its_peers_still_hold_it() {
    let node = Node::start(Some(FIRST)).await;
    node.until("the node loads", |node| !node.partitions_read(FIRST).is_empty()).await;
    let next = node.propose(2).await;
    node.activate(next).await;
    until_heard(&node.life, next).await;
    node.disk.held_back.send_replace(Some(SECOND));
    node.until("the node loads again", |node| !node.partitions_read(SECOND).is_empty()).await;
    assert!(!node.is_ready());
    node.disk.held_back.send_replace(None);
    node.until("the node is ready", Node::is_ready).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_still_prepares_what_is_active_turns_clients_away_when_its_peers_let_go() {
    let node = Node::ready().await;
    node.disk.held_back.send_replace(Some(SECOND));
    let next = node.propose(2).await;
    node.until("the node prepares", |node| !node.partitions_read(SECOND).is_empty()).await;
    assert!(node.is_ready(), "it still serves");
    node.activate(next).await;
    node.until("the node is not ready", |node| !node.is_ready()).await;
    assert_eq!(node.holds(), [0; 0]);
    node.disk.held_back.send_replace(None);
    node.until("the node is ready again", Node::is_ready).await;
    assert_eq!(node.holds(), [next]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_while_is_no_failure_to_prepare() {
    let node = Node::ready().await;
    node.disk.away.store(true, Ordering::SeqCst);
    let next = node.propose(2).await;
    node.until("the node tries again", |node| node.says().message.contains("trying again")).await;
    assert_eq!(node.says().failed, None);
    node.disk.away.store(false, Ordering::SeqCst);
    node.until("the node has prepared", |node| node.says().prepared_generation == next).await;

    // Damage is permanent.
    node.activate(next).await;
    let bad = node.propose(3).await;
    let failed = |node: &Node| node.says().failed.is_some_and(|failed| failed.generation == bad);
    node.until("the node has failed", failed).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_with_what_it_serves_when_the_map_is_lost_or_older() {
    let node = Node::ready().await;
    let older = fs::read(node.state("active.json")).unwrap();
    let next = node.propose(2).await;
    node.activate(next).await;
    node.until("the node serves the next", |node| node.says().active_generation == next).await;
    let epochs = BTreeMap::from([("cubes".to_owned(), 1), ("squares".to_owned(), 2)]);
    assert_eq!(node.says().tables, epochs);
    sleep(GRACE * 2).await;
    assert_eq!(node.holds(), [next]);

    let goes_on = async |loss: &Loss| {
        let lost = Standing::Lost(loss.clone());
        let standing = |node: &Node| node.life.coordination.watch().borrow().standing.clone();
        node.until("the loss is seen", |node| standing(node) == lost).await;
        sleep(GRACE * 2).await;
        assert!(node.is_ready() && node.holds() == [next], "{:?} after {loss}", node.holds());
        node.restore().await;
        node.until("all is well", |node| standing(node) == Standing::Agreed).await;
    };
    fs::remove_file(node.state("active.json")).unwrap();
    goes_on(&Loss::Missing).await;
    fs::write(node.state("active.json"), &older).unwrap();
    goes_on(&Loss::Older { written: next - 1, served: next }).await;

    // The served map was proposed again, above every number.
    let again = next + 1;
    node.until("the node has prepared", |node| node.says().prepared_generation == again).await;
    node.activate(again).await;
    node.until("the node serves it", |node| node.says().active_generation == again).await;
    assert_eq!(node.says().tables, epochs);
    // It was loaded once.
    node.assert_read_once("");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_know_nothing_prepare_a_lost_map_without_one_that_is_active() {
    let lose = |state: &Path| {
        fs::rename(state.join("active.json"), state.join("proposed.json")).unwrap();
    };
    let node = Node::start_after(lose).await;
    node.until("the node has prepared", |node| node.says().prepared_generation == 3).await;
    assert!(!node.is_ready() && node.says().active_generation == 0, "it was not tested yet");
    let waits = "waiting for generation 3 to become active";
    node.until("the node says what it waits for", |node| node.says().message == waits).await;
    node.activate(3).await;
    node.until("the node is ready", Node::is_ready).await;
    assert_eq!(node.holds(), [3]);
    node.stop().await;

    // The tables that can be loaded suffice, as after a restart.
    let node = Node::start_after(|state| {
        lose(state);
        let epoch = "../tables/squares/epochs/00000000000000000001/manifest.json";
        fs::remove_file(state.join(epoch)).unwrap();
    })
    .await;
    node.until("the node has prepared", |node| node.says().prepared_generation == 3).await;
    assert_eq!(node.says().failed, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_one_table_is_ready_and_loads_it_again_during_a_proposal() {
    let node = Node::start_without(&["cubes"]).await;
    node.until("the node is ready", Node::is_ready).await;
    let reason = node.says().missing["cubes"].clone();
    assert!(reason.contains("manifest.json"), "{reason}");
    assert_eq!(node.says().active_generation, node.holds()[0]);

    // The table is loaded again, which takes a while.
    node.disk.held_back.send_replace(Some("cubes/epochs/00000000000000000001/index-0/partition-"));
    node.mend("cubes");
    node.until("it is loaded again", |node| !node.partitions_read("cubes/").is_empty()).await;
    let next = node.propose(2).await;
    node.until("a proposal is prepared", |node| node.says().prepared_generation == next).await;
    node.activate(next).await;
    let serves = |node: &Node| node.says().active_generation == next;
    node.until("the node serves the proposal", serves).await;
    assert_eq!((node.is_ready(), node.misses()), (true, vec!["cubes".to_owned()]));

    node.disk.held_back.send_replace(None);
    node.until("the table is there", |node| node.misses().is_empty()).await;
    assert!(node.is_ready());
    // Only the missing table was loaded again.
    node.assert_read_once("squares/");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_as_soon_as_it_serves_one_table_and_not_when_none_is_left() {
    let node = Node::start_without(&["cubes", "squares"]).await;
    node.until("both are missing", |node| node.misses() == ["cubes", "squares"]).await;
    assert!(!node.is_ready());
    assert!(node.says().message.contains("manifest.json"), "{}", node.says().message);
    node.mend("squares");
    node.until("the node is ready", Node::is_ready).await;
    assert_eq!(node.misses(), ["cubes"]);

    // The only table that the node serves is dropped.
    let dropped = propose(&*node.life.coordination, "squares", None).await;
    node.activate(dropped).await;
    node.until("the node is not ready", |node| !node.is_ready()).await;
    assert_eq!(node.misses(), ["cubes"]);
    node.mend("cubes");
    node.until("the node is ready again", Node::is_ready).await;
    assert!(node.misses().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_that_is_dropped_is_missed_no_more() {
    let node = Node::start_without(&["cubes"]).await;
    node.until("the node is ready", Node::is_ready).await;
    node.disk.held_back.send_replace(Some("cubes/epochs/00000000000000000001/index-0/partition-"));
    node.mend("cubes");
    node.until("it is loaded again", |node| !node.partitions_read("cubes/").is_empty()).await;
    let dropped = propose(&*node.life.coordination, "cubes", None).await;
    node.activate(dropped).await;
    node.until("it is forgotten", |node| node.misses().is_empty()).await;
    let serves = |node: &Node| node.says().active_generation == dropped;
    node.until("the node serves the rest", serves).await;
    assert!(node.is_ready());
    node.stop().await;
}

/// Generation of the first proposal of a test.
const PROPOSED: u64 = 4;

/// Memory of both tables, in MiB.
async fn both_tables() -> u64 {
    let directory = TempDir::new().unwrap();
    let manifests = published(&directory).await;
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    let loader = Loader::new(0, store, CpuPool::new(2, 8).unwrap(), 2);
    let tables: Vec<_> = manifests.iter().map(|one| (one.schema.table(), one.epoch)).collect();
    let map = support::map(1, 1, &tables);
    let need = loader.plan(&map, None, &[]).await.unwrap().need();
    (need.resident + need.building).div_ceil(1 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_does_not_fit_is_refused_and_what_is_served_stays() {
    let memory = for_tables(both_tables().await + 1);
    let node = Node::start_with(memory, None).await;
    node.until("the node is ready", Node::is_ready).await;
    let held = node.says().resident_bytes;
    let next = node.propose(2).await;
    node.until("the node refuses", |node| node.has_failed(next)).await;
    let reason = node.says().failed.unwrap().reason;
    assert!(reason.contains("MiB of memory are required and"), "{reason}");
    assert!(reason.contains("raise the memory limit"), "{reason}");
    assert_eq!(node.partitions_read(SECOND), [""; 0]);
    assert!(node.is_ready());
    assert_eq!(node.says().resident_bytes, held);
    assert_eq!(node.says().preparing, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_stops_and_leaves_nothing_when_its_proposal_is_withdrawn() {
    let node = Node::ready().await;
    let held = node.says().resident_bytes;
    node.disk.held_back.send_replace(Some(SECOND));
    let next = node.propose(2).await;
    node.until("the node prepares", |node| !node.partitions_read(SECOND).is_empty()).await;
    assert_eq!(node.says().preparing, Some(next));
    // The store never answers, and nothing waits for it.
    node.withdraw(next).await;
    node.until("the node rests", |node| node.says().preparing.is_none()).await;
    assert_eq!((node.says().resident_bytes, node.holds()), (held, vec![next - 1]));
    assert!(node.is_ready() && node.says().message.is_empty() && node.says().failed.is_none());
    // The next proposal is loaded as usual.
    node.disk.held_back.send_replace(None);
    let next = node.propose(2).await;
    node.until("it is prepared", |node| node.says().prepared_generation == next).await;
    assert_eq!(node.says().preparing, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_leaves_memory_when_its_proposal_is_withdrawn() {
    let node = Node::ready().await;
    let held = node.says().resident_bytes;
    let next = node.propose(2).await;
    node.until("it is prepared", |node| node.says().prepared_generation == next).await;
    assert!(node.says().resident_bytes > held);
    node.withdraw(next).await;
    node.until("it leaves memory", |node| node.says().resident_bytes == held).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_given_up_generation_are_shared_with_the_next() {
    let mut node = Node::ready().await;
    let next = node.propose(2).await;
    node.until("it is prepared", |node| node.says().prepared_generation == next).await;
    node.stop.send(true).unwrap();
    (&mut node.running).await.unwrap();
    let life = &node.life;
    let prepared = life.local.generation(next).unwrap();
    let active = life.coordination.active().await.unwrap().unwrap();
    let reads = node.partitions_read(SECOND).len();
    // Proposed again under another number, with another table that changed.
    let mut map = Map { generation: next + 1, ..prepared.map.clone() };
    map.tables.insert("cubes".to_owned(), 2);
    let given_up = life.give_up(&active, Some(&map), false);
    assert!(life.local.generation(next).is_none());
    assert_eq!(given_up.len(), 1);
    let serving = life.loader.load(&map, None, &given_up, &|_| {}).await.unwrap();
    assert!(Arc::ptr_eq(&serving.tables["squares"], &prepared.tables["squares"]));
    assert_eq!(node.partitions_read(SECOND).len(), reads, "loaded again");
    // Nothing is kept for a map that does not need it, or without any map.
    let other = Map { generation: next + 2, ..active.clone() };
    life.local.install(serving);
    assert!(life.give_up(&active, None, false).is_empty());
    assert!(life.give_up(&active, Some(&other), false).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ended_while_it_prepared_a_generation_does_not_try_again() {
    let state = ReplicaState::new("node".into(), 0, String::new(), String::new());
    let before = MemberRecord { preparing: Some(PROPOSED), ..state.record(UnixMillis(1), 0) };
    let node = Node::start_with(Memory::unlimited(), Some(before)).await;
    let next = PROPOSED;
    node.until("the node refuses", |node| node.has_failed(next)).await;
    let reason = node.says().failed.unwrap().reason;
    assert!(reason.starts_with("this node ended while it prepared generation 4"), "{reason}");
    node.until("the node is ready", Node::is_ready).await;
    assert_eq!(node.partitions_read(SECOND), [""; 0]);
    assert_eq!(node.says().preparing, Some(next), "the shard's other replicas see it");
    // Another proposal is a new case.
    node.withdraw(next).await;
    node.until("it is forgotten", |node| node.says().preparing.is_none()).await;
    let next = node.propose(2).await;
    node.until("it is prepared", |node| node.says().prepared_generation == next).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_waits_until_the_one_before_it_has_prepared_or_failed() {
    for prepares in [true, false] {
        let node = Node::ready().await;
        // Comes before "node" by name.
        let other = ReplicaState::new("a".into(), 0, String::new(), String::new());
        let renew = async || {
            let record = other.record(UnixMillis::now(), 0);
            let record = MemberRecord { active_generation: PROPOSED - 1, ..record };
            node.life.coordination.heartbeat(&record).await.unwrap();
        };
        renew().await;
        let mut snapshots = node.life.coordination.watch();
        let heard = snapshots.wait_for(|snapshot| snapshot.members.len() == 2);
        timeout(PATIENCE, heard).await.unwrap().unwrap();
        let next = node.propose(2).await;
        let waits = |node: &Node| node.says().message.contains("node a prepares first");
        node.until("the node waits", waits).await;
        for _ in 0..5 {
            renew().await;
            sleep(Duration::from_millis(200)).await;
        }
        assert!(waits(&node) && node.partitions_read(SECOND).is_empty());
        match prepares {
            true => other.prepared(next),
            false => other.failed(next, "a fault".to_owned()),
        }
        renew().await;
        node.until("it is prepared", |node| node.says().prepared_generation == next).await;
        node.stop().await;
    }
}
