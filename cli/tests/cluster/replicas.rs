//! Replicas die while queries continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use opaque_client::{Client, ClientConfig, KeyMode};

use super::harness::{Cluster, int, query, rows, signal, words};

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
    let mut while_down = 0;
    for shard in 0..3 {
        for replica in 0..2 {
            // One replica at a time: each is back before the next one is killed.
            cluster.until_whole(6).await;
            let node = format!("shard-{shard}-{replica}");
            let fallen = cluster.fell(&node).await;
            let before = answered.load(Ordering::Relaxed);
            let down = cluster.risen(fallen).await;
            // The first query may have begun before the node was killed.
            let rounds = (answered.load(Ordering::Relaxed) - before).saturating_sub(1);
            while_down += rounds;
            println!("{node}: {rounds} rounds answered without it, back after {down:?}");
            assert!(!asking.is_finished(), "a query failed or was answered wrongly");
            progress(2).await;
        }
    }
    assert!(while_down >= 6, "{while_down} rounds while a replica was down");
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
    // The command reports the same, and so does the status.
    let said = cluster.fails(&["query", "SELECT * FROM weather WHERE city = 'Cairo'"]);
    assert!(said.contains("shard 1") && said.contains("opaque status"), "{said}");
    cluster.until("the status tells", |status| !status.serving).await;
    assert!(!cluster.cli(&["status"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_answers_with_keys_that_it_never_saw_registered() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let registered = ClientConfig { keys: KeyMode::Registered, ..cluster.config() };
    let client = Client::connect(registered.clone()).unwrap();
    let (_, first) = query(&client, "SELECT * FROM weather WHERE city = 'Cairo'").await.unwrap();
    assert!(first.keys_bytes > 0 && first.keys_bytes <= 500_000, "{first:?}");
    let (_, second) = query(&client, "SELECT * FROM weather WHERE city = 'Tokyo'").await.unwrap();
    assert_eq!(second.keys_bytes, 0);
    // First one node comes back without any keys in memory, then all nodes do. The node answers
    // both as the coordinator and as a shard.
    cluster.kill_and_await("shard-2-0").await;
    for node in ["shard-2-0", "shard-0-0"] {
        let endpoints = vec![cluster.endpoint(node)];
        let client = Client::connect(ClientConfig { endpoints, ..registered.clone() }).unwrap();
        for (city, country) in [("Cairo", "EG"), ("Santiago", "CL"), ("Tokyo", "JP")] {
            let sql = format!("SELECT country FROM weather WHERE city = '{city}'");
            let (answer, timing) = query(&client, &sql).await.unwrap();
            assert_eq!((answer.rows, timing.keys_bytes), (vec![vec![words(country)]], 0), "{sql}");
        }
    }
    cluster.stop();
    cluster.resume();
    let client = cluster.client_with(KeyMode::Registered);
    let (answer, timing) =
        query(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await.unwrap();
    assert_eq!((answer.rows, timing.keys_bytes), (vec![vec![words("EG")]], 0));
}

/// A process that is suspended until this is dropped.
pub(crate) struct Stopped(u32);

impl Stopped {
    pub(crate) fn new(pid: u32) -> Self {
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // This does not use `signal`: a failed test also ends here, and must not panic twice.
        let pid = self.0.to_string();
        let _ = std::process::Command::new("kill").args(["-CONT", &pid]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_hangs_delays_queries_and_fails_none() {
    let cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(6).await;
    let sql = "SELECT country FROM weather WHERE city = 'Cairo'";
    let client = cluster.client_of("shard-0-0");
    let warm = query(&client, sql).await.unwrap();
    assert_eq!(warm.0.rows, [[words("EG")]]);
    let ask = async |client: &Client, what: &str| {
        let started = Instant::now();
        let (answer, _) = query(client, sql).await.unwrap();
        assert_eq!(answer.rows, [[words("EG")]], "{what}");
        println!("{what}: {:?}", started.elapsed());
        assert!(started.elapsed() < cluster.config().deadline, "{what}");
        started.elapsed()
    };
    let hung = Stopped::new(cluster.pid("shard-1-1"));
    // Its report is fresh for 5 s more, and replicas take turns, so some of these queries try it
    // first.
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(4) {
        slowest = slowest.max(ask(&client, "a replica of another shard hangs").await);
    }
    assert!(slowest > Duration::from_secs(1), "no query tried it: {slowest:?}");
    ask(&cluster.client_of("shard-0-1"), "and another node is asked").await;
    drop(hung);

    // The node that clients try first hangs, for a connected client and for a new one.
    let connected = cluster.client();
    ask(&connected, "all is well").await;
    let hung = Stopped::new(cluster.pid("shard-0-0"));
    ask(&connected, "the node that answered before hangs").await;
    ask(&cluster.client(), "the first node that is tried hangs").await;
    drop(hung);
    cluster.until_whole(6).await;
    ask(&client, "it goes on").await;
    assert!(!cluster.logs().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_drains_when_it_is_terminated() {
    let cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(6).await;
    let client = cluster.client();
    for node in ["shard-0-0", "shard-1-0", "shard-2-0"] {
        signal(cluster.pid(node), "TERM");
        for _ in 0..3 {
            let cairo = rows(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await;
            assert_eq!(cairo, [[words("EG")]]);
        }
        cluster.until_whole(6).await;
    }
    assert!(cluster.logs().contains("draining"));
}
