//! Records of the nodes are lost or replaced by older ones while a cluster runs. The cluster
//! continues, and the records are written again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::harness::{Cluster, int, rows, wait_until};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";
const PRICE: &str = "SELECT price FROM prices WHERE item = 'item7'";
const NODES: [&str; 6] =
    ["shard-0-0", "shard-0-1", "shard-1-0", "shard-1-1", "shard-2-0", "shard-2-1"];

fn csv(price: i64) -> String {
    (0..100).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},{price}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_older_agreement_takes_nothing_away() {
    let mut cluster = Cluster::start(&["--replicas", "2"]).await;
    cluster.load(SCHEMA, &csv(1));
    let agreement = cluster.data().join("coordination");
    let active = agreement.join("active.json");
    let older = fs::read(&active).unwrap();
    cluster.load(SCHEMA, &csv(2));
    cluster.until_whole(NODES.len()).await;
    let pids = NODES.map(|node| cluster.pid(node));

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let asking = tokio::spawn({
        let (client, stop) = (cluster.client(), Arc::clone(&stop));
        let answered = Arc::clone(&answered);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = rows(&client, PRICE).await;
                assert_eq!(answer.len(), 1, "{answer:?}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let generation = || cluster.coordination("active.json").map(|map| map["generation"].as_u64());
    let mut price = 2;
    for accident in ["removed", "older", "everything"] {
        let before = generation().unwrap();
        match accident {
            "removed" => fs::remove_file(&active).unwrap(),
            "older" => fs::write(&active, &older).unwrap(),
            _ => {
                for entry in fs::read_dir(&agreement).unwrap() {
                    let path = entry.unwrap().path();
                    // A node may write one of them again.
                    let _ = if path.is_dir() {
                        fs::remove_dir_all(path)
                    } else {
                        fs::remove_file(path)
                    };
                }
            }
        }
        wait_until("the map is written again", || generation().is_some_and(|now| now >= before))
            .await;
        // Twice as long as a superseded generation would stay.
        let seen = answered.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(answered.load(Ordering::Relaxed) > seen && !asking.is_finished(), "{accident}");
        price += 1;
        cluster.load(SCHEMA, &csv(price));
        cluster.until_whole(NODES.len()).await;
        assert_eq!(rows(&cluster.client(), PRICE).await, [[int(price)]], "{accident}");
    }
    stop.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    assert_eq!(NODES.map(|node| cluster.pid(node)), pids, "no node was restarted");

    cluster.stop();
    cluster.resume();
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(price)]]);
}
