//! Nothing of a query in the nodes' logs, not even at trace level.

use opaque_pir::layout::page_bucket;
use opaque_pir::table::Value;

use super::harness::{Cluster, rows};

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_log_of_a_query_holds_neither_value_nor_bucket() {
    let mut cluster = Cluster::start_logging(&[], "trace").await;
    cluster.load_example("weather", "weather.csv");
    let client = cluster.client();
    let table = client.describe("weather").await.unwrap();
    let (column, _) = table.schema.column("city").unwrap();
    let buckets = table.index(column).unwrap().geometry.buckets();
    // Values that occur nowhere else, and whose buckets have four digits.
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
    // One bucket's number may stand there by chance; a node that logs buckets logs them all.
    let numbers: std::collections::HashSet<&str> =
        logs.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let leaked = values.iter().filter(|v| numbers.contains(bucket(v).to_string().as_str()));
    assert!(leaked.count() < values.len(), "the buckets of the queries are in the log");
    // No message's bytes either: a query has thousands of them.
    let longest = logs.lines().map(str::len).max().unwrap();
    assert!(longest < 4096, "a line of {longest} bytes: {}", {
        let line = logs.lines().max_by_key(|line| line.len()).unwrap();
        line.chars().take(300).collect::<String>()
    });
}
