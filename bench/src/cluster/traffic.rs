//! Traffic of many clients on a real cluster.
//!
//! **Flow.** [`rows`] generates a table in which every row is a function of its key. After the
//! table is loaded, [`drive`] makes each client query random rows over a separate connection. Each
//! client sends its next query as soon as the previous one is answered, and checks every answer. A
//! failed lookup or a wrong answer ends the run.

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use opaque_client::{Client, QueryOptions, Rows, Timing, load::RowsBuilder};
use opaque_pir::table::{Column, ColumnType, Role, Schema, SchemaError, Value};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    error::BenchError,
    host,
    samples::{Samples, millis},
    size::Size,
};

/// The table's name.
pub(crate) const TABLE: &str = "bench";
/// Largest table. Its matrix, in several processes and on disk, may take four times as much.
const MOST: Size = Size(1 << 30);
/// Bytes of a row's payload.
const PAYLOAD_BYTES: usize = 240;

/// Generates rows of about `size` bytes in total. `on_bytes` receives the number of bytes generated
/// so far.
///
/// # Errors
/// The size is too large to serve from one machine.
pub(crate) fn rows(size: Size, mut on_bytes: impl FnMut(u64)) -> Result<Rows, BenchError> {
    check(size)?;
    let mut rows = RowsBuilder::new(schema()?);
    let (mut bytes, mut id) = (0, 0);
    while bytes < size.0 {
        bytes += rows.push(&[Value::Int(id), Value::Text(payload(id))])? as u64;
        id += 1;
        on_bytes(bytes);
    }
    Ok(rows.finish())
}

/// Checks that a table of this size can be generated.
///
/// # Errors
/// [`BenchError::Table`].
pub(crate) fn check(size: Size) -> Result<(), BenchError> {
    if size > MOST { Err(BenchError::Table { size, most: MOST }) } else { Ok(()) }
}

fn schema() -> Result<Schema, SchemaError> {
    let columns = vec![
        Column::new("id", ColumnType::Int, Role::Key, false),
        Column::new("payload", ColumnType::Text, Role::Payload, false),
    ];
    Schema::new(TABLE.to_owned(), columns)
}

/// The payload of the row with this key.
fn payload(id: i64) -> String {
    let mut text = String::with_capacity(PAYLOAD_BYTES + 16);
    let mut state = id;
    while text.len() < PAYLOAD_BYTES {
        // Any odd factor works: the only requirement is that neighbours differ.
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // Writing to a string cannot fail.
        let _ = write!(text, "{state:016x}");
    }
    text.truncate(PAYLOAD_BYTES);
    text
}

/// Parameters of the traffic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// Number of rows of the table, which are numbered from 0.
    pub(crate) rows: u64,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// How long the clients query.
    pub(crate) time: Duration,
}

/// What the clients of a cluster measured. Times are for one request with its whole batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Observed {
    /// Number of concurrent clients.
    pub(crate) clients: usize,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// Duration of the traffic, until the last answer.
    pub(crate) seconds: f64,
    /// Number of requests, all answered correctly.
    pub(crate) requests: usize,
    /// Number of lookups.
    pub(crate) lookups: usize,
    /// Median time from statement to answer.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the time from statement to answer.
    pub(crate) p99_ms: f64,
    /// Lookups of all clients per second.
    pub(crate) lookups_per_s: f64,
    /// The same for each core of this machine, which clients and nodes share.
    pub(crate) lookups_per_s_per_core: f64,
    /// Requests of the client that got the fewest.
    pub(crate) fewest_requests: usize,
    /// Requests of the client that got the most.
    pub(crate) most_requests: usize,
    /// Median of the slowest shard's scan.
    pub(crate) scan_ms: f64,
    /// Median of the slowest shard's hint product.
    pub(crate) hint_ms: f64,
    /// Median of the coordinator's total time, including the wait for shards.
    pub(crate) server_ms: f64,
    /// Median of encryption and decryption.
    pub(crate) client_ms: f64,
    /// Bytes of a request's query.
    pub(crate) bytes_up: u64,
    /// Bytes of a request's answer.
    pub(crate) bytes_down: u64,
}

/// Makes every client query until the time is over.
///
/// # Errors
/// The first query that fails or returns a wrong answer.
pub(crate) async fn drive(
    clients: &Arc<[Client]>,
    traffic: Traffic,
    rng: &mut StdRng,
) -> Result<Observed, BenchError> {
    let count = clients.len();
    let ready = Arc::new(Barrier::new(count));
    let mut asking = JoinSet::new();
    for number in 0..count {
        let (clients, ready) = (Arc::clone(clients), Arc::clone(&ready));
        asking.spawn(ask(clients, number, traffic, ready, StdRng::from_rng(rng)));
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = asking.join_next().await {
        // An error drops the set and so stops the other clients.
        all.push(done.map_err(|_| opaque_client::Error::Worker)??);
    }
    Ok(summary(&all, traffic.batch))
}

/// One request, as measured by its client.
struct Request {
    wall: Duration,
    timing: Timing,
}

/// The measurements of one client.
struct Asked {
    requests: Vec<Request>,
    /// Time from the first query to the last answer.
    elapsed: Duration,
}

/// Sends one client's requests. A first request, which sets up keys and connection, is not counted.
async fn ask(
    clients: Arc<[Client]>,
    number: usize,
    traffic: Traffic,
    ready: Arc<Barrier>,
    mut rng: StdRng,
) -> Result<Asked, BenchError> {
    let client = clients.get(number).ok_or(BenchError::Nothing)?;
    let first = request(client, traffic, &mut rng).await;
    // All clients wait for each other here, including those that failed.
    ready.wait().await;
    first?;
    let begun = Instant::now();
    let mut requests = Vec::new();
    while begun.elapsed() < traffic.time {
        requests.push(request(client, traffic, &mut rng).await?);
    }
    Ok(Asked { requests, elapsed: begun.elapsed() })
}

/// Queries random rows and checks the answer.
async fn request(
    client: &Client,
    traffic: Traffic,
    rng: &mut StdRng,
) -> Result<Request, BenchError> {
    let most = usize::try_from(traffic.rows).unwrap_or(usize::MAX);
    let mut ids = BTreeSet::new();
    while ids.len() < traffic.batch.min(most) {
        ids.insert(i64::try_from(rng.next_u64() % traffic.rows).unwrap_or(0));
    }
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    let sql = format!("SELECT id, payload FROM {TABLE} WHERE id IN ({})", list.join(", "));
    let begun = Instant::now();
    let (answer, timing) = client.query(&sql, &QueryOptions::default()).await?;
    let wall = begun.elapsed();
    for id in &ids {
        let expected = [Value::Int(*id), Value::Text(payload(*id))];
        let found = answer.rows.iter().filter(|row| row.first() == expected.first());
        if !found.eq([&expected]) {
            return Err(BenchError::WrongRow { id: *id });
        }
    }
    Ok(Request { wall, timing })
}

fn summary(clients: &[Asked], batch: usize) -> Observed {
    let all = || clients.iter().flat_map(|client| &client.requests);
    let times = |value: &dyn Fn(&Request) -> Duration| {
        Samples::new(all().map(|request| millis(value(request))).collect())
    };
    let wall = times(&|request| request.wall);
    let counts = || clients.iter().map(|client| client.requests.len());
    // The last answers arrive after the time is over.
    let elapsed = clients.iter().map(|client| client.elapsed).max().unwrap_or_default();
    let seconds = elapsed.as_secs_f64();
    let requests: usize = counts().sum();
    let rate = if seconds > 0.0 { (requests * batch) as f64 / seconds } else { 0.0 };
    let first = all().next().map(|request| request.timing).unwrap_or_default();
    Observed {
        clients: clients.len(),
        batch,
        seconds,
        requests,
        lookups: requests * batch,
        p50_ms: wall.median(),
        p99_ms: wall.quantile(0.99),
        lookups_per_s: rate,
        lookups_per_s_per_core: rate / host::processors() as f64,
        fewest_requests: counts().min().unwrap_or(0),
        most_requests: counts().max().unwrap_or(0),
        scan_ms: times(&|request| request.timing.scan).median(),
        hint_ms: times(&|request| request.timing.hint).median(),
        server_ms: times(&|request| request.timing.server).median(),
        client_ms: times(&|request| request.timing.encrypt + request.timing.decrypt).median(),
        bytes_up: first.bytes_up,
        bytes_down: first.bytes_down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_from_their_keys() {
        let made = rows(Size(64 << 10), |_| {}).unwrap();
        assert!(made.bytes() >= 64 << 10 && made.bytes() < 66 << 10);
        assert_eq!(payload(7).len(), PAYLOAD_BYTES);
        assert_ne!(payload(7), payload(8));
    }

    #[test]
    fn summaries_tell_how_clients_were_served() {
        let request = |millis| Request {
            wall: Duration::from_millis(millis),
            timing: Timing { bytes_up: 9, ..Timing::default() },
        };
        let asked = |requests, seconds| Asked { requests, elapsed: Duration::from_secs(seconds) };
        let clients = [asked(vec![request(10), request(20)], 3), asked(vec![request(30)], 2)];
        let load = summary(&clients, 2);
        assert_eq!((load.clients, load.requests, load.lookups), (2, 3, 6));
        assert_eq!((load.fewest_requests, load.most_requests), (1, 2));
        assert!((load.p50_ms - 20.0).abs() < 1e-9 && (load.p99_ms - 30.0).abs() < 1e-9);
        assert!((load.lookups_per_s - 2.0).abs() < 1e-9);
        assert_eq!(load.bytes_up, 9);
        let none = summary(&[], 2);
        assert_eq!((none.requests, none.lookups_per_s), (0, 0.0));
    }
}
