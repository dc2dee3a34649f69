//! A cluster that exists only while some work runs.

use std::{path::PathBuf, pin::pin};

use opaque_client::{Client, ClientConfig};

use super::{
    Authorities, DevError, LOOK, Layout, Node, Signals, Supervisor, TICK, every_shard_serves,
    process,
};

/// Time limit for one call to a temporary cluster. It is long because other lookups may use every
/// core.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(300);

/// Starts a cluster of `shards` processes in `data`, runs `work` with a configuration that connects
/// to it, and stops it. No profile is read or written.
///
/// As for `opaque dev`, this must run on the thread that entered the runtime.
///
/// # Errors
/// The errors of `work`. A node that stops, or a signal, ends both.
pub async fn with_cluster<T, E: From<DevError>>(
    data: PathBuf,
    shards: u32,
    threads: u16,
    work: impl AsyncFnOnce(ClientConfig) -> Result<T, E>,
) -> Result<T, E> {
    let mut signals = Signals::new()?;
    let binary = process::node_binary()?;
    let layout = Layout::open(data, Some(shards), shards, 1, None)?;
    let authorities = Authorities::open(&layout.tls_dir())?;
    for node in layout.nodes() {
        authorities.issue(&layout.node_tls_dir(node), node.shard)?;
    }
    let endpoints = layout.nodes().iter().map(Node::url).collect::<Result<Vec<_>, _>>()?;
    let config = ClientConfig {
        ca_pem: Some(authorities.client_ca_pem().as_bytes().to_vec()),
        deadline: DEADLINE,
        ..ClientConfig::of(endpoints)
    };
    let mut supervisor = Supervisor::new(&layout, binary, Some(threads), false);
    let outcome = attend(&mut supervisor, &mut signals, async {
        let looking = ClientConfig { deadline: LOOK, ..config.clone() };
        every_shard_serves(&Client::connect(looking).map_err(DevError::Client)?).await;
        work(config).await
    });
    let outcome = outcome.await;
    supervisor.stop(signals.next()).await;
    outcome
}

/// Runs `work` while every node lives and no signal comes.
async fn attend<T, E: From<DevError>>(
    supervisor: &mut Supervisor<'_>,
    signals: &mut Signals,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    supervisor.start_all()?;
    let mut ticks = tokio::time::interval(TICK);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            () = signals.next() => return Err(DevError::Interrupted.into()),
            // Nodes are not restarted here, so the death of a node ends the work at any time.
            _ = ticks.tick() => supervisor.look(false)?,
            outcome = &mut work => return outcome,
        }
    }
}
