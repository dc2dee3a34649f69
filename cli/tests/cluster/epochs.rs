//! Epochs: loading, listing, rollback, and their survival of restarts and failed loads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use opaque_pir::table::Value;

use super::harness::{Cluster, int, query, rows, text, wait_until, words};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";

fn csv(price: i64) -> String {
    (0..500).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},{price}\n"))
}

/// Enough rows to keep the cluster busy for a while.
fn many(price: i64) -> String {
    (0..200_000).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},{price}\n"))
}

const THREE: &str = "SELECT price FROM prices WHERE item IN ('item1', 'item250', 'item499')";

/// The result of [`THREE`] if every price is this one.
fn three(price: i64) -> Vec<Vec<Value>> {
    vec![vec![int(price)]; 3]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_and_a_rollback_under_queries_never_mix() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.load(SCHEMA, &csv(1));
    let client = Arc::new(cluster.client());
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let asking = tokio::spawn({
        let (client, stop, answered) =
            (Arc::clone(&client), Arc::clone(&stop), Arc::clone(&answered));
        async move {
            let mut prices = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = rows(&client, THREE).await;
                assert_eq!(answer.len(), 3);
                assert!(answer.iter().all(|row| row == &answer[0]), "mixed epochs: {answer:?}");
                prices.push(answer[0][0].clone());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            prices
        }
    });
    cluster.load(SCHEMA, &csv(2));
    cluster.load(SCHEMA, &csv(3));
    let epochs = cluster.ok(&["epochs", "prices"]);
    assert_eq!(epochs.lines().count(), 4, "{epochs}");
    cluster.ok(&["rollback", "prices", "2"]);
    // An answer in progress may be from the old epoch. It tells the client about the new one.
    let seen = answered.load(Ordering::Relaxed);
    while answered.load(Ordering::Relaxed) < seen + 3 && !asking.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let prices = asking.await.unwrap();
    assert_eq!(prices.first(), Some(&int(1)));
    assert_eq!(prices.last(), Some(&int(2)));

    let missing = cluster.fails(&["rollback", "prices", "77"]);
    assert!(missing.contains("77") && missing.contains("opaque epochs prices"), "{missing}");

    // A second start serves the same data at the same epoch.
    cluster.stop();
    cluster.resume();
    let answer = rows(&cluster.client(), "SELECT price FROM prices WHERE item = 'item7'").await;
    assert_eq!(answer, [[int(2)]]);
}

/// The client's description is outdated. Nothing is sent to find out whether the description or the
/// statement is wrong; the next run starts with a new description.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_for_columns_that_were_just_added_must_be_run_again() {
    let cluster = Cluster::start(&[]).await;
    cluster.load(SCHEMA, &csv(1));
    let client = cluster.client();
    assert_eq!(rows(&client, THREE).await, three(1));
    cluster.load("CREATE TABLE prices (item TEXT KEY, cost INT)", "item,cost\nitem1,7\n");
    let cost = "SELECT cost FROM prices WHERE item = 'item1'";
    let error = query(&client, cost).await.unwrap_err();
    assert!(error.to_string().contains("the table changed"), "{error}");
    assert_eq!(rows(&client, cost).await, [[int(7)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_during_a_load_leaves_the_old_epoch() {
    let mut cluster = Cluster::start(&["--no-restart"]).await;
    cluster.load(SCHEMA, &csv(1));
    assert_eq!(rows(&cluster.client(), THREE).await, three(1));
    // The client's first endpoint is the node that loads.
    let schema = cluster.file("schema.sql", SCHEMA);
    let data = cluster.file("many.csv", many(2));
    let target = cluster.config().endpoints[0].to_string();
    let loading = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let arguments = ["load", schema.to_str().unwrap(), data.to_str().unwrap()];
            cluster.cli(&[&["--cluster", &target], &arguments[..]].concat())
        });
        // The first object of the new epoch shows that the load has begun.
        let epochs = cluster.data().join("store/tables/prices/epochs");
        while std::fs::read_dir(&epochs).unwrap().count() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster.kill("shard-0-0");
        load.join().unwrap()
    });
    assert!(!loading.status.success());
    let said = text(&loading.stderr);
    assert!(said.contains("error: ") && said.contains("may still complete"), "{said}");
    let epochs = cluster.cli(&["epochs", "prices"]);
    let epochs = text(&epochs.stdout);
    assert_eq!(epochs.lines().count(), 2, "only the old epoch is complete: {epochs}");
    // The cluster comes back with the old epoch, and accepts the load that was interrupted.
    cluster.stop();
    cluster.resume();
    assert_eq!(rows(&cluster.client(), THREE).await, three(1));
    cluster.ok(&["load", schema.to_str().unwrap(), data.to_str().unwrap()]);
    assert_eq!(rows(&cluster.client(), THREE).await, three(2));
    let last = "SELECT price FROM prices WHERE item = 'item199999'";
    assert_eq!(rows(&cluster.client(), last).await, [[int(2)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_with_a_proposal_leaves_one_epoch_or_the_other() {
    let cluster = Cluster::start(&[]).await;
    let schema = cluster.file("schema.sql", SCHEMA);
    let nodes = ["shard-0-0", "shard-1-0", "shard-2-0"];
    // The load goes through a node that survives, then through the leader.
    for through_leader in [false, true] {
        cluster.load(SCHEMA, &csv(1));
        cluster.until_whole(3).await;
        let leader = cluster.client().status().await.unwrap().leader;
        let node = nodes.into_iter().find(|node| (*node == leader) == through_leader).unwrap();
        let target = cluster.endpoint(node).to_string();
        let data = cluster.file("many.csv", many(2));
        let (loaded, fallen) = tokio::join!(
            tokio::task::spawn_blocking({
                let mut load = cluster.command();
                load.args(["--cluster", &target, "load"]).args([&schema, &data]);
                move || load.output().unwrap()
            }),
            async {
                wait_until("an epoch is proposed", || {
                    cluster.coordination("proposed.json").is_some()
                })
                .await;
                cluster.fell(&leader).await
            }
        );
        let down = cluster.risen(fallen).await;
        let loaded = loaded.unwrap();
        println!(
            "{leader} fell during a load through {node}, back after {down:?}; the load said: {} {}",
            loaded.status,
            text(&loaded.stderr)
        );
        assert!(loaded.status.success() || text(&loaded.stderr).contains("hint: "));
        wait_until("the proposal is decided", || cluster.coordination("proposed.json").is_none())
            .await;
        cluster.until_whole(3).await;

        let client = cluster.client();
        let answer = rows(&client, THREE).await;
        let last = rows(&client, "SELECT price FROM prices WHERE item = 'item199999'").await;
        if answer == three(2) {
            assert_eq!(last, [[int(2)]]);
        } else {
            assert!(!loaded.status.success(), "it was said to be published");
            assert_eq!((answer, last.len()), (three(1), 0));
        }
        cluster.load(SCHEMA, &csv(3));
        // A client that knows the previous epoch may be answered from it once more.
        assert_eq!(rows(&cluster.client(), THREE).await, three(3));
    }
    assert!(!cluster.logs().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_a_node_cannot_read_is_not_activated() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.load(SCHEMA, &csv(1));
    cluster.load(SCHEMA, &csv(2));
    // Nodes that have just started hold only the active epoch. Damage the other one in the store,
    // then request it.
    cluster.stop();
    cluster.resume();
    let folder = cluster.data().join("store/tables/prices/epochs").join(format!("{:020}", 1));
    let plane = folder.join("index-0/plane-0");
    let mut bytes = std::fs::read(&plane).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&plane, bytes).unwrap();
    let refused = cluster.fails(&["rollback", "prices", "1"]);
    assert!(refused.contains("plane-0") && refused.contains("damaged"), "{refused}");
    let answer = rows(&cluster.client(), "SELECT price FROM prices WHERE item = 'item1'").await;
    assert_eq!(answer, [[int(2)]], "the epoch before is still served");
    // The cluster is intact again.
    cluster.load(SCHEMA, &csv(4));
    let answer = rows(&cluster.client(), "SELECT price FROM prices WHERE item = 'item1'").await;
    assert_eq!(answer, [[int(4)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_survive_the_round_trip() {
    let cluster = Cluster::start(&[]).await;
    let schema = "CREATE TABLE odd (k TEXT KEY, i INT INDEX, r REAL, j JSON, b BOOL, t TIMESTAMP)";
    let csv = "k,i,r,j,b,t\n\
        \"it's \"\"quoted\"\", über 日本\",-9223372036854775808,-0.1,\"{\"\"a\"\": [1, null]}\",true,2026-11-21T09:30:00Z\n\
        plain,9223372036854775807,1e300,\"\"\"x\"\"\",false,1969-12-31T23:59:59.999999Z\n\
        nulls,\\N,\\N,\\N,\\N,\\N\n";
    cluster.load(schema, csv);
    let json = cluster.ok(&[
        "query",
        "--format",
        "json",
        "--param",
        "k=it's \"quoted\", über 日本",
        "SELECT * FROM odd WHERE k = :k",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "k": "it's \"quoted\", über 日本",
            "i": i64::MIN,
            "r": -0.1,
            "j": {"a": [1, null]},
            "b": true,
            "t": "2026-11-21T09:30:00Z"
        }])
    );
    let client = cluster.client();
    let sql = "SELECT k, r FROM odd WHERE i = 9223372036854775807";
    assert_eq!(rows(&client, sql).await, [[words("plain"), Value::Real(1e300)]]);
    let (nulls, _) = query(&client, "SELECT * FROM odd WHERE k = 'nulls'").await.unwrap();
    assert!(nulls.rows[0][1..].iter().all(|v| *v == Value::Null));
    let csv = cluster.ok(&["query", "--format", "csv", "SELECT * FROM odd WHERE k = 'nulls'"]);
    assert_eq!(csv, "k,i,r,j,b,t\nnulls,,,,,\n");
}

/// Changes an epoch's manifest to the form that the previous version wrote.
fn age(cluster: &Cluster, table: &str, epoch: u64) {
    let folder = cluster.data().join("store/tables").join(table).join("epochs");
    let path = folder.join(format!("{epoch:020}")).join("manifest.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("opaque-128-v3-inline", "opaque-128-v2-inline-2");
    let (head, manifest) = text.split_once(",\"manifest\":").unwrap();
    let manifest = manifest.strip_suffix('}').unwrap();
    let digest = blake3::derive_key("opaque 2026-11 manifest", manifest.as_bytes());
    let (head, _) = head.split_once("\"digest\":").unwrap();
    let digest = blake3::Hash::from_bytes(digest).to_hex();
    std::fs::write(&path, format!("{head}\"digest\":\"{digest}\",\"manifest\":{manifest}}}"))
        .unwrap();
}

/// After an upgrade, an epoch of the previous version is not answered and does not block other
/// tables. The command that the error names repairs it, even if no other table is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_of_other_parameters_is_named_and_loaded_again() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.load(SCHEMA, &csv(1));
    cluster.load_example("weather", "weather.csv");
    let nodes = ["shard-0-0", "shard-1-0", "shard-2-0"];
    let weather = "SELECT country FROM weather WHERE city = 'Cairo'";
    for (old, served) in [(vec![("prices", 1)], true), (vec![("prices", 2), ("weather", 1)], false)]
    {
        cluster.stop();
        old.iter().for_each(|(table, epoch)| age(&cluster, table, *epoch));
        cluster.resume_unserved();
        let lacks =
            |node: &str| Some(cluster.member(node)?.get("missing")?.get("prices")?.to_string());
        let told = |node: &&str| {
            lacks(node).is_some_and(|reason| reason.contains("opaque-128-v2-inline-2"))
        };
        wait_until("every node tells", || nodes.iter().all(told)).await;
        assert!(lacks("shard-0-0").unwrap().contains("must be loaded again (`opaque load`"));
        if served {
            cluster.until_whole(3).await;
            assert_eq!(rows(&cluster.client(), weather).await, [[words("EG")]]);
            let error = query(&cluster.client(), THREE).await.unwrap_err().to_string();
            assert!(error.contains("prices") && error.contains("must be loaded again"), "{error}");
        } else {
            assert!(query(&cluster.client(), weather).await.is_err());
        }
        cluster.load(SCHEMA, &csv(2));
        assert_eq!(rows(&cluster.client(), THREE).await, three(2));
    }
    cluster.load_example("weather", "weather.csv");
    assert_eq!(rows(&cluster.client(), weather).await, [[words("EG")]]);
    assert!(!cluster.logs().contains("panicked"));
}
