//! A table that cannot be loaded does not affect other tables, and is answered as long as one
//! replica has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use opaque_client::Client;
use opaque_pir::table::Value;
use tokio::task::JoinHandle;

use super::harness::{Cluster, int, query, rows, text, wait_until, words};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";
const PRICE: &str = "SELECT price FROM prices WHERE item IN ('item1', 'item250', 'item499')";
const CAIRO: &str = "SELECT country FROM weather WHERE city = 'Cairo'";

fn csv() -> String {
    (0..500).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},7\n"))
}

fn prices() -> Vec<Vec<Value>> {
    vec![vec![int(7)]; 3]
}

fn cairo() -> Vec<Vec<Value>> {
    vec![vec![words("EG")]]
}

/// Two replicas of three shards, with two tables.
async fn start() -> Cluster {
    let cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.load(SCHEMA, &csv());
    cluster.until_whole(6).await;
    cluster
}

fn nodes() -> impl Iterator<Item = String> {
    (0..3).flat_map(|shard| (0..2).map(move |replica| format!("shard-{shard}-{replica}")))
}

fn epoch_of_prices(cluster: &Cluster) -> PathBuf {
    cluster.data().join("store/tables/prices/epochs").join(format!("{:020}", 1))
}

/// A node's report about its missing tables.
fn missing(cluster: &Cluster, node: &str) -> Option<String> {
    let member = cluster.member(node)?;
    Some(member.get("missing")?.get("prices")?.as_str()?.to_owned())
}

/// A query that is repeated all the time and must be answered correctly each time.
struct Asking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Asking {
    fn start(client: Client, sql: &'static str, expected: Vec<Vec<Value>>) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                assert_eq!(rows(&client, sql).await, expected);
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, answered, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        assert!(self.answered.load(Ordering::Relaxed) > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_answered_by_the_replica_that_holds_it_and_comes_back_by_itself() {
    let cluster = start().await;
    let plane = epoch_of_prices(&cluster).join("index-0/plane-0");
    let good = std::fs::read(&plane).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    std::fs::write(&plane, damaged).unwrap();

    // One replica of each shard is restarted. One of them needs the damaged object.
    let weather = Asking::start(cluster.client(), CAIRO, cairo());
    let served = Asking::start(cluster.client(), PRICE, prices());
    for shard in 0..3 {
        cluster.kill_and_await(&format!("shard-{shard}-0")).await;
        cluster.until_whole(6).await;
    }
    let lacks = |shard: &u32| missing(&cluster, &format!("shard-{shard}-0")).is_some();
    wait_until("a node lacks the table", || (0..3).any(|shard| lacks(&shard))).await;
    let shard = (0..3).find(lacks).unwrap();
    let node = format!("shard-{shard}-0");
    let reason = missing(&cluster, &node).unwrap();
    assert!(reason.contains("plane-0") && reason.contains("damaged"), "{reason}");
    // Every node answers, including the one that lacks the table.
    for node in nodes() {
        let client = cluster.client_of(&node);
        for _ in 0..3 {
            assert_eq!(rows(&client, PRICE).await, prices(), "{node}");
            assert_eq!(rows(&client, CAIRO).await, cairo(), "{node}");
        }
        let count = rows(&client, "SELECT COUNT(*) FROM prices WHERE item = 'item3'").await;
        assert_eq!(count, [[int(1)]], "{node}");
    }
    assert!(cluster.ok(&["status"]).contains("plane-0"), "status names it, and the cluster serves");
    let endpoint = cluster.endpoint(&node).to_string();
    for command in [vec!["tables"], vec!["describe", "prices"], vec!["epochs", "prices"]] {
        let asked = [vec!["--cluster", endpoint.as_str()], command].concat();
        let told = cluster.ok(&asked);
        assert!(told.contains("prices") || asked.contains(&"epochs"), "{told}");
    }
    served.stop().await;

    // The shard's other replica is restarted too: only that table is lost, and it is reported.
    cluster.kill_and_await(&format!("shard-{shard}-1")).await;
    cluster.until_whole(6).await;
    cluster.until("the status tells", |status| !status.serving).await;
    for node in nodes() {
        let client = cluster.client_of(&node);
        let error = query(&client, PRICE).await.unwrap_err().to_string();
        let named = format!("shard {shard}");
        assert!(error.contains(&named) && error.contains("prices"), "{node}: {error}");
        assert!(error.contains("plane-0") && !error.contains("no table"), "{node}: {error}");
        assert_eq!(rows(&client, CAIRO).await, cairo(), "{node}");
    }
    // Other tables get new epochs during this time.
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(6).await;
    assert_eq!(rows(&cluster.client(), CAIRO).await, cairo());

    let pids: Vec<u32> = nodes().map(|node| cluster.pid(&node)).collect();
    std::fs::write(&plane, good).unwrap();
    cluster.until("every table is served again", |status| status.serving).await;
    let whole = || nodes().all(|node| missing(&cluster, &node).is_none());
    wait_until("every replica has every table", whole).await;
    assert_eq!(rows(&cluster.client(), PRICE).await, prices());
    weather.stop().await;
    assert_eq!(nodes().map(|node| cluster.pid(&node)).collect::<Vec<_>>(), pids);
    assert!(!cluster.logs().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_manifest_takes_one_table_out_and_that_only_when_every_node_has_forgotten_it() {
    let mut cluster = start().await;
    let manifest = epoch_of_prices(&cluster).join("manifest.json");
    let good = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();

    // A node that lost the table requests its description from a peer, and answers through the
    // others.
    let weather = Asking::start(cluster.client(), CAIRO, cairo());
    let served = Asking::start(cluster.client(), PRICE, prices());
    cluster.kill_and_await("shard-0-0").await;
    cluster.until_whole(6).await;
    let reason = missing(&cluster, "shard-0-0").unwrap();
    assert!(reason.contains("manifest.json"), "{reason}");
    let client = cluster.client_of("shard-0-0");
    wait_until("it is described", || cluster.logs().contains("described by a peer")).await;
    for _ in 0..5 {
        assert_eq!(rows(&client, PRICE).await, prices());
    }
    // If all nodes hold a table, its loss from the store does not affect others.
    cluster.load_example("weather", "weather.csv");
    served.stop().await;
    weather.stop().await;

    // Every node is restarted: the other table is intact.
    cluster.stop();
    cluster.resume_unserved();
    wait_until("every node is there", || nodes().all(|node| cluster.member(&node).is_some())).await;
    cluster.until_whole(6).await;
    for node in nodes() {
        let client = cluster.client_of(&node);
        assert_eq!(rows(&client, CAIRO).await, cairo(), "{node}");
        let error = query(&client, PRICE).await.unwrap_err().to_string();
        assert!(error.contains("prices") && error.contains("manifest.json"), "{node}: {error}");
        assert!(error.contains("shard") && !error.contains("no table"), "{node}: {error}");
    }
    let told = text(&cluster.cli(&["tables"]).stderr);
    assert!(told.contains("prices") && told.contains("manifest.json"), "{told}");
    assert!(cluster.fails(&["describe", "prices"]).contains("manifest.json"));
    cluster.load_example("weather", "weather.csv");
    assert_eq!(rows(&cluster.client(), CAIRO).await, cairo());

    std::fs::write(&manifest, good).unwrap();
    cluster.until("every table is served again", |status| status.serving).await;
    assert_eq!(rows(&cluster.client(), PRICE).await, prices());
    assert!(!cluster.logs().contains("panicked"));
}
