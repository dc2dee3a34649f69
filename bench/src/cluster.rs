//! `opaque-bench --over cluster`: lookups in a cluster of processes, over TLS, with many clients.

mod traffic;

use std::{
    io,
    time::{Duration, Instant},
};

use clap::{Args, value_parser};
use opaque_cli::{dev, text::duration};
use opaque_client::{Client, Rows, description::Table};
use rand::rngs::StdRng;
use serde::Serialize;

use crate::{bar::Bar, error::BenchError, host, plan::Plan, size::Size};
use traffic::{Observed, Traffic};

/// Number of clients and duration of the traffic.
#[derive(Debug, Args)]
pub(crate) struct Crowd {
    /// Number of clients of a cluster that query at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(1..=256))]
    clients: u16,
    /// How long the clients of a cluster query
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    time: Duration,
}

/// What clients measured for one table on one cluster.
#[derive(Serialize)]
pub(crate) struct Served {
    /// Bytes of the matrix.
    pub(crate) size_bytes: u64,
    /// R, C, and the rows and bytes of the table.
    pub(crate) rows: usize,
    pub(crate) buckets: u32,
    pub(crate) table_rows: u64,
    pub(crate) table_bytes: u64,
    pub(crate) shards: u32,
    pub(crate) threads: u16,
    pub(crate) keys: &'static str,
    /// Time from the first row sent until the epoch serves.
    pub(crate) load_s: f64,
    /// Time from the start of the processes, with the table in their store, until the cluster
    /// serves it. The store's files are in the page cache.
    pub(crate) cold_start_s: f64,
    /// Bytes of the matrix, in 10^6, that each core of the nodes prepared per second of that time.
    pub(crate) cold_start_mb_s_per_core: f64,
    pub(crate) machine: String,
    pub(crate) load_average: Option<f64>,
    #[serde(flatten)]
    pub(crate) observed: Observed,
}

/// Starts a cluster for every size and number of shards, one after another.
pub(crate) async fn run(
    plan: &Plan,
    crowd: &Crowd,
    rng: &mut StdRng,
    bar: &Bar,
) -> Result<Vec<Served>, BenchError> {
    plan.sizes.iter().try_for_each(|size| traffic::check(*size))?;
    let mut all = Vec::new();
    for &size in &plan.sizes {
        for &shards in &plan.shards {
            let dir = tempfile::tempdir()?;
            let data = dir.path().to_owned();
            let served = dev::with_cluster(data.clone(), shards, plan.threads, async |config| {
                let clients = (0..crowd.clients).map(|_| Client::connect(config.clone()));
                let clients = clients.collect::<Result<Vec<_>, _>>()?;
                one(plan, crowd.time, size, shards, clients, rng, bar).await
            });
            let mut served = Box::pin(served).await?;
            bar.wait("starting again");
            let begun = Instant::now();
            let started = dev::with_cluster(data, shards, plan.threads, async |_| {
                Ok::<_, BenchError>(begun.elapsed().as_secs_f64())
            });
            let seconds = Box::pin(started).await?;
            for one in &mut served {
                let cores = f64::from(shards) * f64::from(plan.threads);
                one.cold_start_s = seconds;
                one.cold_start_mb_s_per_core = one.size_bytes as f64 / 1e6 / seconds / cores;
            }
            all.extend(served);
        }
    }
    Ok(all)
}

/// Loads a table and queries its rows, with one batch size after another.
async fn one(
    plan: &Plan,
    time: Duration,
    size: Size,
    shards: u32,
    clients: Vec<Client>,
    rng: &mut StdRng,
    bar: &Bar,
) -> Result<Vec<Served>, BenchError> {
    let rows = tokio::task::block_in_place(|| {
        traffic::rows(size, |bytes| bar.bytes("rows", bytes.min(size.0), size.0))
    })?;
    let (table_rows, table_bytes) = (rows.len(), rows.bytes());
    let begun = Instant::now();
    let table = load(&clients, rows, bar).await?;
    let load_s = begun.elapsed().as_secs_f64();
    let index = table.indexes.first().ok_or_else(|| io::Error::other("the table has no index"))?;
    let clients: std::sync::Arc<[Client]> = clients.into();
    let mut all = Vec::new();
    for &batch in &plan.batches {
        bar.wait("asking");
        let traffic = Traffic { rows: table_rows, batch, time };
        let observed = traffic::drive(&clients, traffic, rng).await?;
        all.push(Served {
            size_bytes: index.geometry.matrix_bytes(),
            rows: index.geometry.bucket_bytes(),
            buckets: index.geometry.buckets(),
            table_rows,
            table_bytes,
            shards,
            threads: plan.threads,
            keys: "inline",
            load_s,
            cold_start_s: 0.0,
            cold_start_mb_s_per_core: 0.0,
            machine: host::machine(),
            load_average: host::load_average(),
            observed,
        });
    }
    Ok(all)
}

async fn load(clients: &[Client], rows: Rows, bar: &Bar) -> Result<Table, BenchError> {
    let client = clients.first().ok_or_else(|| io::Error::other("no client"))?;
    Ok(client.load(rows, bar.listener()).await?.table)
}
