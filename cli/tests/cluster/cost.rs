//! Tables that need much more memory than their rows.

use super::harness::{Cluster, path, text};

/// 250 rows of up to 4,500 bytes, and five columns to search by.
fn wide() -> (&'static str, String) {
    let schema = "CREATE TABLE wide (id INT KEY, a INT INDEX, b INT INDEX, c INT INDEX, d INT INDEX, note TEXT)";
    let rows = (0..250).map(|i| {
        let note = "n".repeat(300 + (i * 7919) % 4200);
        format!("{i},{},{},{},{},{note}\n", i % 3, i % 4, i % 5, i % 6)
    });
    (schema, format!("id,a,b,c,d,note\n{}", rows.collect::<String>()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_out_of_proportion_is_loaded_with_consent_only_and_leaves_nothing() {
    let cluster = Cluster::start(&[]).await;
    let (schema, data) = wide();
    let (schema, data) = (cluster.file("wide.sql", schema), cluster.file("wide.csv", data));
    let output = cluster.cli(&["load", path(&schema), path(&data)]);
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let (dialect, warning) = said.split_once('\n').unwrap();
    assert!(dialect.starts_with("comma-separated, "), "{said}");
    assert!(warning.starts_with("warning: this table needs much memory for its rows\n"), "{said}");
    let longest = (0..250usize).max_by_key(|i| ((i * 7919) % 4200, 250 - i)).unwrap();
    assert!(said.contains(&format!("The longest row, on line {}, has", longest + 2)), "{said}");
    for part in ["NODE MEMORY", "2,000 bytes", "error: not loaded: ", "--yes"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(cluster.stored_tables(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn load_and_describe_name_the_row_that_decides() {
    let cluster = Cluster::start(&[]).await;
    let rows = (0..200).map(|i| {
        let note = "n".repeat(if i == 16 { 9000 } else { 5 });
        format!("{i},{note}\n")
    });
    let loaded = cluster.load(
        "CREATE TABLE notes (id INT KEY, note TEXT)",
        &format!("id,note\n{}", rows.collect::<String>()),
    );
    assert!(loaded.contains("The nodes need 130.0 MiB of memory for "), "{loaded}");
    assert!(loaded.contains("The longest row, on line 18, has 9,00"), "{loaded}");
    let described = cluster.ok(&["describe", "notes"]);
    assert!(described.contains("The nodes need 130.0 MiB of memory for "), "{described}");
    assert!(described.contains("The longest row, row 17 of 200, has 9,00"), "{described}");
    let last = described.lines().last().unwrap();
    let limit = last.trim_start().split(' ').next().unwrap();
    assert_eq!((limit, last.contains(" 1 ")), ("200", true), "{described}");
}
