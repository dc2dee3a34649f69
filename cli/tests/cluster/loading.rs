//! Files that cannot be loaded. The error names line and column, and nothing is loaded.

use opaque_client::ddl;
use opaque_pir::table::Value;
use opaque_source::Reader;

use super::harness::{Cluster, example, path, rows};

const SCHEMA: &str = "CREATE TABLE people (id INT KEY, name TEXT INDEX NOT NULL, age INT)";

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_name_line_and_column_and_load_nothing() {
    let cluster = Cluster::start(&[]).await;
    let many = |bad_line: usize, bad: &str| {
        let mut csv = "id,name,age\n".to_owned();
        for line in 2..=70_010 {
            let row = if line == bad_line { bad.to_owned() } else { format!("{line},n{line},7") };
            csv += &row;
            csv.push('\n');
        }
        csv.into_bytes()
    };
    let huge = format!("id,name,age\n1,ok,1\n2,{},1\n", "x".repeat(70_000));
    // (what, schema, data, what the error must name)
    let cases: Vec<(&str, &str, Vec<u8>, Vec<&str>)> = vec![
        ("a missing column", SCHEMA, b"id,age\n1,2\n".to_vec(), vec!["name"]),
        ("an unknown column", SCHEMA, b"id,name,age,hat\n1,a,2,x\n".to_vec(), vec!["hat"]),
        ("a bad integer on line 70,001", SCHEMA, many(70_001, "70001,n,old"), vec!["70001", "age"]),
        (
            "invalid UTF-8",
            SCHEMA,
            b"id,name,age\n1,ok,1\n2,\xff\xfe,1\n".to_vec(),
            vec!["3", "name"],
        ),
        ("a NULL where none may be", SCHEMA, b"id,name,age\n1,,1\n".to_vec(), vec!["2", "name"]),
        ("too few fields", SCHEMA, b"id,name,age\n1,a\n".to_vec(), vec!["2"]),
        (
            "a key twice",
            SCHEMA,
            b"id,name,age\n1,a,1\n2,b,1\n1,c,1\n".to_vec(),
            vec!["line 4", "line 2", "id"],
        ),
        ("a row larger than a bucket", SCHEMA, huge.into_bytes(), vec!["line 3", "70006 bytes"]),
        (
            "an open quote",
            SCHEMA,
            b"id,name,age\n1,a,1\n2,\"Bo,1\n3,Cy,1\n".to_vec(),
            vec!["line 3, column 3", "never closed", "--lenient-quotes"],
        ),
        (
            "text after a quote",
            SCHEMA,
            b"id,name,age\n1,\"Ana\" Maria,1\n".to_vec(),
            vec!["line 2, column 3", "line 2, column 7", "--lenient-quotes"],
        ),
        ("UTF-16", SCHEMA, b"\xff\xfei\0d\0".to_vec(), vec!["UTF-16", "iconv"]),
        (
            "a second 60",
            "CREATE TABLE people (at TIMESTAMP KEY)",
            b"at\n2016-12-31T23:59:60Z\n".to_vec(),
            vec!["line 2", "at", "second 59"],
        ),
        ("no header", SCHEMA, Vec::new(), vec!["first line"]),
        ("no table", "SELECT 1", b"id,name,age\n".to_vec(), vec!["CREATE TABLE"]),
        ("no searchable column", "CREATE TABLE people (id INT)", b"id\n1\n".to_vec(), vec!["KEY"]),
    ];
    for (what, schema, data, named) in cases {
        let schema = cluster.file("bad.sql", schema);
        let data = cluster.file("bad.csv", data);
        let said = cluster.fails(&["load", path(&schema), path(&data)]);
        for name in named {
            assert!(said.contains(name), "{what} should name {name}: {said}");
        }
        assert_eq!(said.matches("/bad.").count(), 1, "the file is named once: {said}");
        println!("{what}:\n{said}");
        assert!(!cluster.ok(&["tables"]).contains("people"), "{what}");
    }
    let gone = cluster.fails(&["load", "nowhere.sql", "nowhere.csv"]);
    assert!(gone.contains("nowhere.sql"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_differs_by_case_is_refused_before_anything_is_written() {
    let cluster = Cluster::start(&[]).await;
    cluster.load("CREATE TABLE MyTab (id INT KEY)", "id\n1\n");
    let before = cluster.stored_tables();
    let schema = cluster.file("other.sql", "CREATE TABLE mytab (id INT KEY)");
    let data = cluster.file("other.csv", "id\n2\n");
    let said = cluster.fails(&["load", path(&schema), path(&data)]);
    assert!(said.contains("table \"MyTab\" exists"), "{said}");
    assert_eq!(cluster.stored_tables(), before, "the refused load left something in the store");
}

/// Loads files and returns standard error.
fn told(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.cli(&[&["load"], arguments].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_loaded_as_they_come() {
    let cluster = Cluster::start(&[]).await;
    let schema = cluster.file("people.sql", SCHEMA);
    let rows = |client| async move { rows(&client, "SELECT * FROM people ORDER BY id").await };
    let row = |id, name: &str, age| vec![Value::Int(id), Value::Text(name.to_owned()), age];
    let expected = vec![row(1, "Ana", Value::Int(3)), row(2, "", Value::Null)];
    for (name, text, options, dialect) in [
        (
            "a.csv",
            "id;name;age\n1;Ana;3\n2;\"\";\n",
            &[][..],
            "semicolon-separated, 3 columns, with a header",
        ),
        ("a.tsv", "1\tAna\t3.0\n2\t\"\"\t\n", &[], "tab-separated, 3 columns, no header"),
        ("a.json", "[{\"id\":1,\"name\":\"Ana\",\"age\":3},\n{\"id\":2,\"name\":\"\"}]", &[], ""),
        (
            "a.txt",
            "made by x\nAna|1|3|no\n''|2||no\n",
            &["--skip", "1", "--columns", "name,id,age,_", "--ignore-extra", "--quote", "'"],
            "pipe-separated, 4 columns, no header, quotes '",
        ),
    ] {
        let data = cluster.file(name, text);
        let told = told(&cluster, &[options, &[path(&schema), path(&data)]].concat());
        assert!(told.starts_with(dialect), "{name}: {told}");
        assert_eq!(rows(cluster.client()).await, expected, "{name}");
    }
    // Several files are one table.
    let one = cluster.file("1.tsv", "name\tid\tage\nAna\t1\t3\n");
    let two = cluster.file("2.jsonl", "{\"id\":2,\"name\":\"\"}\n");
    told(&cluster, &[path(&schema), path(&one), path(&two)]);
    assert_eq!(rows(cluster.client()).await, expected);
    let said = cluster.fails(&["load", path(&schema), path(&one), path(&two), path(&one)]);
    assert!(
        said.contains("1.tsv: line 2, column id: duplicates the value of line 2 of "),
        "{said}"
    );
    assert!(
        said.contains("the file was read as tab-separated, 3 columns, with a header"),
        "{said}"
    );
    // What was refused has changed nothing.
    assert_eq!(rows(cluster.client()).await, expected);
    let doubtful = cluster.file("d.csv", "id,name,age\n1,'Ana',3\n");
    let said = cluster.fails(&["load", path(&schema), path(&doubtful)]);
    assert!(said.contains("with a header, quotes '; set its quote (--quote)"), "{said}");
}

/// Answers every request with a file of its path's name.
fn serve() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines =
                std::io::BufRead::lines(std::io::BufReader::new(stream.try_clone().unwrap()));
            let head: Vec<String> =
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
            let (status, body) = match path {
                "/people.csv?signature=1" => ("200 OK", "name;id;age\nAna;1;3\n"),
                "/page" => ("200 OK", "<!DOCTYPE html>\n<html><body>Download</body></html>\n"),
                "/secret.csv" => ("403 Forbidden", "no"),
                _ => ("404 Not Found", "<html>not here</html>"),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_loaded_and_errors_of_servers_are_named() {
    let cluster = Cluster::start(&[]).await;
    let schema = cluster.file("people.sql", SCHEMA);
    let server = format!("http://{}", serve());
    let url = |path: &str| format!("{server}/{path}");
    let said = told(&cluster, &[path(&schema), &url("people.csv?signature=1")]);
    assert!(said.starts_with("semicolon-separated, 3 columns"), "{said}");
    let client = cluster.client();
    assert_eq!(rows(&client, "SELECT age FROM people WHERE id = 1").await, [[Value::Int(3)]]);
    for (place, named) in [
        ("gone.csv", "gone.csv answered 404 Not Found"),
        ("secret.csv", "SOURCE_TOKEN"),
        ("page", "page is an HTML page: does the address lead to a page about the file?"),
    ] {
        let said = cluster.fails(&["load", path(&schema), &url(place)]);
        assert!(said.contains(named), "{said}");
    }
    let said = cluster.fails(&["load", path(&schema), "ftp://host/a.csv"]);
    assert!(said.contains("ftp:// is not supported"), "{said}");
    let said = cluster.fails(&["load", path(&schema), "http://127.0.0.1:1/a.csv"]);
    assert!(said.contains("connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lenient_quotes_take_what_is_refused_and_say_how_many() {
    let cluster = Cluster::start(&[]).await;
    let schema = cluster.file("people.sql", SCHEMA);
    let data = cluster
        .file("people.csv", "id,name,age\n1,\"Ana\" Maria,1\n2,x,2\n3,\"say \\\"hi\\\"\",3\n");
    let load = ["load", "--lenient-quotes", path(&schema), path(&data)];
    let output = cluster.cli(&load);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("only --lenient-quotes accepts: 2, the first on line 2;"), "{told}");
    let clean = cluster.file("clean.csv", "id,name,age\n7,x,1\n");
    let output =
        cluster.cli(&["load", "--lenient-quotes", path(&schema), path(&clean), path(&data)]);
    let told = String::from_utf8(output.stderr).unwrap();
    let first = format!("the first on line 2 of {};", path(&data));
    assert!(told.contains(&first), "{told}");
    let client = cluster.client();
    let name = |name: &str| vec![vec![Value::Text(name.to_owned())]];
    assert_eq!(rows(&client, "SELECT name FROM people WHERE id = 1").await, name("Ana Maria"));
    assert_eq!(rows(&client, "SELECT name FROM people WHERE id = 3").await, name("say \\hi\\\"\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_second_of_the_calendar_is_found_by_its_literal() {
    let cluster = Cluster::start(&[]).await;
    let schema = cluster.file("t.sql", "CREATE TABLE t (k INT KEY, at TIMESTAMP INDEX)");
    let data =
        "k,at\n1,9999-12-31T23:59:59Z\n2,1969-12-31T23:59:59.9999999Z\n3,1970-01-01T00:00:00Z\n";
    let data = cluster.file("t.csv", data);
    cluster.ok(&["load", path(&schema), path(&data)]);
    for (literal, row) in [
        ("9999-12-31T23:59:59Z", "1,9999-12-31T23:59:59Z"),
        ("9999-12-31T23:59:59.0000009Z", "1,9999-12-31T23:59:59Z"),
        ("1969-12-31T23:59:59.9999991Z", "2,1969-12-31T23:59:59.999999Z"),
        ("1970-01-01T00:00:00.0000009Z", "3,1970-01-01T00:00:00Z"),
    ] {
        let query = format!("SELECT * FROM t WHERE at = '{literal}'");
        assert_eq!(cluster.ok(&["query", "--format", "csv", &query]), format!("k,at\n{row}\n"));
    }
    let said = cluster.fails(&["query", "SELECT * FROM t WHERE at = '2016-12-31T23:59:60Z'"]);
    assert!(said.contains("write second 59"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_order_come_as_they_were_loaded() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("cities", "cities.csv.zst");
    let folder = example("cities");
    let schema =
        ddl::parse(&std::fs::read_to_string(folder.join("schema.sql")).unwrap()).unwrap().schema;
    let file = Reader::open(&folder.join("cities.csv.zst"), &schema, "").unwrap();
    let first: Vec<_> = file.take(10).map(Result::unwrap).collect();
    let client = cluster.client();
    assert_eq!(rows(&client, "SELECT * FROM cities LIMIT 5").await, first[..5]);
    assert_eq!(rows(&client, "SELECT * FROM cities LIMIT 5 OFFSET 5").await, first[5..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_cannot_be_answered_say_what_to_write() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let cases = [
        ("SELECT * FROM rain", "rain"),
        ("SELECT nothing FROM weather WHERE city = 'x'", "nothing"),
        ("SELECT * FROM weather WHERE temperature > 20", "--allow-public-scan"),
        ("SELECT * FROM weather WHERE city LIKE 'S%'", "--allow-public-scan"),
        ("SELECT city FROM weather JOIN rain", "rain"),
        ("SELECT w.city FROM weather w JOIN weather v ON w.id = v.id WHERE w.city = 'x'", "v.city"),
        ("DELETE FROM weather", "SELECT"),
        ("SELECT * FROM weather WHERE city = :name", "--param"),
        ("SELECT", ""),
    ];
    for (sql, named) in cases {
        let said = cluster.fails(&["query", sql]);
        assert!(said.contains(named), "{sql} should name {named}: {said}");
    }
    let scanned = cluster.ok(&[
        "query",
        "--allow-public-scan",
        "--format",
        "csv",
        "SELECT city FROM weather WHERE temperature > 20 ORDER BY temperature DESC LIMIT 3",
    ]);
    assert_eq!(scanned, "city\nCairo\nTokyo\nNairobi\n");
}
