//! Both kinds of keys against one cluster, and the data that each leaves behind.

use opaque_client::KeyMode;

use super::harness::{Cluster, query, text, words};

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_keys_answer_and_inline_ones_leave_nothing_behind() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let sql = |city: &str| format!("SELECT country FROM weather WHERE city = '{city}'");
    let stored = || std::fs::read_dir(cluster.data().join("store/keys")).map_or(0, Iterator::count);
    let home = |name: &str| cluster.home().join(name);

    let inline = cluster.client_with(KeyMode::Inline);
    let (answer, first) = query(&inline, &sql("Cairo")).await.unwrap();
    assert_eq!(answer.rows, [[words("EG")]]);
    // One ring's public part, once. No key is stored on either side.
    assert_eq!(first.keys_bytes, 4608);
    assert_eq!((stored(), home("keys").exists()), (0, false));

    let registered = cluster.client_with(KeyMode::Registered);
    let (answer, first) = query(&registered, &sql("Cairo")).await.unwrap();
    assert_eq!(answer.rows, [[words("EG")]]);
    assert!(first.keys_bytes > 200_000, "{first:?}");
    assert_eq!((stored(), home("keys").exists()), (1, true));

    // Several lookups at once, one kind after the other, including the commands and their variable.
    for (city, country) in [("Tokyo", "JP"), ("Santiago", "CL"), ("Atlantis", "")] {
        let list = format!("SELECT country FROM weather WHERE city IN ('{city}', 'x', 'Cairo')");
        for client in [&inline, &registered] {
            let (answer, timing) = query(client, &list).await.unwrap();
            let mut rows: Vec<_> = answer.rows.into_iter().flatten().collect();
            rows.retain(|value| *value != words("EG"));
            let expected = if country.is_empty() { vec![] } else { vec![words(country)] };
            assert_eq!((rows, timing.keys_bytes), (expected, 0), "{city}");
        }
        for keys in ["inline", "registered"] {
            let said = cluster.cli(&["query", "--format", "csv", "--keys", keys, &sql(city)]);
            assert_eq!(text(&said.stdout).lines().nth(1).unwrap_or_default(), country, "{keys}");
        }
    }
    // Each command downloads the public part: a cached file would tell the cluster that this client
    // was here before.
    for _ in 0..2 {
        let timing = cluster.cli(&["query", "--timing", "--keys", "inline", &sql("Cairo")]);
        let timing = text(&timing.stderr);
        let keys = timing.lines().find(|line| line.starts_with("keys")).unwrap();
        assert!(keys.contains("4,608 B"), "{timing}");
    }
    assert!(!home("public").exists());
}
