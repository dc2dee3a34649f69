//! Loads that do not fit into memory or that are no longer wanted do not affect anything else.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opaque_client::Client;
use tokio::task::{JoinHandle, spawn_blocking};

use super::harness::{Cluster, int, query, rows, signal, text, wait_until};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";
const PRICE: &str = "SELECT price FROM prices WHERE item = 'item7'";
const CAIRO: &str = "SELECT country FROM weather WHERE city = 'Cairo'";

fn csv(price: i64) -> String {
    (0..500).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},{price}\n"))
}

/// Rows of more than 3 KB, so that the index has a whole plane: 80 MiB on one shard for 2,000 rows.
fn wide(rows: u32) -> String {
    let text = |i: u32| format!("{i:06}").repeat(550);
    (0..rows).fold("n,text\n".to_owned(), |csv, i| csv + &format!("{i},{}\n", text(i)))
}

const WIDE: &str = "CREATE TABLE wide (n INT KEY, text TEXT)";

/// Starts `opaque load` of a table through one node.
fn load(cluster: &Cluster, node: &str, schema: &str, data: &str) -> JoinHandle<Output> {
    let target = cluster.endpoint(node).to_string();
    let name = format!("load-{}", schema.len() + data.len());
    let schema = cluster.file(&format!("{name}.sql"), schema);
    let data = cluster.file(&format!("{name}.csv"), data);
    let mut command = cluster.command();
    command.args(["--cluster", &target, "load"]).args([schema, data]);
    spawn_blocking(move || command.output().unwrap())
}

/// Waits until a second epoch of a table is proposed.
async fn until_proposed(cluster: &Cluster, table: &str) {
    wait_until("it is proposed", || {
        let proposed = cluster.coordination("proposed.json");
        proposed.is_some_and(|map| map["tables"][table].as_u64() > Some(1))
    })
    .await;
}

/// Queries the weather until `stop` is set. Returns the number of answers.
fn keep_asking(client: Client, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut answers = 0;
        while !stop.load(Ordering::Relaxed) {
            let answered = query(&client, CAIRO).await;
            assert!(answered.is_ok(), "after {answers} answers: {:?}", answered.err());
            answers += 1;
        }
        answers
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_is_refused_with_numbers_and_no_other_suffers() {
    let cluster = Cluster::start_limited(&["--shards", "2", "--replicas", "2"], 200).await;
    let nodes = ["shard-0-0", "shard-0-1", "shard-1-0", "shard-1-1"];
    cluster.load_example("weather", "weather.csv");
    let pids = nodes.map(|node| cluster.pid(node));
    let stop = Arc::new(AtomicBool::new(false));
    let asking = keep_asking(cluster.client(), &stop);
    let refused = load(&cluster, "shard-0-0", WIDE, &wide(2_000)).await.unwrap();
    let said = text(&refused.stderr);
    println!("{said}");
    assert!(!refused.status.success());
    assert!(said.contains("MiB of memory are required and"), "{said}");
    assert!(
        said.contains("limit of 200 MiB (--memory-limit-mib): raise the memory limit"),
        "{said}"
    );
    cluster.until_whole(4).await;
    stop.store(true, Ordering::Relaxed);
    assert!(asking.await.unwrap() > 0);
    assert_eq!(nodes.map(|node| cluster.pid(node)), pids, "a process ended");
    assert!(!cluster.ok(&["tables"]).contains("wide"));
    // A load that fits is accepted as before.
    cluster.load(SCHEMA, &csv(1));
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(1)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_next_to_served_tables_are_refused_as_they_arrive() {
    let cluster = Cluster::start_limited(&["--shards", "1"], 160).await;
    cluster.load(SCHEMA, &csv(1));
    let pid = cluster.pid("shard-0-0");
    // More than 30 MiB of rows, while 36 MiB are available for them and all tables.
    let refused = load(&cluster, "shard-0-0", WIDE, &wide(10_000)).await.unwrap();
    let said = text(&refused.stderr);
    println!("{said}");
    assert!(!refused.status.success() && said.contains("nothing was published"), "{said}");
    assert!(said.contains("16 MiB of memory are required"), "{said}");
    assert_eq!(cluster.pid("shard-0-0"), pid, "the process ended");
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(1)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_keys_that_do_not_fit_are_refused_and_inline_ones_answer() {
    let cluster = Cluster::start_limited(&["--shards", "1"], 160).await;
    cluster.load(SCHEMA, &csv(1));
    let pid = cluster.pid("shard-0-0");
    // The first query with registered keys builds 64 MiB of tables, while 36 MiB are available.
    let mut registered = cluster.command();
    registered.args(["query", "--keys", "registered", PRICE]);
    let refused = spawn_blocking(move || registered.output().unwrap()).await.unwrap();
    let said = text(&refused.stderr);
    println!("{said}");
    assert!(!refused.status.success() && said.contains("--keys inline"), "{said}");
    assert_eq!(cluster.pid("shard-0-0"), pid, "the process ended");
    assert!(cluster.ok(&["query", "--keys", "inline", PRICE]).contains('1'));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_shard_is_withdrawn_by_the_next_wish() {
    let cluster = Cluster::start(&["--shards", "2"]).await;
    cluster.load(SCHEMA, &csv(1));
    cluster.until_whole(2).await;
    let (asked, stopped) = ("shard-0-0", cluster.pid("shard-1-0"));
    signal(stopped, "STOP");
    let second = load(&cluster, asked, SCHEMA, &csv(20));
    until_proposed(&cluster, "prices").await;
    // Requests the rollback to the served epoch.
    let target = cluster.endpoint(asked).to_string();
    let start = Instant::now();
    cluster.ok(&["--cluster", &target, "rollback", "prices", "1"]);
    println!("withdrawn after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(25));
    let refused = second.await.unwrap();
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("withdrawn: a request asked"), "{said}");
    assert!(cluster.coordination("proposed.json").is_none());

    // Another load replaces one that waits.
    let third = load(&cluster, asked, SCHEMA, &csv(300));
    until_proposed(&cluster, "prices").await;
    let fourth = load(&cluster, asked, SCHEMA, &csv(4000));
    let refused = third.await.unwrap();
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("withdrawn: generation"), "{said}");
    signal(stopped, "CONT");
    let loaded = fourth.await.unwrap();
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(4000)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_kills_one_replica_kills_no_other() {
    let cluster = Cluster::start(&["--shards", "1", "--replicas", "2"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.until_whole(2).await;
    let (first, second) = ("shard-0-0", cluster.pid("shard-0-1"));
    let loading = load(&cluster, "shard-0-1", WIDE, &wide(2_000));
    wait_until("the first replica prepares", || {
        cluster.member(first).is_some_and(|member| member["preparing"].is_u64())
    })
    .await;
    let other = cluster.member("shard-0-1").unwrap();
    assert!(!other["preparing"].is_u64(), "two replicas load at a time: {other}");
    let fallen = cluster.fell(first).await;
    let refused = loading.await.unwrap();
    let said = text(&refused.stderr);
    println!("{said}");
    assert!(!refused.status.success() && said.contains("ended while it prepared"), "{said}");
    cluster.risen(fallen).await;
    cluster.until_whole(2).await;
    assert_eq!(cluster.pid("shard-0-1"), second, "the other replica followed");
    assert_eq!(rows(&cluster.client_of("shard-0-1"), CAIRO).await.len(), 1);
    // The table was not the cause: on the next attempt it is loaded.
    let loaded = load(&cluster, "shard-0-1", WIDE, &wide(2_000)).await.unwrap();
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
}
