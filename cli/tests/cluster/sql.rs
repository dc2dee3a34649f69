//! SQL on a cluster beyond one lookup, several statements at once, and output for programs.

use std::process::Stdio;

use serde_json::Value as Json;

use super::harness::{Cluster, path};

/// Two tables, so that joins have something to join.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(&[]).await;
    cluster.load(
        "CREATE TABLE people (id INT KEY, name TEXT INDEX, born TIMESTAMP, active BOOL)",
        "id,name,born,active\n1,Ana,1990-05-01T00:00:00Z,true\n2,Bo,1985-01-01T00:00:00Z,false\n\
         3,Ana,2001-01-01T12:00:00Z,true\n",
    );
    cluster.load(
        "CREATE TABLE orders (number INT KEY, person INT INDEX, price REAL)",
        "number,person,price\n10,1,2.5\n11,1,4.0\n12,2,9.0\n13,3,1.0\n",
    );
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_beyond_one_lookup_are_answered() {
    let cluster = cluster().await;
    for (sql, answer) in [
        (
            "SELECT p.name, SUM(o.price) AS total FROM people p JOIN orders o ON o.person = p.id \
             WHERE p.id IN (1, 2) AND o.person IN (1, 2) GROUP BY p.id ORDER BY total",
            "name,total\nAna,6.5\nBo,9.0\n",
        ),
        (
            "SELECT upper(name) AS n, MIN(born), active FROM people WHERE name = 'An' || 'a'",
            "n,MIN(born),active\nANA,1990-05-01T00:00:00.000000Z,true\n",
        ),
        (
            "SELECT id FROM people WHERE id = 1 UNION SELECT number FROM orders WHERE person = 1 + 1",
            "id\n1\n12\n",
        ),
        (
            "WITH mine AS (SELECT * FROM orders WHERE person = 1) \
             SELECT number, RANK() OVER (ORDER BY price DESC) AS place FROM mine ORDER BY number",
            "number,place\n10,2\n11,1\n",
        ),
        ("SELECT 2 + 3 AS five", "five\n5\n"),
    ] {
        assert_eq!(cluster.ok(&["query", "--format", "csv", sql]), answer, "{sql}");
    }
    let refused = cluster.fails(&[
        "query",
        "SELECT name FROM people p JOIN orders o ON o.person = p.id WHERE p.id = 1",
    ]);
    assert!(refused.contains("AND o.number = ..."), "{refused}");
    // The lookups of both tables are private, and there are three of them.
    let said = cluster.cli(&[
        "query",
        "--timing",
        "SELECT COUNT(*) FROM people p, orders o WHERE p.id = 1 AND o.person IN (1, 2)",
    ]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("3 in 2 requests"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_run_in_order_and_a_failure_stops_none() {
    let cluster = cluster().await;
    let file = cluster.file(
        "report.sql",
        "-- ; two people\nSELECT name FROM people WHERE id = :id;\n\
         SELECT lost FROM people WHERE id = 1;\nSELECT ';' AS semicolon",
    );
    let file = path(&file);
    let said = cluster.cli(&["query", "--format", "csv", "--param", "id=2", "-f", file]);
    assert!(!said.status.success());
    assert_eq!(String::from_utf8_lossy(&said.stdout), "name\nBo\nsemicolon\n;\n");
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        errors.contains("no column is named \"lost\"")
            && errors.contains("1 of 3 statements failed"),
        "{errors}"
    );
    let unused = cluster.fails(&["query", "--param", "other=2", "-f", file]);
    assert!(unused.contains("parameter \"other\" is given"), "{unused}");
    let none = cluster.fails(&["query", "-f", "nowhere.sql"]);
    assert!(none.contains("nowhere.sql"), "{none}");
}

/// `opaque query … | head` with several statements: no error, and nothing on standard error.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_ends_the_query_quietly() {
    let cluster = cluster().await;
    let sql = "SELECT name FROM people WHERE id = 1; SELECT name FROM people WHERE id = 2";
    let mut command = cluster.command();
    command.args(["query", sql]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && errors.is_empty(), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_by_programs() {
    let cluster = cluster().await;
    let json =
        |arguments: &[&str]| -> Json { serde_json::from_str(&cluster.ok(arguments)).unwrap() };
    let tables = json(&["tables", "--format", "json"]);
    assert_eq!(tables[1]["table"], "people");
    assert_eq!((&tables[1]["rows"], &tables[1]["searchable"][1]), (&3.into(), &"name".into()));
    let columns = json(&["describe", "orders", "--format", "json"]);
    assert_eq!((&columns[1]["column"], &columns[1]["role"]), (&"person".into(), &"INDEX".into()));
    assert!(columns[1]["lookup_microseconds"].is_u64() && columns[2]["buckets"].is_null());
    let epochs = json(&["epochs", "orders", "--format", "json"]);
    assert_eq!((&epochs[0]["rows"], &epochs[0]["serving"]), (&4.into(), &true.into()));
    let status = json(&["status", "--format", "json"]);
    assert_eq!((&status[0]["shard"], &status[0]["state"]), (&0.into(), &"serving".into()));
    assert!(cluster.ok(&["completions", "bash"]).contains("--allow-public-scan"));
}
