//! Assembles a node, runs both listeners, and shuts it down.

mod state;

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opaque_ops::admin::{Admin, Readiness};
use opaque_ops::drain::{self, LEAVE};
use opaque_proto::v1::query_server::QueryServer;
use opaque_proto::v1::shard_server::ShardServer;
use opaque_seal::Bfv;
use opaque_store::{Credentials, Store, Writer};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tonic::transport::Server;
use tonic_health::ServingStatus;

use self::state::StateMetrics;
use crate::config::{Backend, Config};
use crate::coordination::{Coordination, FileCoordination, Losses, MapMetrics};
use crate::lifecycle::{DRAINING, Lifecycle, Outlook, ProbeMetrics, TurnedAway};
use crate::map::call::ShardCaller;
use crate::metrics::{Counted, Metrics};
use crate::query::access::{Access, Gauges, Guard};
use crate::query::cluster::{Cluster, DECISION};
use crate::query::coordinator::Coordinator;
use crate::query::peers::Peers;
use crate::query::service::QueryService;
use crate::shard::keys::KeyCache;
use crate::shard::loader::Loader;
use crate::shard::local::LocalShard;
use crate::shard::memory::{Limit, Memory, Shares};
use crate::shard::pool::CpuPool;
use crate::shard::registry::Registry;
use crate::shard::replica::ReplicaState;
use crate::shard::service::ShardService;
use crate::stream::answers::Paced;
use crate::tls::{self, Gate, Limits, Material, Settings, Tls, accept, client_at};

/// Age from which a peer's connection accepts no more calls.
const PEER_AGE: Duration = Duration::from_secs(5 * 60);
/// Age from which a client's connection accepts no more calls.
const CLIENT_AGE: Duration = Duration::from_secs(30 * 60);
/// How long calls in progress may continue after that: longer than the longest load.
const AGE_GRACE: Duration = Duration::from_secs(30 * 60);
/// Concurrent loads.
const LOADS: usize = 2;
/// Jobs that may wait for a CPU.
const WAITING_JOBS: usize = 1024;
/// Interval of pings on a silent connection, and the longest wait for their answer.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Calls in progress on one connection.
const MAX_STREAMS: u32 = 128;
/// Largest message of a request. Messages of clients and peers have at most half a MiB of bytes. A
/// batch of the shortest rows has three quarters of a MiB.
const MESSAGE_BYTES: usize = 1 << 20;
/// Largest message of a health check, which contains only a service name.
const HEALTH_BYTES: usize = 4 << 10;
/// Additional time for a response, on top of the deadlines of its parts.
const RESPONSE_GRACE: Duration = Duration::from_secs(30);
/// Memory for a client's evaluation keys.
const KEYS_BYTES: u64 = 1 << 20;
/// How long evaluation keys stay in memory.
const KEYS_TTL: Duration = Duration::from_secs(24 * 3600);
/// Interval at which expired keys are dropped.
const EXPIRY: Duration = Duration::from_secs(3600);
/// Largest number of connections from peers.
const PEER_CONNECTIONS: usize = 1024;

/// Runs a node until `shutdown` resolves, then drains it: health changes to not serving, no new
/// connection is accepted, and requests in progress end.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let tls = Tls::open(Settings {
        dir: config.tls_dir.clone(),
        shard: config.shard,
        revocation: config.revocation,
        client_auth: config.client_auth,
    })?;
    let access = Access::open(&config, &tls)?;
    let bfv = Bfv::new().context("SEAL refuses the parameter set")?;
    let pool = CpuPool::new(config.threads(), WAITING_JOBS)?;
    let builders = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads())
        .thread_name(|i| format!("opaque-build-{i}"))
        .build()?;
    let mut incarnation = [0u8; 8];
    SysRng.try_fill_bytes(&mut incarnation)?;
    let incarnation = format!("{:016x}", u64::from_le_bytes(incarnation));
    let writer = Writer { node: config.name.clone(), incarnation };
    let credentials =
        Credentials::new(opaque_store::Settings::from_env(), config.store_credentials.clone());
    let store = Store::open_with(&config.store, credentials)?;
    let coordination = open_coordination(&config).await?;

    let limit = Limit::detect(config.memory_limit);
    let keys = config.keys_in_memory.saturating_mul(KEYS_BYTES);
    let shares = Shares::of(limit, config.request_memory, keys);
    tracing::info!(?limit, ?shares, "memory");
    let memory = Memory::new(limit, &shares);
    let keys = usize::try_from(shares.keys / KEYS_BYTES).unwrap_or(usize::MAX);

    let registry = Arc::new(Registry::new(
        KeyCache::new(NonZeroUsize::new(keys).unwrap_or(NonZeroUsize::MIN), KEYS_TTL),
        store.clone(),
        Arc::clone(&bfv),
        pool.clone(),
    ));
    let requests = usize::try_from(shares.requests).unwrap_or(usize::MAX);
    let local =
        LocalShard::new(Arc::clone(&registry), bfv, pool.clone(), config.kernels(), requests);
    let local = Arc::new(local.admitted_by(Arc::clone(&memory)));
    let state = Arc::new(ReplicaState::new(
        config.name.clone(),
        config.shard,
        config.client_address(),
        config.peer_address(),
    ));
    let peers = Arc::new(Peers::new(config.name.clone(), Arc::clone(&local), Arc::clone(&tls)));
    let metrics = Metrics::default();
    let coordinator = Arc::new(Coordinator::new(
        Arc::new(Counted::new(Arc::clone(&peers) as Arc<dyn ShardCaller>, metrics.clone())),
        pool.clone(),
        config.query_deadline(),
    ));
    let cluster = Arc::new(Cluster::new(
        Arc::clone(&coordination),
        Arc::clone(&local),
        config.name.clone(),
        config.shard,
    ));

    let (mut health, health_service) = tonic_health::server::health_reporter();
    let health_service = health_service.max_decoding_message_size(HEALTH_BYTES);
    health.set_service_status("", ServingStatus::NotServing).await;
    let greeter = Arc::clone(&peers);
    let query = QueryServer::new(QueryService {
        config: config.clone(),
        cluster,
        coordinator: Arc::clone(&coordinator),
        registry: Arc::clone(&registry),
        local: Arc::clone(&local),
        peers,
        store: store.clone(),
        builders: Arc::new(builders),
        writer,
        loads: Arc::new(Semaphore::new(LOADS)),
        metrics: metrics.clone(),
    })
    .max_decoding_message_size(MESSAGE_BYTES);
    let shard = ShardServer::new(ShardService {
        local: Arc::clone(&local),
        registry: Arc::clone(&registry),
        state: Arc::clone(&state),
        tls: Arc::clone(&tls),
        deadline: config.query_deadline(),
    })
    .max_decoding_message_size(MESSAGE_BYTES);

    let client_listener = listen(config.client_listen)?;
    let peer_listener = listen(config.peer_listen)?;
    tracing::info!(
        node = config.name,
        shard = config.shard,
        clients = %config.client_listen,
        peers = %config.peer_listen,
        kernel = config.kernels().name(),
        threads = config.threads(),
        "listening"
    );
    let expiring = registry;
    let (stop, stopped) = watch::channel(false);
    let (retire, retiring) = watch::channel(false);
    let readiness = Readiness::not_yet("starting");
    // Separate from `readiness`: the node's lifecycle continues whether or not clients are
    // admitted.
    let admission = Readiness::not_yet("starting");
    access.tell(&admission, &state);
    let (turned_away, probes) = (TurnedAway::default(), ProbeMetrics::default());
    let admin = match config.admin_listen {
        Some(address) => {
            let readiness = readiness.and(&admission);
            let mut registry = metrics.registry();
            registry.register_collector(Box::new(StateMetrics {
                state: Arc::clone(&state),
                local: Arc::clone(&local),
                readiness: readiness.clone(),
            }));
            registry.register_collector(Box::new(tls::Lives(Arc::clone(&tls))));
            registry.register_collector(Box::new(Losses(coordination.watch())));
            registry.register_collector(Box::new(Gauges(Arc::clone(&access))));
            registry.register_collector(Box::new(Outlook {
                state: Arc::clone(&state),
                turned_away: turned_away.clone(),
                coordination: Arc::clone(&coordination),
            }));
            probes.register(&mut registry);
            registry.register_collector(Box::new(MapMetrics(coordination.watch())));
            let admin = Admin::bind(address).await?;
            tracing::info!(address = %admin.address(), "health and metrics");
            Some(tokio::spawn(admin.serve(readiness, Arc::new(registry))))
        }
        None => None,
    };
    let (drain_delay, drain) = (config.drain_delay, drain::drain(config.query_deadline()));
    let stopping = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which also stops the node.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let of_clients = Arc::clone(&tls);
    let known = Arc::clone(&access);
    let (all, each) = (config.connections as usize, config.client_connections as usize);
    let gate = Gate {
        limits: Limits::new(all, each, 0),
        client: Box::new(move |caller| known.client(caller)),
        metrics: metrics.clone(),
    };
    let client_connections =
        accept(client_listener, of_clients, Material::client_listener, gate, stopped.clone());
    let health_service = Guard::open(health_service, Arc::clone(&access), metrics.clone());
    let query = Guard::new(query, Arc::clone(&access), metrics.clone());
    let longest = longest_response(&config);
    let clients = bounded_server(CLIENT_AGE, longest)
        .add_service(Paced::new(health_service, metrics.clone()))
        .add_service(Paced::new(query, metrics.clone()))
        .serve_with_incoming_shutdown(client_connections, stopping(stopped.clone()));
    let of_peers = Arc::clone(&tls);
    let gate = Gate {
        limits: Limits::new(PEER_CONNECTIONS, PEER_CONNECTIONS, 0),
        client: Box::new(|caller| client_at(caller.address.ip())),
        metrics: metrics.clone(),
    };
    let peer_connections =
        accept(peer_listener, of_peers, Material::peer_listener, gate, stopped.clone());
    let peers = bounded_server(PEER_AGE, longest)
        .add_service(Paced::new(shard, metrics))
        .serve_with_incoming_shutdown(peer_connections, stopping(stopped.clone()));
    let telling = Arc::clone(&state);
    let reloading = tokio::spawn(async move {
        let following = access.follow(admission, Arc::clone(&telling));
        tokio::join!(Arc::clone(&tls).follow(), following, tell(&tls, &telling))
    });
    let loader = Loader::new(config.shard, store, pool, config.threads()).admitted_by(memory);
    let lifecycle = Arc::new(Lifecycle {
        config,
        coordination,
        local,
        loader,
        state,
        coordinator,
        greeter,
        turned_away,
        probes,
        health: health.clone(),
        readiness: readiness.clone(),
        retiring,
        lacking: Notify::new(),
    });
    let mut life = tokio::spawn(lifecycle.run(stopped));
    let mut servers = tokio::spawn(async move { tokio::try_join!(clients, peers) });
    let expiry = tokio::spawn(async move {
        let mut tick = tokio::time::interval(EXPIRY);
        loop {
            tick.tick().await;
            expiring.expire().await;
        }
    });

    tokio::select! {
        () = shutdown => {}
        ended = &mut servers => {
            ended.context("a listener panicked")?.context("a listener failed")?;
            anyhow::bail!("the listeners ended unexpectedly");
        }
        ended = &mut life => {
            ended.context("the node's lifecycle panicked")?;
            anyhow::bail!("the node's lifecycle ended unexpectedly");
        }
    }
    expiry.abort();
    tracing::info!(delay = ?drain_delay, "draining");
    retire.send(true).context("the node's lifecycle has already ended")?;
    readiness.not_ready(DRAINING);
    health.set_service_status("", ServingStatus::NotServing).await;
    tokio::time::sleep(drain_delay).await;
    stop.send(true).context("both listeners have already ended")?;
    // Ends streams that watch the health status. They have received the drain by now, and nothing
    // else would end them.
    health.clear_service_status("").await;
    // Completes as soon as no request is in progress.
    match tokio::time::timeout(drain, &mut servers).await {
        Ok(ended) => {
            ended.context("a listener panicked")?.context("a listener failed")?;
        }
        Err(_) => tracing::warn!("connections were still open after the drain"),
    }
    match tokio::time::timeout(LEAVE, life).await {
        Ok(ended) => ended.context("the node's lifecycle panicked")?,
        Err(_) => anyhow::bail!("the node could not leave the cluster in time"),
    }
    reloading.abort();
    // The admin listener runs until the end, so that probes see the drain.
    if let Some(admin) = admin {
        admin.abort();
    }
    Ok(())
}

/// Keeps the record of this node up to date with its TLS material.
async fn tell(tls: &Tls, state: &ReplicaState) {
    let mut changes = tls.changes();
    loop {
        changes.mark_unchanged();
        let material = tls.material();
        state.runs_on(Some(material.trust.clone()), Some(material.serial.clone()));
        // The sender lives as long as `tls`.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Opens the coordination backend.
async fn open_coordination(config: &Config) -> anyhow::Result<Arc<dyn Coordination>> {
    match &config.coordination {
        Backend::Directory(directory) => Ok(Arc::new(FileCoordination::open(directory).await?)),
        Backend::Kubernetes { namespace, cluster } => {
            open_kubernetes(config, namespace, cluster).await
        }
    }
}

#[cfg(feature = "kubernetes")]
async fn open_kubernetes(
    config: &Config,
    namespace: &str,
    cluster: &str,
) -> anyhow::Result<Arc<dyn Coordination>> {
    use crate::coordination::{KubernetesCoordination, Pod};

    let api = kube::Config::infer().await.context(
        "cannot find the Kubernetes API: run in a pod with a service account token, or set KUBECONFIG",
    )?;
    let pod = config.pod_uid().map(|uid| Pod { name: config.name.clone(), uid: uid.to_owned() });
    let process = SysRng.try_next_u64()?;
    Ok(Arc::new(KubernetesCoordination::open(&api, namespace, cluster, pod, process)?))
}

#[cfg(not(feature = "kubernetes"))]
async fn open_kubernetes(
    _config: &Config,
    namespace: &str,
    cluster: &str,
) -> anyhow::Result<Arc<dyn Coordination>> {
    anyhow::bail!(
        "this opaque-node was built without feature `kubernetes` and cannot use \
         kubernetes://{namespace}/{cluster}: `make build` builds it with the feature"
    )
}

/// Longest time until a response begins: longer than a change of the cluster and longer than a
/// query.
fn longest_response(config: &Config) -> Duration {
    let deadline = config.activation_deadline.max(config.query_deadline());
    deadline.saturating_mul(2).saturating_add(DECISION + RESPONSE_GRACE)
}

/// A server whose connections detect vanished peers and have a bounded number of concurrent calls.
/// From `age` on, a connection accepts no more calls, so that the other side reconnects and its
/// certificate is checked again. Calls in progress may end. A call is ended if its response has not
/// begun after `longest`, even if its request never completes. [`Paced`] bounds the rest of the
/// response.
fn bounded_server(age: Duration, longest: Duration) -> Server {
    Server::builder()
        .timeout(longest)
        .max_connection_age(age)
        .max_connection_age_grace(AGE_GRACE)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS)
}

fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    opaque_ops::listen(address)
        .with_context(|| format!("cannot listen on {address}: is another node using it?"))
}
