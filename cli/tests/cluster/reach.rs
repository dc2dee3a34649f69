//! Nodes that do not reach each other report it, and send clients to nodes that reach every shard.

use std::time::Instant;

use super::bare::Bare;
use super::harness::{rows, wait_until, words};
use super::replicas::Stopped;

const CAIRO: &str = "SELECT country FROM weather WHERE city = 'Cairo'";

/// Waits until every node reports that it reaches none of these shards.
async fn until_unreachable(cluster: &Bare, what: &str, expected: [&[u64]; 3]) {
    let started = Instant::now();
    for (node, expected) in (0..).zip(expected) {
        wait_until(what, || {
            let said = cluster.member(node).map(|member| member["unreachable"].clone());
            let said = said.filter(|said| !said.is_null());
            said.unwrap_or_else(|| serde_json::json!([])) == serde_json::json!(expected)
        })
        .await;
    }
    println!("{what}: {:?}", started.elapsed());
}

async fn answers(cluster: &Bare, node: u32) {
    assert_eq!(rows(&cluster.client(node), CAIRO).await, [[words("EG")]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_reach_each_other_say_so_and_leave_clients_to_one_that_reaches_all() {
    // Peers keep a superseded generation for twice the deadline, which determines the rounds.
    let arguments =
        ["--revocation", "required", "--query-deadline-s", "12", "--probe-interval-s", "1"];
    let mut cluster = Bare::start(3, &arguments, |_| {}).await;
    cluster.load_weather(&[]);
    until_unreachable(&cluster, "all reach all", [&[], &[], &[]]).await;
    answers(&cluster, 0).await;

    // Node 1 considers node 0's certificate revoked, so neither reaches the other.
    cluster.write(1, "peer-ca.crl", &cluster.peers.list(&[10], 2200));
    until_unreachable(&cluster, "0 and 1 are cut off", [&[1], &[0], &[]]).await;
    for node in [0, 1] {
        cluster.until_logged(node, "turning clients away").await;
    }
    answers(&cluster, 2).await;
    assert!(!cluster.log(2).contains("turning clients away"));
    cluster.write(1, "peer-ca.crl", &cluster.peers.list(&[], 2200));
    until_unreachable(&cluster, "all reach all again", [&[], &[], &[]]).await;
    for node in [0, 1] {
        cluster.until_logged(node, "letting clients in again").await;
    }
    answers(&cluster, 0).await;

    // A node that does not lead hangs, and the others miss it. Shard 1 has a part of the table's
    // indexes, so the leader's probes fail without it.
    let leader = (0..3).find(|node| cluster.log(*node).contains("leading")).unwrap();
    let hung = if leader == 1 { 2 } else { 1 };
    let stopped = Stopped::new(cluster.pid(hung));
    for node in (0..3).filter(|node| *node != hung) {
        let expected = serde_json::json!([hung]);
        wait_until("it is missed", || cluster.member(node).unwrap()["unreachable"] == expected)
            .await;
    }
    if hung == 1 {
        wait_until("the probe fails", || {
            let probe = cluster.member(leader).unwrap()["probes"]["weather"].clone();
            probe["reason"].as_str().is_some_and(|reason| reason.contains("shard 1"))
        })
        .await;
    }
    drop(stopped);
    until_unreachable(&cluster, "it is reached again", [&[], &[], &[]]).await;
    wait_until("the probe holds", || cluster.member(leader).unwrap()["probes"].is_null()).await;
    for node in 0..3 {
        answers(&cluster, node).await;
    }
    cluster.assert_unharmed();
}
