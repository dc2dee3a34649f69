//! When the connection of `opaque query` closes if the process writes to a pager.

use std::io::Read;
use std::process::Stdio;

use super::harness::{Cluster, wait_until};
use super::wire::Proxy;

/// A pager that does not read delays the answer but not the close, with rows and without.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_closes_while_a_pager_waits() {
    let cluster = Cluster::start(&[]).await;
    let row = |id: u32| format!("{id},many,{}\n", "a note ".repeat(60));
    let csv: String =
        std::iter::once("id,mood,note\n".to_owned()).chain((0..400).map(row)).collect();
    cluster.load("CREATE TABLE notes (id INT KEY, mood TEXT INDEX, note TEXT)", &csv);
    for (mood, rows) in [("many", 400), ("none", 0)] {
        let node = cluster.config().endpoints[0].uri().port_u16().unwrap();
        let proxy = Proxy::start(node).await;
        let sql = format!("SELECT * FROM notes WHERE mood = '{mood}' LIMIT 400");
        let address = format!("https://127.0.0.1:{}", proxy.port);
        let mut query = cluster.command();
        query.args(["query", "--cluster", &address, "--format", "csv", &sql]);
        query.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut asking = query.spawn().unwrap();
        wait_until("the connection closes", || proxy.closed() == 1).await;
        if rows > 0 {
            // The output is larger than a pipe's buffer.
            assert_eq!(asking.try_wait().unwrap(), None, "it is still writing");
        }
        let mut answer = String::new();
        asking.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert!(asking.wait().unwrap().success());
        assert_eq!(answer.lines().count(), 1 + rows);
    }
}
