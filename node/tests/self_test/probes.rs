//! The leader notices when a served table becomes wrong, and when it is right again.

use std::sync::Arc;
use std::time::Duration;

use opaque_node::coordination::{Change, Coordination, FailedProbe, FileCoordination, Outcome};
use opaque_node::map::placement::Shards;
use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::activation::life;
use super::faults::Fault;
use super::harness::{Cluster, InProcess, SHARDS};

const GENERATION: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_served_table_that_becomes_wrong_is_reported_by_the_leader_until_it_is_right() {
    let mut cluster = Cluster::start(GENERATION).await;
    Fault::FlippedBit.plant(&mut cluster).await;
    let honest = cluster.load(GENERATION, 1).await;
    let wrong = std::mem::replace(&mut cluster.loaded, honest);
    let mended = cluster.load(GENERATION, 1).await;
    let (store, bfv, pool) =
        (cluster.store.clone(), Arc::clone(&cluster.bfv), cluster.pool.clone());
    let caller: Arc<InProcess> = Arc::new(cluster.into_caller());
    let folder = caller.directory.path().join("coordination");
    let coordination = FileCoordination::open(&folder).await.unwrap();
    coordination.initialize(Shards::equal(SHARDS).unwrap()).await.unwrap();
    let change = Change::Table { table: "numbers".to_owned(), epoch: Some(1) };
    coordination.propose(change, GENERATION - 1, UnixMillis::now()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut lives = Vec::new();
    for shard in 0..SHARDS {
        let parts = (&caller, &store, &bfv, &pool);
        let life = life(shard, &["--probe-interval-s", "1"], &folder, parts, &stopped).await;
        lives.push(tokio::spawn(Arc::new(life).run(stopped.clone())));
    }
    until(async || coordination.outcome(GENERATION).await.unwrap() == Outcome::Activated).await;
    assert_eq!(report(&coordination).await, None);

    for (shard, serving) in (0..).zip(wrong) {
        caller.shards[&shard].install(serving);
    }
    until(async || report(&coordination).await.is_some()).await;
    let FailedProbe { reason, wrong } = report(&coordination).await.unwrap();
    assert!(wrong && reason.contains("node-0"), "{reason}");

    for (shard, serving) in (0..).zip(mended) {
        caller.shards[&shard].install(serving);
    }
    until(async || report(&coordination).await.is_none()).await;
    stop.send(true).unwrap();
    for life in lives {
        life.await.unwrap();
    }
}

/// The result of the table's probe that any node reports.
async fn report(coordination: &FileCoordination) -> Option<FailedProbe> {
    let members = coordination.members().await.unwrap();
    members.iter().find_map(|member| member.probes.get("numbers").cloned())
}

async fn until(condition: impl AsyncFn() -> bool) {
    let looking = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
}
