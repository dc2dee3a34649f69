//! The leader notices when a served table becomes wrong, and when it is right again.

use std::time::Duration;

use opaque_node::coordination::{Coordination, FailedProbe, FileCoordination, Outcome};
use tokio::time::{sleep, timeout};

use super::activation::Nodes;
use super::faults::Fault;
use super::harness::Cluster;

const GENERATION: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_served_table_that_becomes_wrong_is_reported_by_the_leader_until_it_is_right() {
    let mut cluster = Cluster::start(GENERATION).await;
    Fault::FlippedBit.plant(&mut cluster).await;
    let honest = cluster.load(GENERATION, 1).await;
    let wrong = std::mem::replace(&mut cluster.loaded, honest);
    let mended = cluster.load(GENERATION, 1).await;
    let arguments = ["--probe-interval-s", "1"];
    let nodes = Nodes::start(cluster, GENERATION, &arguments, Duration::ZERO).await;
    let (coordination, shards) = (&nodes.coordination, &nodes.caller.shards);
    until(async || coordination.outcome(GENERATION).await.unwrap() == Outcome::Activated).await;
    assert_eq!(report(coordination).await, None);

    for (shard, serving) in (0..).zip(wrong) {
        shards[&shard].install(serving);
    }
    until(async || report(coordination).await.is_some()).await;
    let FailedProbe { reason, wrong } = report(coordination).await.unwrap();
    assert!(wrong && reason.contains("node-0"), "{reason}");

    for (shard, serving) in (0..).zip(mended) {
        shards[&shard].install(serving);
    }
    until(async || report(coordination).await.is_none()).await;
    nodes.stop().await;
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
