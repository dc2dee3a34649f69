//! Which clients may load and roll back, and what no client may do.

use std::fs;
use std::path::Path;

use opaque_client::{Client, Overrides};
use opaque_pir::table::Value;

use super::bare::Bare;
use super::harness::{Cluster, int, path, rows, text, words};

const SCHEMA: &str = "CREATE TABLE prices (item TEXT KEY, price INT)";
const PRICE: &str = "SELECT price FROM prices WHERE item = 'tea'";

fn csv(price: i64) -> String {
    format!("item,price\ntea,{price}\n")
}

/// Records an OpaqueTable as the owner of a table in the map of a stopped cluster.
fn own(cluster: &Cluster, table: &str, owner: &str) {
    let file = cluster.data().join("coordination/active.json");
    let mut document: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    document["record"]["owners"] = serde_json::json!({table: owner});
    fs::write(&file, document.to_string()).unwrap();
}

/// Names of the epochs in the store.
fn epochs(cluster: &Cluster) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(cluster.data().join("store/tables/prices/epochs")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

async fn price(cluster: &Cluster) -> Vec<Vec<Value>> {
    rows(&cluster.client(), PRICE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_an_opaque_table_is_neither_loaded_nor_rolled_back() {
    let mut cluster = Cluster::start(&[]).await;
    for price in 1..=3 {
        cluster.load(SCHEMA, &csv(price));
    }
    cluster.stop();
    own(&cluster, "prices", "prices-of-2026");
    cluster.resume();
    let before = epochs(&cluster);
    // Far more rows than a connection buffers, so the error does not wait for all of them.
    let many = (0..400_000).fold("item,price\n".to_owned(), |csv, i| csv + &format!("item{i},9\n"));
    let data = cluster.file("many.csv", many);
    for schema in [SCHEMA.to_owned(), SCHEMA.replace("prices", "Prices")] {
        let schema = cluster.file("schema.sql", schema);
        let said = cluster.fails(&["load", path(&schema), path(&data)]);
        assert!(said.contains("belongs to OpaqueTable prices-of-2026"), "{said}");
        assert!(said.contains("spec.source") && said.contains("nothing was published"), "{said}");
    }
    for table in ["prices", "PRICES"] {
        let said = cluster.fails(&["rollback", table, "1"]);
        assert!(
            said.contains("OpaqueTable prices-of-2026") && said.contains("spec.epoch"),
            "{said}"
        );
    }
    assert_eq!(epochs(&cluster), before, "an epoch was made or deleted");
    assert_eq!(price(&cluster).await, [[int(3)]]);
    // Other tables can still be loaded, and the owner stays in the map.
    cluster.load_example("weather", "weather.csv");
    let owners = cluster.coordination("active.json").unwrap()["owners"].clone();
    assert_eq!(owners, serde_json::json!({"prices": "prices-of-2026"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_loads_only_where_its_name_is_listed() {
    let arguments = [
        "--client-auth",
        "token",
        "--tokens-dir",
        "DIR/tokens",
        "--loader",
        "etl",
        "--loader",
        "ops",
    ];
    let mut nodes = Bare::start_for(1, &arguments, |nodes| {
        fs::create_dir(nodes.path("tokens")).unwrap();
        for client in ["etl", "reader"] {
            let token = format!("a-secret-of-{client}-alone");
            fs::write(nodes.path("tokens").join(client), &token).unwrap();
            fs::write(nodes.path(client), token).unwrap();
        }
    })
    .await;
    let (etl, reader) = (nodes.path("etl"), nodes.path("reader"));
    nodes.load_weather(&["--token-file", path(&etl)]);
    let overrides = Overrides { token_file: Some(reader.clone()), ..Overrides::default() };
    let client = Client::connect(nodes.config(0, overrides)).unwrap();
    let cairo = "SELECT country FROM weather WHERE city = 'Cairo'";
    assert_eq!(rows(&client, cairo).await, [[words("EG")]]);
    let weather = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/weather");
    let (schema, data) = (weather.join("schema.sql"), weather.join("weather.csv"));
    for command in [vec!["load", path(&schema), path(&data)], vec!["rollback", "weather", "1"]] {
        let output = nodes.cli(&[&["--token-file", path(&reader)], &command[..]].concat());
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{command:?}");
        assert!(said.contains("client \"reader\" may only query"), "{said}");
        assert!(said.contains("spec.clientAuth.loaders"), "{said}");
        assert!(!said.contains("may still complete"), "{said}");
    }
    let output = nodes.cli(&["--token-file", path(&etl), "rollback", "weather", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_client_names_only_a_rule_for_everyone_permits_loads() {
    let mut nodes = Bare::start_for(1, &[], |_| {}).await;
    let output = nodes.cli(&["status", "--wait", "60s"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let weather = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/weather");
    let (schema, data) = (weather.join("schema.sql"), weather.join("weather.csv"));
    let output = nodes.cli(&["load", path(&schema), path(&data)]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("do not prove who they are"), "{said}");
    assert!(said.contains("loaders: [\"*\"]"), "{said}");
    assert!(nodes.cli(&["tables"]).status.success());
    nodes.assert_unharmed();
}
