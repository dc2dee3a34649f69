//! Two clusters on one machine, each with a profile of its own.

use super::harness::{Cluster, path, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cluster_gets_its_own_profile_and_is_reached_by_its_name() {
    let mut cluster = Cluster::start(&["--shards", "1"]).await;
    cluster.load("CREATE TABLE one (id INT KEY)", "id\n1\n");
    let other = cluster.home().join("other");
    let refused = cluster.cli(&["dev", "--data-dir", path(&other)]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    assert!(error.contains("profile default belongs to the `opaque dev` with data in"), "{error}");
    assert!(error.contains("hint: start this cluster under another name"), "{error}");
    assert!(!other.exists(), "nothing was made");

    // The default profile stays as it is while another cluster runs under another name.
    let before = cluster.ok(&["profiles", "--format", "jsonl"]);
    cluster.stop();
    cluster.add_arguments(&["--profile", "two"]);
    cluster.resume_unserved();
    cluster.ok(&["status", "--profile", "two", "--wait", "120s"]);
    assert!(cluster.ok(&["tables", "--profile", "two", "--format", "csv"]).contains("one"));
    let after = cluster.ok(&["profiles", "--format", "jsonl"]);
    assert_eq!(after.lines().next(), before.lines().next());
    assert!(after.contains("\"profile\":\"two\",\"chosen\":false"), "{after}");
    let chosen = cluster.ok(&["profiles", "--profile", "two", "--format", "csv"]);
    assert!(chosen.contains("two,true,"), "{chosen}");
    let unknown = cluster.fails(&["tables", "--profile", "three"]);
    assert!(unknown.contains("profiles/three/profile.toml"), "{unknown}");
}
