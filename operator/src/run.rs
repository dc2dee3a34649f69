//! How the parts are wired: health first, then the Lease, then the controllers.
//!
//! **Guarantees.** Controllers run only while the Lease is held, and act on a namespace only while
//! it is claimed ([`crate::claims`]). When the Lease is lost the process ends, whatever it is
//! doing, and starts again as a candidate: there is no half-stopped state. On SIGTERM what is under
//! way is finished, and then claims and Lease are released, so that another takes over at once.

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

/// How long what is under way may take after a SIGTERM; writes are safe to cut off.
const FINISH: Duration = Duration::from_secs(2);
/// How long the API server may take to answer the head of a watch.
const CONNECT: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the operator cannot start, a controller ends, or the Lease is lost.
pub async fn run(args: Args) -> Result<()> {
    // Fails only if one is there already, which is then as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::not_yet("starting");
    let admin = Admin::bind(args.admin_listen).await?;
    let admin = tokio::spawn(admin.serve(readiness.clone(), Arc::new(registry)));

    let config = Config::infer().await.context("no way to reach the API server")?;
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
    // A candidate that waits is ready: it takes over.
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
        // Dropped at once: whatever it would still write is somebody else's to write now.
        Err(_) => drop(operator),
    }
    if held.is_held()
        && let Err(error) = held.release().await
    {
        tracing::warn!(%error, "the Lease was not released; it ends by itself");
    }
    ended
}

/// What an operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it looks.
    pub scope: Scope,
    /// Image of the nodes of clusters that name none.
    pub node_image: String,
    /// DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// Whether tables may have sources at local addresses.
    pub allow_local_sources: bool,
    /// This process, in events and in the Lease by which it leads.
    pub identity: String,
    /// Whose operator it is.
    pub release: Release,
    /// For how long it holds Leases.
    pub times: Times,
}

/// Stands for the Lease by which one operator of several is the active one.
///
/// # Errors
/// When the configuration makes no client.
pub fn stand(config: &Config, settings: &Settings, metrics: &Metrics) -> Result<Standing> {
    let client = without_retries(config).context("no client of the API server")?;
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

/// The controllers while they run. Dropping it cuts them off.
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
    /// When the configuration makes no client.
    pub fn start(mut config: Config, settings: Settings, metrics: Metrics) -> Result<Self> {
        config.connect_timeout = Some(CONNECT);
        let clients = clients(&config, &metrics).context("no client of the API server")?;
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
                let client = claim_client(&config).context("no client for claims")?;
                // The next one that leads the release takes claims over by its name.
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

    /// What the controllers share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Resolves when a controller or a watch ends, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            Some(ended) = self.controllers.join_next() => format!("{ended:?}"),
            Some(ended) = self.watches.join_next() => format!("a watch: {ended:?}"),
            Some(ended) = self.claims.join_next() => format!("the claims: {ended:?}"),
            else => "nothing was running".to_owned(),
        };
        anyhow!("a controller ended: {ended}")
    }

    /// Finishes what is under way, for a bounded time, and releases the claims.
    pub async fn stop(mut self) {
        // Without receivers there is nothing to stop.
        let _ = self.stop.send(true);
        let all = async { while self.controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH, all).await.is_err() {
            tracing::warn!("cut off what was under way");
        }
        // What still runs holds a claim.
        self.controllers.shutdown().await;
        self.release.send_replace(true);
        while self.claims.join_next().await.is_some() {}
    }
}

/// A name of this process that no other has: a restarted container has the pod's name as well.
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
