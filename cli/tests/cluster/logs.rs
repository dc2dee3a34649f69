//! The nodes' logs contain nothing of a query and no client's identity, not even at trace level.

use opaque_client::KeyMode;
use opaque_pir::layout::page_bucket;
use opaque_pir::table::Value;

use super::harness::{Cluster, int, query, rows};

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_log_of_a_query_holds_neither_value_nor_bucket() {
    let mut cluster = Cluster::start_logging(&[], "trace").await;
    cluster.load_example("weather", "weather.csv");
    let client = cluster.client();
    let table = client.describe("weather").await.unwrap();
    let (column, _) = table.schema.column("city").unwrap();
    let buckets = table.index(column).unwrap().geometry.buckets();
    // Values that occur nowhere else and whose buckets have four digits.
    let bucket = |value: &str| {
        let key = Value::Text(value.to_owned()).search_key();
        page_bucket(&table.salt, u32::try_from(column).unwrap(), &key, 0, buckets)
    };
    let names = (0..).map(|i| format!("Xanadu{i}qz")).filter(|name| bucket(name) >= 1000);
    let values: Vec<String> = names.take(6).collect();
    let before = cluster.logs().len();
    for value in &values {
        let sql = format!("SELECT * FROM weather WHERE city = '{value}'");
        assert!(rows(&client, &sql).await.is_empty());
    }
    cluster.stop();
    let logs = cluster.logs();
    let written = logs.len() - before;
    assert!(written > 10_000, "the nodes log at trace level: {written} bytes");
    assert!(logs.contains("TRACE") && logs.contains("answered"));
    for value in &values {
        assert!(!logs.contains(value.as_str()), "{value} is in the log");
    }
    // One bucket's number may occur by chance. A node that logs buckets logs all of them.
    let numbers: std::collections::HashSet<&str> =
        logs.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let leaked = values.iter().filter(|v| numbers.contains(bucket(v).to_string().as_str()));
    assert!(leaked.count() < values.len(), "the buckets of the queries are in the log");
    // The bytes of messages are not logged either: a query has thousands.
    let longest = logs.lines().map(str::len).max().unwrap();
    assert!(longest < 4096, "a line of {longest} bytes: {}", {
        let line = logs.lines().max_by_key(|line| line.len()).unwrap();
        line.chars().take(300).collect::<String>()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_log_does_not_name_keys_that_cannot_be_read() {
    let mut cluster = Cluster::start_logging(&[], "trace").await;
    cluster.load_example("weather", "weather.csv");
    let sql = "SELECT temperature FROM weather WHERE city = 'Cairo'";
    assert_eq!(rows(&cluster.client_with(KeyMode::Registered), sql).await, [[int(33)]]);
    let folder = cluster.data().join("store/keys");
    let mut stored = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let (object, more) = (stored.next().unwrap(), stored.next());
    assert_eq!(more, None, "one client has one key object");
    // An object's name is its digest: 32 bytes in hexadecimal.
    let digest = object.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");

    // The keys are gone: the client registers them again.
    cluster.stop();
    std::fs::remove_file(&object).unwrap();
    cluster.resume();
    let (answer, timing) = query(&cluster.client_with(KeyMode::Registered), sql).await.unwrap();
    assert_eq!(answer.rows, [[int(33)]]);
    assert!(timing.keys_bytes > 0 && object.is_file(), "{timing:?}");

    // The keys are damaged: they are replaced.
    cluster.stop();
    std::fs::write(&object, b"no keys").unwrap();
    cluster.resume();
    let (answer, timing) = query(&cluster.client_with(KeyMode::Registered), sql).await.unwrap();
    assert_eq!(answer.rows, [[int(33)]]);
    assert!(timing.keys_bytes > 0, "{timing:?}");

    // The keys can be neither read nor replaced: the query fails, and no text names the keys.
    cluster.stop();
    std::fs::remove_file(&object).unwrap();
    std::fs::create_dir(&object).unwrap();
    std::fs::write(object.join("in the way"), b"").unwrap();
    cluster.resume();
    let said = cluster.fails(&["query", "--keys", "registered", sql]);
    cluster.stop();
    // Half of the digest would identify the client as well.
    let name = &digest[..16];
    assert!(!said.contains(name), "{said}");
    let logs = cluster.logs();
    assert!(logs.contains("TRACE"));
    if let Some(line) = logs.lines().find(|line| line.to_ascii_lowercase().contains(name)) {
        panic!("the keys' digest is in the log: {line}");
    }
}
