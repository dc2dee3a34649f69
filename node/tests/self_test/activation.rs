//! A leader activates a proposal if its self-test succeeds, and rejects one with any fault.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use opaque_node::config::{Args, Config};
use opaque_node::coordination::{Change, Coordination, FileCoordination, Outcome};
use opaque_node::lifecycle::{Lifecycle, ProbeMetrics, TurnedAway};
use opaque_node::map::placement::Shards;
use opaque_node::query::coordinator::Coordinator;
use opaque_node::shard::loader::Loader;
use opaque_node::shard::pool::CpuPool;
use opaque_node::shard::replica::ReplicaState;
use opaque_ops::admin::Readiness;
use opaque_seal::Bfv;
use opaque_store::{Store, UnixMillis};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::faults::Fault;
use super::harness::{Cluster, InProcess, SHARDS, local};

/// The generation after the first map.
const PROPOSED: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_proposal_is_activated() {
    let cluster = Cluster::start(PROPOSED).await;
    let (outcome, active) = propose(cluster).await;
    assert_eq!((outcome, active), (Outcome::Activated, PROPOSED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_with_any_fault_is_rejected() {
    for fault in Fault::ALL {
        let mut cluster = Cluster::start(PROPOSED).await;
        fault.plant(&mut cluster).await;
        let (outcome, active) = propose(cluster).await;
        let Outcome::Rejected { reason } = outcome else { panic!("{fault:?}: {outcome:?}") };
        assert_eq!(active, PROPOSED - 1, "{fault:?}: the old map stays");
        println!("{fault:?}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_comes_late_is_waited_for_longer_than_clients_wait() {
    let late = Duration::from_secs(3);
    let cluster = Cluster::start(PROPOSED).await;
    let (outcome, _) = propose_to(cluster, &["--activation-deadline-s", "1"], late).await;
    assert_eq!(outcome, Outcome::Activated);

    let cluster = Cluster::start(PROPOSED).await;
    let (outcome, _) = propose_to(cluster, &["--prepare-deadline-s", "1"], late).await;
    let reason = "no replica prepared it within 1 s on shard 2".to_owned();
    assert_eq!(outcome, Outcome::Rejected { reason });
}

async fn propose(cluster: Cluster) -> (Outcome, u64) {
    propose_to(cluster, &[], Duration::ZERO).await
}

/// Proposes epoch 1 of the table, runs three nodes with these arguments, the last of them `late`,
/// and waits for the leader's decision. The nodes load correctly. Their self-tests query `cluster`,
/// which may have faults.
async fn propose_to(cluster: Cluster, arguments: &[&str], late: Duration) -> (Outcome, u64) {
    let nodes = Nodes::start(cluster, PROPOSED, arguments, late).await;
    let decided = async {
        loop {
            match nodes.coordination.outcome(PROPOSED).await.unwrap() {
                Outcome::Pending => tokio::time::sleep(Duration::from_millis(20)).await,
                decided => return decided,
            }
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(120), decided).await.unwrap();
    let active = nodes.coordination.active().await.unwrap().unwrap().generation;
    nodes.stop().await;
    (outcome, active)
}

/// The nodes of a cluster for which a table is proposed.
pub(crate) struct Nodes {
    pub(crate) coordination: FileCoordination,
    pub(crate) caller: Arc<InProcess>,
    stop: watch::Sender<bool>,
    lives: Vec<JoinHandle<()>>,
}

impl Nodes {
    /// Starts one node for each shard, the last one after `late`.
    pub(crate) async fn start(
        cluster: Cluster,
        proposed: u64,
        arguments: &[&str],
        late: Duration,
    ) -> Self {
        let (store, bfv, pool) =
            (cluster.store.clone(), Arc::clone(&cluster.bfv), cluster.pool.clone());
        let caller: Arc<InProcess> = Arc::new(cluster.into_caller());
        let folder = caller.directory.path().join("coordination");
        let coordination = FileCoordination::open(&folder).await.unwrap();
        coordination.initialize(Shards::equal(SHARDS).unwrap()).await.unwrap();
        let change = Change::Table { table: "numbers".to_owned(), epoch: Some(1) };
        coordination.propose(change, proposed - 1, UnixMillis::now()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut lives = Vec::new();
        for shard in 0..SHARDS {
            if shard == SHARDS - 1 {
                tokio::time::sleep(late).await;
            }
            let parts = (&caller, &store, &bfv, &pool);
            let life = life(shard, arguments, &folder, parts, &stopped).await;
            lives.push(tokio::spawn(Arc::new(life).run(stopped.clone())));
        }
        Self { coordination, caller, stop, lives }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        for life in self.lives {
            life.await.unwrap();
        }
    }
}

/// A node whose self-tests and probes query `caller`, and which loads from `store`.
async fn life(
    shard: u32,
    arguments: &[&str],
    folder: &Path,
    (caller, store, bfv, pool): (&Arc<InProcess>, &Store, &Arc<Bfv>, &CpuPool),
    stopped: &watch::Receiver<bool>,
) -> Lifecycle {
    let config = config(shard, arguments);
    let coordinator =
        Coordinator::new(Arc::clone(caller) as _, pool.clone(), config.query_deadline());
    let state = ReplicaState::new(config.name.clone(), shard, String::new(), String::new());
    Lifecycle {
        coordination: Arc::new(FileCoordination::open(folder).await.unwrap()),
        local: Arc::new(local(store, bfv, pool)),
        loader: Loader::new(shard, store.clone(), pool.clone(), 2),
        state: Arc::new(state),
        coordinator: Arc::new(coordinator),
        greeter: Arc::clone(caller) as _,
        turned_away: TurnedAway::default(),
        probes: ProbeMetrics::default(),
        health: tonic_health::server::health_reporter().0,
        readiness: Readiness::not_yet("starting"),
        retiring: stopped.clone(),
        lacking: Notify::new(),
        config,
    }
}

fn config(shard: u32, more: &[&str]) -> Config {
    let arguments = format!(
        "opaque-node --name node-{shard} --shard {shard} --shards {SHARDS} \
         --client-listen 127.0.0.1:0 --peer-listen 127.0.0.1:0 --store unused \
         --coordination unused --tls-dir unused"
    );
    let arguments = arguments.split_whitespace().chain(more.iter().copied());
    Config::try_from(Args::try_parse_from(arguments).unwrap()).unwrap()
}
