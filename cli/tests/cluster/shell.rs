//! `opaque shell` in a terminal: what a person types and sees.

use std::os::unix::fs::PermissionsExt;

use super::harness::{Cluster, path, signal};
use super::terminal::Terminal;
use super::wire::Proxy;

const PROMPT: &str = "opaque> ";

/// A prompt on a new cluster with one table.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(&["--shards", "2"]).await;
    cluster.load(
        "CREATE TABLE people (id INT KEY, name TEXT INDEX, remark TEXT)",
        "id,name,remark\n1,Ana,the first of them\n2,Bo,the second\n3,Ana,the third of them all\n",
    );
    cluster
}

fn shell(cluster: &Cluster, arguments: &[&str], rows: u16) -> Terminal {
    let mut command = cluster.command();
    command.args(arguments).env("PAGER", "sed 's/^/paged: /'");
    let mut terminal = Terminal::start(command, rows, 80);
    terminal.until("1 table. \\? shows help, Ctrl-D ends.");
    terminal.until(PROMPT);
    terminal
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_several_lines_are_completed_and_answered() {
    let cluster = cluster().await;
    // Without arguments: a terminal gets a prompt.
    let mut shell = shell(&cluster, &[], 40);
    shell.keys("SELECT rem\t");
    shell.until("remark");
    shell.keys(" FROM peo\t");
    shell.until("people");
    shell.enter("", "......> ");
    shell.keys("WHERE name = 'Ana' ORDER BY id");
    let answer = shell.enter(";", "(2 rows)");
    assert!(answer.contains("the first of them\n"), "{answer}");
    assert!(answer.contains("the third of them all\n"), "{answer}");

    // Ctrl-C clears the text, and an error ends nothing.
    shell.until(PROMPT);
    shell.keys("SELECT nonsense\x03");
    shell.until(PROMPT);
    shell.enter("SELECT nope FROM people WHERE id = 1;", "error: no column is named");
    shell.until(PROMPT);
    let answer = shell.enter("SELECT 7 AS a; SELECT 'x;y' AS b;", "\n x;y\n");
    assert!(answer.contains("(1 row)"), "{answer}");

    // Commands.
    shell.until(PROMPT);
    shell.enter("\\x auto", "wider than the terminal");
    shell.enter("SELECT * FROM people WHERE id = 2;", "(1 row)");
    let wide = "SELECT remark, remark AS b, remark AS c, remark AS d FROM people WHERE id = 3;";
    let answer = shell.enter(wide, "-[ RECORD 1 ]--");
    assert!(!answer.contains("(1 row)"), "{answer}");
    shell.until("remark | the third of them all\n");
    shell.enter("\\x off", "vertical output is off");
    shell.enter("\\timing", "timing is on");
    shell.enter("SELECT name FROM people WHERE id = 2;", "1 in 1 requests");
    shell.enter("\\timing off", "timing is off");
    shell.enter("\\d", "id, name");
    shell.enter("\\d people", "One private lookup of one page");
    shell.enter("\\scan on", "public scans are on");
    shell.enter("SELECT id FROM people WHERE remark = 'the second';", "(1 row)");
    shell.enter("\\pages 2", "pages: 2");
    shell.enter("\\nonsense", "error: \\nonsense is not a command");
    shell.enter("\\?", "\\pages N");
    shell.keys("\\q\r");
    assert!(shell.end().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_statement_and_not_the_shell() {
    let cluster = cluster().await;
    let mut shell = shell(&cluster, &["shell"], 40);
    let nodes = ["shard-0-0", "shard-1-0"].map(|node| cluster.pid(node));
    for node in nodes {
        signal(node, "STOP");
    }
    shell.keys("SELECT name FROM people WHERE id = 1;\r");
    shell.interrupt_until("interrupted: the statement has no answer");
    for node in nodes {
        signal(node, "CONT");
    }
    shell.until(PROMPT);
    cluster.until("every shard serves", |status| status.serving).await;
    shell.enter("SELECT name FROM people WHERE id = 2;", "Bo");
    // Ctrl-D.
    shell.until(PROMPT);
    shell.keys("\x04");
    assert!(shell.end().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_are_paged_and_only_a_named_file_remembers() {
    let cluster = cluster().await;
    let before = files(&cluster);
    let mut shell = shell(&cluster, &["shell"], 5);
    shell.enter("SELECT id FROM people WHERE name = 'Ana';", "paged: (2 rows)");
    shell.keys("\\q\r");
    assert!(shell.end().success());
    assert_eq!(files(&cluster), before, "nothing was written");

    let history = cluster.home().join("history");
    let arguments = ["shell", "--history", path(&history)];
    let mut shell = self::shell(&cluster, &arguments, 40);
    shell.enter("SELECT name FROM people WHERE id = 2;", "(1 row)");
    shell.keys("\\q\r");
    assert!(shell.end().success());
    let remembered = std::fs::read_to_string(&history).unwrap();
    assert!(remembered.contains("WHERE id = 2;"), "{remembered}");
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    let mut shell = self::shell(&cluster, &arguments, 40);
    // Up, up: past the \q.
    shell.keys("\x1b[A\x1b[A");
    shell.until("WHERE id = 2;");
    shell.enter("", "(1 row)");
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_sends_nothing() {
    let cluster = cluster().await;
    let node = cluster.config().endpoints[0].uri().port_u16().unwrap();
    let proxy = Proxy::start(node).await;
    let address = format!("https://127.0.0.1:{}", proxy.port);
    let mut shell = shell(&cluster, &["shell", "--cluster", &address], 40);
    assert!(proxy.take() > (0, 0), "the names were fetched");
    shell.keys("SELECT na\t");
    shell.until("name");
    shell.keys(" FROM peo\t");
    shell.until("people");
    shell.keys(" WHERE id = 4711");
    shell.until("4711");
    assert_eq!(proxy.take(), (0, 0));
    shell.enter(";", "(0 rows)");
    let (up, down) = proxy.take();
    assert!(up > 0 && down > 0);
}

/// The files of the profile, without the cluster's own.
fn files(cluster: &Cluster) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.home()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
