//! Many clients at once on a real cluster.
//!
//! Flow: [`rows`] makes a table whose every row follows from its key. Once it is loaded, [`drive`]
//! has clients ask for random rows over connections of their own. Each client sends its next
//! question as soon as the last one is answered, and checks every answer. A lookup that fails or
//! answers wrongly ends the run.

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
/// Largest table: its matrix, in several processes and on disk, may take four times as much.
const MOST: Size = Size(1 << 30);
/// Bytes of a row's payload.
const PAYLOAD_BYTES: usize = 240;

/// Rows of about `size` bytes in all; `on_bytes` is told how many are made.
///
/// # Errors
/// A size that one machine is not asked to serve.
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

/// Whether a table of that size is made.
///
/// # Errors
/// [`BenchError::Table`].
pub(crate) fn check(size: Size) -> Result<(), BenchError> {
    if size > MOST { Err(BenchError::Table { size, most: MOST }) } else { Ok(()) }
}

fn schema() -> Result<Schema, SchemaError> {
    let column = |name: &str, column_type, role| Column {
        name: name.to_owned(),
        column_type,
        role,
        nullable: false,
    };
    let columns = vec![
        column("id", ColumnType::Int, Role::Key),
        column("payload", ColumnType::Text, Role::Payload),
    ];
    Schema::new(TABLE.to_owned(), columns)
}

/// What the row of that key holds.
fn payload(id: i64) -> String {
    let mut text = String::with_capacity(PAYLOAD_BYTES + 16);
    let mut state = id;
    while text.len() < PAYLOAD_BYTES {
        // Any odd factor: neighbours must differ, no more.
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // Writing to a string cannot fail.
        let _ = write!(text, "{state:016x}");
    }
    text.truncate(PAYLOAD_BYTES);
    text
}

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// Rows of the table, which are numbered from 0.
    pub(crate) rows: u64,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// How long they ask.
    pub(crate) time: Duration,
}

/// What the clients of a cluster saw. Times are of one request with its whole batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Observed {
    /// Clients at once.
    pub(crate) clients: usize,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// How long they asked, until the last answer.
    pub(crate) seconds: f64,
    /// Requests answered, all of them rightly.
    pub(crate) requests: usize,
    /// Lookups answered.
    pub(crate) lookups: usize,
    /// The middle request, from statement to answer.
    pub p50_ms: f64,
    /// The request that 1 % are slower than.
    pub p99_ms: f64,
    /// Lookups of all clients in a second.
    pub(crate) lookups_per_s: f64,
    /// The same for each processor of this machine, which clients and nodes share.
    pub(crate) lookups_per_s_per_core: f64,
    /// Requests of the client that got the fewest.
    pub(crate) fewest_requests: usize,
    /// Requests of the client that got the most.
    pub(crate) most_requests: usize,
    /// The slowest shard's scan, median.
    pub(crate) scan_ms: f64,
    /// The slowest shard's hint product, median.
    pub(crate) hint_ms: f64,
    /// The coordinator's whole work, waiting for shards included, median.
    pub(crate) server_ms: f64,
    /// Encryption and decryption, median.
    pub(crate) client_ms: f64,
    /// Bytes of a request's query.
    pub(crate) bytes_up: u64,
    /// Bytes of a request's answer.
    pub(crate) bytes_down: u64,
}

/// Has every client ask until the time is over.
///
/// # Errors
/// The first query that fails, or answers wrongly.
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
        // An error drops the set, and so stops the others.
        all.push(done.map_err(|_| opaque_client::Error::Worker)??);
    }
    Ok(summary(&all, traffic.batch))
}

/// One request as its client saw it.
struct Request {
    wall: Duration,
    timing: Timing,
}

/// What one client saw.
struct Asked {
    requests: Vec<Request>,
    /// From the first question to the last answer.
    elapsed: Duration,
}

/// One client's requests, after one that makes keys and connection and counts for nothing.
async fn ask(
    clients: Arc<[Client]>,
    number: usize,
    traffic: Traffic,
    ready: Arc<Barrier>,
    mut rng: StdRng,
) -> Result<Asked, BenchError> {
    let client = clients.get(number).ok_or(BenchError::Nothing)?;
    let first = request(client, traffic, &mut rng).await;
    // The others wait for everyone, those that fail included.
    ready.wait().await;
    first?;
    let begun = Instant::now();
    let mut requests = Vec::new();
    while begun.elapsed() < traffic.time {
        requests.push(request(client, traffic, &mut rng).await?);
    }
    Ok(Asked { requests, elapsed: begun.elapsed() })
}

/// Asks for random rows and checks the answer.
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
    // The last answers come after the time is over.
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
