//! Message sizes: one per table, column and number of lookups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opaque_client::{Client, ClientConfig, KeyMode, Timing};
use opaque_pir::geometry::Rounding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::harness::{Cluster, query};

/// Forwards to one node and counts bytes.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    /// Connections that the client has closed.
    closed: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn start(node: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let closed = Arc::new(AtomicU64::new(0));
        let counters = (Arc::clone(&up), Arc::clone(&down), Arc::clone(&closed));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let node = TcpStream::connect(("127.0.0.1", node)).await.unwrap();
                let ((from_client, to_client), (from_node, to_node)) =
                    (client.into_split(), node.into_split());
                let (up, closed) = (Arc::clone(&counters.0), Arc::clone(&counters.2));
                tokio::spawn(async move {
                    forward(from_client, to_node, up).await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
                tokio::spawn(forward(from_node, to_client, Arc::clone(&counters.1)));
            }
        });
        Self { port, up, down, closed }
    }

    pub(crate) fn closed(&self) -> u64 {
        self.closed.load(Ordering::SeqCst)
    }

    /// Bytes sent and received since the last call.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.up.swap(0, Ordering::SeqCst), self.down.swap(0, Ordering::SeqCst))
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicU64>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// TLS handshakes (a signature's DER) and HTTP/2 (window updates, Huffman-coded dates) differ by a
/// few bytes between connections. One lookup more or less is tens of kilobytes.
const NOISE: u64 = 512;

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_have_one_size() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    cluster.load(MOODS, &moods_csv());
    // Keys are registered once. Public parts are downloaded by every client, whatever it queries.
    for sql in [
        "SELECT * FROM weather WHERE city = 'Cairo'",
        "SELECT * FROM weather WHERE conditions = 'Rain'",
        "SELECT * FROM moods WHERE id = 1",
        // A page may have two rows, which depends on the nodes' salt.
        "SELECT COUNT(*) FROM moods WHERE mood = 'few'",
    ] {
        query(&cluster.client(), sql).await.unwrap();
    }
    let node = cluster.config().endpoints[0].uri().port_u16().unwrap();
    let proxy = Proxy::start(node).await;
    let endpoints =
        opaque_client::profile::parse_endpoints(&[format!("https://127.0.0.1:{}", proxy.port)])
            .unwrap();
    let config = ClientConfig { endpoints, ..cluster.config() };
    let mut first = Vec::new();
    let moods = cluster.client().describe("moods").await.unwrap();
    let by_mood = moods.indexes.iter().find(|index| index.column == 1).unwrap();
    for Family { lookups, requests, statements } in families(by_mood.geometry.page_rows()) {
        let (mut seen, mut parts) = (Vec::new(), 0);
        for sql in &statements {
            let (timing, wire) = measure(&proxy, &config, sql).await;
            assert_eq!((timing.lookups, timing.requests), (lookups, requests), "{sql}");
            parts = timing.keys_bytes;
            seen.push((timing.bytes_up, timing.bytes_down, wire, sql));
        }
        let (up, down, (wire_up, wire_down), _) = seen[0];
        for (other_up, other_down, (other_wire_up, other_wire_down), sql) in &seen {
            assert_eq!((up, down), (*other_up, *other_down), "{sql}");
            assert!(wire_up.abs_diff(*other_wire_up) < NOISE * requests, "{seen:?}");
            assert!(wire_down.abs_diff(*other_wire_down) < NOISE * requests, "{seen:?}");
        }
        // The count equals the client's own figures, plus framing and the description.
        let brought = down + parts;
        assert!(wire_up > up && wire_up < up + up / 50 + 16_384, "{wire_up} for {up}");
        assert!(
            wire_down > brought && wire_down < brought + brought / 50 + 16_384,
            "{wire_down} for {brought}"
        );
        first.push((up, down));
    }
    // The test can distinguish three lookups from one.
    assert!(first[2].0 > 2 * first[0].0 && first[2].1 > 2 * first[0].1, "{first:?}");
}

/// A KEY of numbers, and a mood that 150 rows, 3 rows or one row have. A page of 128 rows would be
/// larger than any bucket.
const MOODS: &str = "CREATE TABLE moods (id INT KEY, mood TEXT INDEX, note TEXT)";

fn moods_csv() -> String {
    let mood = |id| match id {
        0..150 => "many".to_owned(),
        150..153 => "few".to_owned(),
        _ => format!("only {id}"),
    };
    let row = |id: u32| format!("{id},{},{}\n", mood(id), "a note ".repeat(25));
    std::iter::once("id,mood,note\n".to_owned()).chain((0..400).map(row)).collect()
}

/// Statements that must be indistinguishable by size.
struct Family {
    lookups: u64,
    requests: u64,
    statements: Vec<String>,
}

impl Family {
    fn new(lookups: u64, requests: u64, statements: &[&str]) -> Self {
        let statements = statements.iter().map(|sql| (*sql).to_owned()).collect();
        Self { lookups, requests, statements }
    }
}

/// `page_rows`: rows of a page of the moods.
fn families(page_rows: u32) -> Vec<Family> {
    let limited = |mood: &str, limit: u32, offset: u32| {
        format!("SELECT * FROM moods WHERE mood = '{mood}' LIMIT {limit} OFFSET {offset}")
    };
    let in_list = |literal: &dyn Fn(u32) -> String| {
        let literals: Vec<String> = (0..20).map(literal).collect();
        format!("SELECT * FROM moods WHERE id IN ({})", literals.join(", "))
    };
    vec![
        // Present, absent, empty, long: one page of a KEY.
        Family::new(
            1,
            1,
            &[
                "SELECT * FROM weather WHERE city = 'Santiago'",
                "SELECT * FROM weather WHERE city = 'Atlantis'",
                "SELECT * FROM weather WHERE city = ''",
                &format!("SELECT * FROM weather WHERE city = '{}'", "x".repeat(5000)),
                "SELECT temperature FROM weather WHERE city = 'Cairo' AND temperature > 99",
                "SELECT COUNT(*) FROM weather WHERE city = 'Cairo'",
            ],
        ),
        // One page of an INDEX with two, one and no rows.
        Family::new(
            1,
            1,
            &[
                "SELECT * FROM weather WHERE conditions = 'Sunny'",
                "SELECT * FROM weather WHERE conditions = 'Rain'",
                "SELECT * FROM weather WHERE conditions = 'Lava'",
                "SELECT * FROM weather WHERE conditions IS NULL",
                "SELECT COUNT(*) FROM weather WHERE conditions <> 'Sunny'",
            ],
        ),
        // Three lookups, also if values repeat.
        Family::new(
            3,
            1,
            &[
                "SELECT * FROM weather WHERE city IN ('Tokyo', 'Cairo', 'London')",
                "SELECT * FROM weather WHERE city IN ('a', 'b', 'c')",
                "SELECT * FROM weather WHERE city IN ('Cairo', 'Cairo', 'Cairo')",
                "SELECT * FROM weather WHERE city = 'Cairo' OR city = 'x' OR city = 'y'",
            ],
        ),
        // One page of a KEY: present, absent, and decoys, which can equal no value.
        Family::new(
            1,
            1,
            &[
                "SELECT * FROM moods WHERE id = 7",
                "SELECT * FROM moods WHERE id = -7",
                "SELECT * FROM moods WHERE id = NULL",
                "SELECT * FROM moods WHERE id = 2.5",
            ],
        ),
        // LIMIT over three pages. The values have three or more pages, one, one and none.
        Family::new(
            3,
            1,
            &[
                &limited("many", 2 * page_rows + 1, 0),
                &limited("few", 2 * page_rows + 1, 0),
                &limited("only 399", 2 * page_rows + 1, 0),
                &limited("none", 2 * page_rows + 1, 0),
                &limited("many", 1, 2 * page_rows),
                &limited("few", 1, 2 * page_rows),
            ],
        ),
        // Two requests: all present, none present, all the same, decoys.
        Family::new(
            20,
            2,
            &[
                &in_list(&|i| i.to_string()),
                &in_list(&|i| (1000 + i).to_string()),
                &in_list(&|_| "3".to_owned()),
                &in_list(&|i| if i % 2 == 0 { "NULL" } else { "0.5" }.to_owned()),
            ],
        ),
    ]
}

/// One query over a new connection.
async fn measure(proxy: &Proxy, config: &ClientConfig, sql: &str) -> (Timing, (u64, u64)) {
    proxy.take();
    let client = Client::connect(config.clone()).unwrap();
    let (_, timing) = query(&client, sql).await.unwrap();
    // A public part of each ring of each plane.
    assert_eq!(timing.keys_bytes > 0, config.keys == KeyMode::Inline);
    assert_eq!(timing.keys_bytes % 4608, 0);
    (timing, proxy.take())
}

/// The costs of a one-lookup query according to the geometry: docs/ENGINE.md §13.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_lookup_in_cities_are_those_of_the_geometry() {
    const HEADERS: u64 = 128;
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("cities", "cities.csv.zst");
    let client = cluster.client();
    let table = client.describe("cities").await.unwrap();
    let (_, first) = query(&client, "SELECT * FROM cities WHERE id = 3413829").await.unwrap();
    // Public parts, or evaluation keys.
    assert!(first.keys_bytes > 0 && first.keys_bytes <= 500_000, "{first:?}");
    for (column, sql) in [
        ("id", "SELECT name FROM cities WHERE id = 3871336"),
        ("name", "SELECT country FROM cities WHERE name = 'Santiago' LIMIT 1"),
        ("country", "SELECT COUNT(*) FROM cities WHERE country = 'CL'"),
    ] {
        let (position, _) = table.schema.column(column).unwrap();
        let geometry = table.index(position).unwrap().geometry;
        // The first query of a column fetches its public parts.
        query(&client, sql).await.unwrap();
        let (_, timing) = query(&client, sql).await.unwrap();
        assert_eq!((timing.keys_bytes, timing.lookups), (0, 1), "{sql}");
        let (rows, planes) = (geometry.bucket_bytes() as u64, geometry.planes() as u64);
        let Rounding { bucket_bits, row_bits } = geometry.rounding();
        let (secret, down) = match cluster.config().keys {
            KeyMode::Inline => (36_864, rows * u64::from(row_bits) / 8),
            KeyMode::Registered => (35_904, rows * 20 / 8 + planes * 35_840),
        };
        let up = u64::from(geometry.buckets() * bucket_bits / 8) + secret;
        assert!((up..up + HEADERS).contains(&timing.bytes_up), "{sql}: {timing:?}, {up}");
        assert!((down..down + HEADERS).contains(&timing.bytes_down), "{sql}: {timing:?}, {down}");
    }
    let said = cluster.cli(&["query", "--timing", "SELECT name FROM cities WHERE id = 3413829"]);
    let said = super::harness::text(&said.stderr);
    for line in ["up ", "down ", "keys ", "scan ", "hint ", "network ", "decrypt "] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
