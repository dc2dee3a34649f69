//! An active epoch that is damaged in the store is reported, never served, and repaired by a new
//! load.

use super::harness::{Cluster, int, path, query, rows, text, words};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";
const PRICE: &str = "SELECT price FROM prices WHERE item IN ('item1', 'item250', 'item499')";

fn csv(price: i64) -> String {
    (0..500).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},{price}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_load_repairs_an_active_epoch_that_is_damaged_in_the_store() {
    let mut cluster = Cluster::start(&["--replicas", "1"]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.load(SCHEMA, &csv(1));
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(1)], [int(1)], [int(1)]]);
    cluster.stop();
    let epoch = cluster.data().join("store/tables/prices/epochs").join(format!("{:020}", 1));
    let plane = epoch.join("index-0/plane-0");
    let mut bytes = std::fs::read(&plane).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&plane, bytes).unwrap();
    cluster.resume_unserved();

    // A node reports which object is damaged.
    cluster
        .until("a node names the damaged object", |status| {
            let replicas: Vec<_> = status.shards.iter().flat_map(|shard| &shard.replicas).collect();
            let active = replicas.iter().filter(|r| r.active_generation == status.generation);
            // The node serves the other table.
            let told = |message: &str| message.contains("plane-0") && message.contains("damaged");
            !status.serving && active.count() == 3 && replicas.iter().any(|r| told(&r.message))
        })
        .await;
    let status = cluster.cli(&["status"]);
    let told = text(&status.stdout);
    assert!(!status.status.success() && told.contains("NOT serving"), "{told}");
    assert!(told.contains("plane-0") && told.contains("damaged"), "{told}");
    // No node answers from the damaged epoch.
    for shard in 0..3 {
        let client = cluster.client_of(&format!("shard-{shard}-0"));
        let error = query(&client, PRICE).await.unwrap_err().to_string();
        let named = (0..3).any(|shard| error.contains(&format!("shard {shard}")));
        assert!(named || error.contains("not serving"), "{error}");
        // The other table is intact.
        let cairo = rows(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await;
        assert_eq!(cairo, [[words("EG")]]);
    }
    let said = cluster.fails(&["query", PRICE]);
    assert!(said.contains("opaque status"), "{said}");

    cluster.load(SCHEMA, &csv(2));
    cluster.until_whole(3).await;
    let client = cluster.client();
    assert_eq!(rows(&client, PRICE).await, [[int(2)], [int(2)], [int(2)]]);
    let cairo = rows(&client, "SELECT country FROM weather WHERE city = 'Cairo'").await;
    assert_eq!(cairo, [[words("EG")]]);
    assert!(cluster.ok(&["status"]).contains("\nserving"));
    // The repaired cluster survives a restart, and still refuses the damaged epoch.
    cluster.stop();
    cluster.resume();
    let refused = cluster.fails(&["rollback", "prices", "1"]);
    assert!(refused.contains("damaged"), "{refused}");
    assert_eq!(rows(&cluster.client(), PRICE).await, [[int(2)], [int(2)], [int(2)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_anything_to_serve_but_a_damaged_epoch_takes_a_load_by_any_node() {
    let mut cluster = Cluster::start(&["--replicas", "1"]).await;
    let mut price = 1;
    cluster.load(SCHEMA, &csv(price));
    for shard in 0..3 {
        cluster.stop();
        let epochs = cluster.data().join("store/tables/prices/epochs");
        let folder = epochs.join(format!("{price:020}")).join("index-0");
        for entry in std::fs::read_dir(&folder).unwrap() {
            // Truncates every object of the index, so that every node that loads it is affected.
            let file = entry.unwrap().path();
            if file.is_file() {
                let bytes = std::fs::read(&file).unwrap();
                std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
            }
        }
        cluster.resume_unserved();
        cluster
            .until("a node says what is wrong", |s| {
                let mut replicas = s.shards.iter().flat_map(|shard| &shard.replicas);
                !s.serving && replicas.any(|replica| replica.message.contains("index-0"))
            })
            .await;
        price += 1;
        let schema = cluster.file("schema.sql", SCHEMA);
        let data = cluster.file("data.csv", csv(price));
        let node = cluster.endpoint(&format!("shard-{shard}-0")).to_string();
        cluster.ok(&["--cluster", &node, "load", path(&schema), path(&data)]);
        cluster.until_whole(3).await;
        let now = int(price);
        assert_eq!(rows(&cluster.client(), PRICE).await, [[now.clone()], [now.clone()], [now]]);
    }
}
