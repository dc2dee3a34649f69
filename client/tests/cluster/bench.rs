//! `opaque bench --over cluster`.

use std::process::Command;

use crate::harness::{text, turn};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_temporary_cluster_are_served_and_counted() {
    let _turn = turn().await;
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_opaque"))
        .args(["bench", "--over", "cluster", "--size", "64MiB", "--shards", "2"])
        .args(["--batch", "2", "--clients", "2", "--time", "1s", "--format", "json"])
        .env("OPAQUE_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let served: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = &served[0];
    assert!(one["size_bytes"].as_u64().unwrap() >= 64 << 20);
    assert_eq!((&one["shards"], &one["clients"], &one["batch"]), (&2.into(), &2.into(), &2.into()));
    assert!(one["fewest_requests"].as_u64().unwrap() > 0);
    let number = |key: &str| one[key].as_f64().unwrap();
    assert!(number("cold_start_s") > 0.0 && number("cold_start_mb_s_per_core") > 0.0);
    assert!(number("p50_ms") <= number("p99_ms") && number("lookups_per_s") > 0.0);
    assert!(number("bytes_up") > number("bytes_down"));
    // Neither profile nor keys of the user are touched.
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
