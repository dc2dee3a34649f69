//! Tables of which only the files are given.

use crate::harness::{Cluster, path};

const PEOPLE: &str = "\
# from the registry
Person Id;City name;PLZ;born;note
7;Oslo;0150;2001-02-03T04:05:06Z;\"a;b\"
8;Rome;00184;;
9;Oslo;0151;1999-01-01T00:00:00Z;x
";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_loaded_without_a_schema() {
    let cluster = Cluster::start(&[]).await;
    let data = cluster.file("2025-people.csv", PEOPLE);
    let load = ["load", path(&data), "--key", "person id", "--index", "City name,PLZ"];
    let output = cluster.ok(&[&load[..], &["--dry-run"]].concat());
    assert!(output.contains("3 rows fit table _2025_people; nothing was loaded."), "{output}");
    assert!(output.contains("Person_Id"), "{output}");
    assert!(!cluster.ok(&["tables"]).contains("_2025_people"));
    let output = cluster.ok(&load);
    assert!(output.contains("loaded 3 rows into _2025_people"), "{output}");
    let query = |sql: &str| cluster.ok(&["query", "--format", "csv", sql]);
    assert_eq!(
        query("SELECT * FROM _2025_people WHERE Person_Id = 7"),
        "Person_Id,City_name,PLZ,born,note\n7,Oslo,0150,2001-02-03T04:05:06Z,a;b\n"
    );
    // A code keeps its zeros.
    let found = query("SELECT Person_Id FROM _2025_people WHERE PLZ = '00184'");
    assert_eq!(found, "Person_Id\n8\n");
    let count = query("SELECT COUNT(*) FROM _2025_people WHERE City_name = 'Oslo'");
    assert_eq!(count, "COUNT(*)\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_that_is_proposed_loads_the_file() {
    let cluster = Cluster::start(&[]).await;
    let data = cluster.file("people.csv", PEOPLE);
    let proposed = cluster.ok(&["schema", path(&data)]);
    for line in [
        "-- 3 rows.",
        "CREATE TABLE people (",
        "    Person_Id INT KEY FROM \"Person Id\", -- ",
        "    City_name TEXT INDEX FROM \"City name\", -- ",
        "    born TIMESTAMP,\n",
        "    note TEXT\n);",
    ] {
        assert!(proposed.contains(line), "{line:?}: {proposed}");
    }
    let schema = cluster.file("people.sql", &proposed);
    cluster.ok(&["load", path(&schema), path(&data)]);
    let sql = "SELECT note FROM people WHERE City_name = 'Oslo' ORDER BY Person_Id";
    assert_eq!(cluster.ok(&["query", "--format", "csv", sql]), "note\na;b\nx\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_files_do_not_show_is_asked_for() {
    let cluster = Cluster::start(&[]).await;
    let data = cluster.file("people.csv", PEOPLE);
    let data = path(&data);
    for (arguments, expected) in [
        (vec!["load", data], "by --key and --index"),
        (vec!["load", data, "--key", "city name"], "some of its values occur twice"),
        (vec!["load", data, "--key", "born"], "it is NULL in 1 row"),
        (vec!["load", data, "--index", "town"], "the files have no column \"town\"; they have"),
        (vec!["load", "-", "--key", "id"], "standard input is read once"),
        (vec!["schema", data, "--table", "two words"], "\"two words\" is not a name"),
    ] {
        let said = cluster.fails(&arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(!cluster.ok(&["tables"]).contains("people"));
}
