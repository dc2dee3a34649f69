//! Replicas that die, while queries go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Cluster, int, query, rows, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_replica_of_each_shard_fails_no_query() {
    let cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(6).await;
    let client = Arc::new(cluster.client());
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let asking = tokio::spawn({
        let (client, stop, answered) =
            (Arc::clone(&client), Arc::clone(&stop), Arc::clone(&answered));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let santiago = rows(
                    &client,
                    "SELECT country, temperature FROM weather WHERE city = 'Santiago'",
                );
                assert_eq!(santiago.await, [[words("CL"), int(21)]]);
                let sunny = rows(&client, "SELECT city FROM weather WHERE conditions = 'Sunny'");
                assert_eq!(sunny.await, [[words("Nairobi")], [words("Cairo")]]);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let progress = async |rounds: u32| {
        let target = answered.load(Ordering::Relaxed) + rounds;
        while answered.load(Ordering::Relaxed) < target && !asking.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    progress(2).await;
    for shard in 0..3 {
        for replica in 0..2 {
            let started = Instant::now();
            cluster.kill(&format!("shard-{shard}-{replica}"));
            progress(3).await;
            cluster.until_whole(6).await;
            println!("shard-{shard}-{replica}: whole again after {:?}", started.elapsed());
        }
    }
    stop.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    println!("{} rounds answered, none failed", answered.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shard_is_named_within_the_deadline_and_comes_back() {
    let cluster = Cluster::start(&["--no-restart"]).await;
    cluster.load_example("weather", "weather.csv");
    let client = cluster.client();
    rows(&client, "SELECT * FROM weather WHERE city = 'Cairo'").await;
    cluster.kill("shard-1-0");
    let started = Instant::now();
    let lost = query(&client, "SELECT * FROM weather WHERE city = 'Cairo'").await;
    let lost = lost.unwrap_err().to_string();
    assert!(lost.contains("shard 1"), "{lost}");
    assert!(started.elapsed() < cluster.config().deadline);
    // The command says the same, and so does the status.
    let said = cluster.fails(&["query", "SELECT * FROM weather WHERE city = 'Cairo'"]);
    assert!(said.contains("shard 1") && said.contains("opaque status"), "{said}");
    cluster.until("the status tells", |status| !status.serving).await;
    assert!(!cluster.cli(&["status"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_answers_with_keys_that_it_never_saw_registered() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let client = cluster.client();
    let (_, first) = query(&client, "SELECT * FROM weather WHERE city = 'Cairo'").await.unwrap();
    assert!(first.keys_bytes > 0 && first.keys_bytes <= 500_000, "{first:?}");
    let (_, second) = query(&client, "SELECT * FROM weather WHERE city = 'Tokyo'").await.unwrap();
    assert_eq!(second.keys_bytes, 0);
    // One node comes back without memory of any key, then every node at once.
    cluster.kill("shard-2-0");
    cluster.until_whole(3).await;
    for sql in ["SELECT * FROM weather WHERE city = 'Oslo'", "SELECT COUNT(*) FROM weather"] {
        assert_eq!(query(&client, sql).await.unwrap().1.keys_bytes, 0);
    }
    cluster.stop();
    cluster.resume();
    let client = cluster.client();
    let (answer, timing) =
        query(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await.unwrap();
    assert_eq!((answer.rows, timing.keys_bytes), (vec![vec![words("EG")]], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_drains() {
    let cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(6).await;
    let client = cluster.client();
    for node in ["shard-0-0", "shard-1-0", "shard-2-0"] {
        super::harness::signal(cluster.pid(node), "TERM");
        for _ in 0..3 {
            let cairo = rows(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await;
            assert_eq!(cairo, [[words("EG")]]);
        }
        cluster.until_whole(6).await;
    }
    assert!(cluster.logs().contains("draining"));
}
