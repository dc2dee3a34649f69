//! When the connection of a single statement closes.

use std::{
    sync::{Arc, LazyLock, mpsc},
    time::Duration,
};

use opaque_client::{Client, Error, QueryOptions, sql::ResultSet};
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
