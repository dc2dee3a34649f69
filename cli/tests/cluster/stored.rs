//! Data that an earlier build wrote.
//!
//! The build of commit 60a3e0b (2026-11-30) wrote `tests/fixtures/stored` with
//! `opaque dev --shards 2` and `opaque load` of three rows: the active map, and the epoch with its
//! matrix, hint and public part.

use std::path::Path;

use opaque_client::KeyMode;

use super::harness::{Cluster, query};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stored");

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_an_earlier_build_stored_is_served() {
    let cluster = Cluster::start_on(Path::new(FIXTURE), &["--shards", "2"]).await;
    let sql = "SELECT * FROM fruit WHERE name IN ('apple', 'banana', 'kirsche früh', 'plum')";
    let csv = cluster.ok(&["query", "--format", "csv", sql]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines,
        [
            "name,colour,price,weight,ripe,picked",
            "apple,red,3,0.25,true,2026-11-29T12:00:00Z",
            "banana,,2,,false,",
            "kirsche früh,rot,-9,0.001,,1969-12-31T23:59:59.5Z",
        ]
    );
    for keys in [KeyMode::Inline, KeyMode::Registered] {
        let client = cluster.client_with(keys);
        let (answer, _) = query(&client, "SELECT * FROM fruit WHERE name = 'plum'").await.unwrap();
        assert!(answer.rows.is_empty());
    }
    assert_eq!(cluster.ok(&["epochs", "fruit"]).lines().count(), 2, "nothing else was stored");
}
