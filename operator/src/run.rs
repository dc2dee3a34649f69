//! Wires the parts together: health endpoints first, then the Lease, then the controllers.
//!
//! **Guarantees.** Controllers run only while the Lease is held, and act on a namespace only while
//! it is claimed ([`crate::claims`]). When the Lease is lost, the process ends at once and starts
//! again as a candidate, so that there is no half-stopped state. On SIGTERM, work in progress is
//! finished, and then claims and Lease are released, so that another operator takes over at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::{Api, Client, Config};
use opaque_election::without_retries;
use opaque_ops::admin::{Admin, Readiness};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Args, Scope};
use crate::claims::{Candidate, Clusters, Shared, Standing, Times, claim_client, keep};
use crate::error::Error;
use crate::kube::{Claimed, Context, Events, Installed, Observed, clients};
use crate::metrics::{Metrics, Tally};
use crate::release::Release;
use crate::{cluster, table};

/// How long work in progress may continue after a SIGTERM. Writes can be cut off safely.
const FINISH: Duration = Duration::from_secs(2);
/// Timeout for the response headers of a watch.
const CONNECT: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The operator cannot start, a controller ends, or the Lease is lost.
pub async fn run(args: Args) -> Result<()> {
    // This fails only if a provider is installed already, which is equally good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::not_yet("starting");
    let admin = Admin::bind(args.admin_listen).await?;
    let admin = tokio::spawn(admin.serve(readiness.clone(), Arc::new(registry)));

    let config = Config::infer().await.context("no configuration for the API server was found")?;
    let identity = identity(&args.identity);
    let settings = Settings {
        scope: args.scope(),
        cluster_domain: args.cluster_domain(),
        node_image: args.node_image,
        allow_local_sources: args.allow_local_sources,
        identity: identity.clone(),
        release: args.release,
        times: Times::default(),
    };
    let mut standing = stand(&config, &settings, &metrics)?;
    // A waiting candidate counts as ready, because it can take over.
    readiness.ready();
    tracing::info!(identity, "standing for election");
    let held = tokio::select! {
        held = standing.acquire() => Some(held),
        () = terminated() => None,
        ended = admin => bail!("health and metrics ended: {ended:?}"),
    };
    standing.withdraw().await;
    let Some(held) = held else { return Ok(()) };
    tracing::info!(identity, token = held.token(), "this operator is the active one");
    metrics.leads(true);
    let mut operator = Operator::start(config, settings, metrics.clone())?;
    let ended = tokio::select! {
        () = held.lost() => Err(anyhow!("the Lease was lost: another operator is active")),
        () = terminated() => Ok(()),
        error = operator.failed() => Err(error),
    };
    metrics.leads(false);
    match ended {
        Ok(()) => {
            readiness.not_ready("stopping");
            operator.stop().await;
        }
        // Dropped at once: another operator may act now, so this one must not write any more.
        Err(_) => drop(operator),
    }
    if held.is_held()
        && let Err(error) = held.release().await
    {
        tracing::warn!(%error, "the Lease was not released; it expires by itself");
    }
    ended
}

/// Settings of an operator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespaces that it watches.
    pub scope: Scope,
    /// Default image of nodes.
    pub node_image: String,
    /// DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// Whether tables may have sources at local addresses.
    pub allow_local_sources: bool,
    /// Name of this process in events and in the Lease that determines the active operator.
    pub identity: String,
    /// The operator's release.
    pub release: Release,
    /// Durations of its Leases.
    pub times: Times,
}

/// Stands for the Lease that determines the active one of several operators.
///
/// # Errors
/// The configuration is not usable.
pub fn stand(config: &Config, settings: &Settings, metrics: &Metrics) -> Result<Standing> {
    let client = without_retries(config).context("cannot create a client for the API server")?;
    let candidate = candidate(client.clone(), settings.identity.clone(), settings, metrics);
    Ok(match &settings.scope {
        Scope::All => candidate.lead(Clusters::Listed(Box::new(Api::all(client)))),
        Scope::Namespace(namespace) => {
            let clusters = Clusters::Listed(Box::new(Api::namespaced(client, namespace)));
            candidate.claim(namespace, settings.times.lead, clusters)
        }
    })
}

fn candidate(
    client: Client,
    identity: String,
    settings: &Settings,
    metrics: &Metrics,
) -> Candidate {
    Candidate {
        events: Events::new(client.clone(), settings.identity.clone()),
        client,
        metrics: metrics.clone(),
        release: settings.release.clone(),
        identity,
        times: settings.times,
    }
}

/// The running controllers. Dropping this aborts them.
#[derive(Debug)]
pub struct Operator {
    context: Arc<Context>,
    controllers: JoinSet<Result<(), Error>>,
    watches: JoinSet<()>,
    /// The task that keeps the claims of a release for all namespaces.
    claims: JoinSet<()>,
    stop: watch::Sender<bool>,
    release: watch::Sender<bool>,
    _held: Option<Tally>,
}

impl Operator {
    /// Starts watches and controllers.
    ///
    /// # Errors
    /// The configuration is not usable.
    pub fn start(mut config: Config, settings: Settings, metrics: Metrics) -> Result<Self> {
        config.connect_timeout = Some(CONNECT);
        let clients =
            clients(&config, &metrics).context("cannot create a client for the API server")?;
        let [client, _] = &clients;
        let (observed, watches) = Observed::start(client, &settings.scope, &metrics);
        let installed = Installed {
            node_image: settings.node_image.clone(),
            cluster_domain: settings.cluster_domain.clone(),
            allow_local_sources: settings.allow_local_sources,
        };
        let context = Arc::new(Context::new(
            clients.clone(),
            observed,
            metrics.clone(),
            installed,
            settings.release.clone(),
            Claimed::new(&settings.scope),
            Events::new(client.clone(), settings.identity.clone()),
        ));
        let (release, released) = watch::channel(false);
        let mut claims = JoinSet::new();
        let held = match &settings.scope {
            Scope::All => {
                let client = claim_client(&config).context("cannot create a client for claims")?;
                // The next leader of the release takes over claims by this name.
                let identity = settings.release.to_string();
                let candidate = candidate(client, identity, &settings, &metrics);
                let shared = Shared {
                    observed: Arc::clone(&context.observed),
                    metrics: metrics.clone(),
                    claimed: Arc::clone(&context.claimed),
                };
                claims.spawn(keep(shared, candidate, released));
                None
            }
            Scope::Namespace(_) => Some(metrics.holds()),
        };
        let (stop, stopped) = watch::channel(false);
        let mut controllers = JoinSet::new();
        controllers.spawn(cluster::controller(Arc::clone(&context), stopped.clone()));
        controllers.spawn(table::controller(Arc::clone(&context), stopped));
        Ok(Self { context, controllers, watches, claims, stop, release, _held: held })
    }

    /// The state that the controllers share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Resolves when a controller or a watch ends, which should never happen.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            Some(ended) = self.controllers.join_next() => format!("{ended:?}"),
            Some(ended) = self.watches.join_next() => format!("a watch: {ended:?}"),
            Some(ended) = self.claims.join_next() => format!("the claims: {ended:?}"),
            else => "nothing was running".to_owned(),
        };
        anyhow!("a controller ended: {ended}")
    }

    /// Finishes work in progress, for a bounded time, and releases the claims.
    pub async fn stop(mut self) {
        // Without receivers there is nothing to stop.
        let _ = self.stop.send(true);
        let all = async { while self.controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH, all).await.is_err() {
            tracing::warn!("aborted the work in progress");
        }
        // A reconcile that still runs holds a claim.
        self.controllers.shutdown().await;
        self.release.send_replace(true);
        while self.claims.join_next().await.is_some() {}
    }
}

/// A unique name of this process: a restarted container keeps the pod's name.
fn identity(pod: &str) -> String {
    let started = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    format!("{pod}_{started:x}-{:x}", std::process::id())
}

/// Resolves at SIGTERM or SIGINT.
async fn terminated() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; this process will have to be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
