//! When the connection of a single statement closes.

use std::{
    sync::{Arc, LazyLock, mpsc},
    time::Duration,
};

use opaque_client::{
    Client, Error, QueryOptions,
    sql::{Parameters, ResultSet},
};
use opaque_pir::{
    seed::Salt,
    table::{Column, ColumnType, Role, Schema, Value},
};
use tokio::runtime::Builder;

use super::{
    fake::{Authority, Node, Reply},
    honest::Honest,
    scan::client_config,
    url,
    watched::Event,
};

/// A table of ids, moods and notes.
pub(crate) fn schema() -> Schema {
    let column = |name: &str, column_type, role| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable: role != Role::Key,
    };
    let columns = vec![
        column("id", ColumnType::Int, Role::Key),
        column("mood", ColumnType::Text, Role::Index),
        column("note", ColumnType::Text, Role::Payload),
        column("pin", ColumnType::Int, Role::Payload),
    ];
    Schema::new("t".to_owned(), columns).unwrap()
}

/// 60 rows: ids count up from `first`, and a mood has 20 rows.
pub(crate) fn rows(first: i64) -> Vec<Vec<Value>> {
    let text = |text: String| Value::Text(text);
    let row = |id: i64| {
        let (mood, note) = (format!("mood{}", id % 3), format!("note{:03}", id % 7));
        vec![Value::Int(id), text(mood), text(note), Value::Int(id % 5)]
    };
    (first..first + 60).map(row).collect()
}

/// The answers for the table of [`rows`] from 0 on.
pub(crate) static HONEST: LazyLock<Arc<Honest>> =
    LazyLock::new(|| Arc::new(Honest::new(&schema(), &rows(0), Salt([1; 32]))));

/// A node that answers every lookup and scan with `at_last`, and its client.
pub(crate) async fn client(at_last: Reply) -> (Client, Arc<Node>) {
    let node = Node { honest: Some(Arc::clone(&HONEST)), ..Node::default() };
    *node.tables.lock().unwrap() = [HONEST.description.clone()].into();
    *node.at_last.lock().unwrap() = Some(at_last);
    client_of(node).await
}

pub(crate) async fn client_of(node: Node) -> (Client, Arc<Node>) {
    let (authority, node) = (Authority::new(), Arc::new(node));
    let config = client_config(vec![url(authority.serve(&node).await)], &authority);
    (Client::connect(config).unwrap(), node)
}

/// Runs a test in which a single thread does all CPU-bound work, so that decryption waits for any
/// other work of that thread.
fn with_one_worker<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(test)
}

/// The connection closes once the answer has arrived and before it can be decrypted, whatever it
/// contains.
#[test]
fn the_connection_closes_before_the_answer_is_opened() {
    for (sql, reply, rows) in [
        ("SELECT note FROM t WHERE id = 7", Reply::Honest, Some(1)),
        ("SELECT note FROM t WHERE id = 700", Reply::Honest, Some(0)),
        ("SELECT note FROM t WHERE id = 7", Reply::Spoiled, None),
    ] {
        let answered: Result<ResultSet, Error> = with_one_worker(async {
            let (client, node) = client(reply).await;
            let (free, taken) = mpsc::channel::<()>();
            *node.before_answering.lock().unwrap() = Some(taken);
            let options = QueryOptions::default();
            let asking = tokio::spawn(async move { client.query_and_close(sql, &options).await });
            let events = node.closed().await;
            assert!(matches!(events[..], [Event::Began(_), .., Event::Closed]), "{events:?}");
            assert!(!asking.is_finished(), "it was opened before");
            drop(free);
            asking.await.unwrap().map(|(answer, _)| answer)
        });
        match rows {
            Some(rows) => assert_eq!(answered.unwrap().rows.len(), rows, "{sql}"),
            None => assert!(answered.unwrap_err().to_string().contains("failed its check")),
        }
    }
}

/// Every request of every statement comes before the close, and nothing is decrypted before it: a
/// corrupted answer and a refused statement change neither.
#[tokio::test]
async fn several_statements_are_sent_before_an_answer_is_opened() {
    let statements = [
        "SELECT note FROM t WHERE id = 7",
        "SELECT lost FROM t WHERE mood = 'mood1' LIMIT 20",
        "SELECT note FROM t WHERE pin = 3",
        "SELECT note FROM t WHERE id = :id",
    ];
    let all = [("id".to_owned(), "8".to_owned())].into_iter().collect::<Parameters>();
    let parameters =
        |sql: &str| if sql.contains(":id") { all.clone() } else { Parameters::default() };
    let statements = statements.map(|sql| (sql, parameters(sql)));
    let mut seen = Vec::new();
    for reply in [Reply::Honest, Reply::Spoiled] {
        let (client, node) = client(reply.clone()).await;
        let gathered = client.gather_and_close(&statements, &QueryOptions::default()).await;
        let events = node.closed().await;
        let lookups = events
            .iter()
            .filter(|event| matches!(event, Event::Request(what) if what.starts_with("Lookup")));
        assert_eq!(lookups.count(), 3, "{events:?}");
        assert_eq!(events.last(), Some(&Event::Closed));
        let mut rows = Vec::new();
        for answer in gathered {
            rows.push(match answer {
                Ok(answer) => answer.open().await.ok().map(|(answer, _)| answer.rows.len()),
                Err(_) => None,
            });
        }
        let honest = matches!(reply, Reply::Honest);
        assert_eq!(rows, if honest { [Some(1), None, None, Some(1)] } else { [None; 4] });
        seen.push(events);
    }
    assert_eq!(seen[0], seen[1]);
}

/// The time of SQLite's computation is shown as such.
#[tokio::test]
async fn computing_is_not_shown_as_set_up() {
    let (client, _node) = client(Reply::Honest).await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
               SELECT COUNT(*) FROM n";
    let (_, timing) = client.query(sql, &QueryOptions::default()).await.unwrap();
    assert!(timing.compute > timing.setup, "{timing:?}");
    let parts = timing.setup + timing.encrypt + timing.server + timing.network;
    assert_eq!(timing.total, parts + timing.decrypt + timing.compute);
}

/// A client that keeps its connection sends nothing of a statement after an answer has been
/// decrypted.
#[tokio::test]
async fn a_kept_connection_brings_nothing_after_the_answer() {
    let (client, node) = client(Reply::Honest).await;
    for sql in ["SELECT * FROM t WHERE id = 7", "SELECT * FROM t WHERE mood IN ('mood1', 'x')"] {
        client.query(sql, &QueryOptions::default()).await.unwrap();
        let after = node.events();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(node.events(), after);
        assert!(matches!(after.last(), Some(Event::Request(what)) if what.starts_with("Lookup")));
    }
}

/// A node that stops reading cannot keep the connection open.
#[tokio::test]
async fn a_node_that_hangs_cannot_put_off_the_close() {
    let (client, node) = client(Reply::Hang).await;
    let options = QueryOptions::default();
    let answer = client.query_and_close("SELECT * FROM t WHERE id = 7", &options).await;
    assert!(answer.unwrap_err().to_string().contains("no answer within"));
    node.closed().await;
}
