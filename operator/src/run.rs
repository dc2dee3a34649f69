//! How the parts are wired: health first, then the Lease, then the controllers.
//!
//! **Guarantees.** Controllers run only while the Lease is held. When it is lost the process ends, whatever it is doing, and
//! starts again as a candidate: there is no half-stopped state. On SIGTERM what is
//! under way is finished, and then the Lease is released, so that another takes over at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::Config;
use opaque_ops::admin::{Admin, Readiness};
use opaque_ops::api::without_retries;
use opaque_ops::election::{Election, Policy};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Args, Scope};
use crate::context::{self, Context, Installed};
use crate::error::Error;
use crate::labels::{MANAGED_BY, NAME, OPERATOR, PRODUCT, labels};
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::{cluster, table};

/// Name of the Lease.
const LEASE: &str = "opaque-operator";
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
    let election = Election::new(
        without_retries(&config)?,
        &args.lease_namespace,
        LEASE,
        identity.clone(),
        labels([(NAME, PRODUCT), (MANAGED_BY, OPERATOR)]),
        Policy::default(),
    );
    // A candidate that waits is ready: it takes over.
    readiness.ready();
    tracing::info!(identity, "standing for election");
    let held = tokio::select! {
        held = election.acquire() => held,
        () = terminated() => return Ok(()),
        ended = admin => bail!("health and metrics ended: {ended:?}"),
    };
    tracing::info!(identity, token = held.token(), "this operator is the active one");
    metrics.leads(true);
    let (scope, cluster_domain) = (args.scope(), args.cluster_domain());
    let settings = Settings { scope, node_image: args.node_image, cluster_domain, identity };
    let mut operator = Operator::start(config, settings, metrics.clone())?;
    let ended = tokio::select! {
        () = held.lost() => Err(anyhow!("the Lease {LEASE} was lost: another operator is active")),
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
    /// This process, in events.
    pub identity: String,
}

/// The controllers while they run. Dropping it cuts them off.
#[derive(Debug)]
pub struct Operator {
    context: Arc<Context>,
    controllers: JoinSet<Result<(), Error>>,
    watches: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Operator {
    /// Starts watches and controllers.
    ///
    /// # Errors
    /// When the configuration makes no client.
    pub fn start(mut config: Config, settings: Settings, metrics: Metrics) -> Result<Self> {
        config.connect_timeout = Some(CONNECT);
        let clients = context::clients(&config, &metrics).context("no client of the API server")?;
        let [client, _] = &clients;
        let Settings { scope, node_image, cluster_domain, identity } = settings;
        let (observed, watches) = Observed::start(client, &scope, &metrics);
        let context = Arc::new(Context::new(
            clients,
            observed,
            metrics,
            Installed { node_image, cluster_domain },
            identity,
        ));
        let (stop, stopped) = watch::channel(false);
        let mut controllers = JoinSet::new();
        controllers.spawn(cluster::controller(Arc::clone(&context), stopped.clone()));
        controllers.spawn(table::controller(Arc::clone(&context), stopped));
        Ok(Self { context, controllers, watches, stop })
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
            else => "nothing was running".to_owned(),
        };
        anyhow!("a controller ended: {ended}")
    }

    /// Finishes what is under way, for a bounded time.
    pub async fn stop(mut self) {
        // Without receivers there is nothing to stop.
        let _ = self.stop.send(true);
        let all = async { while self.controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH, all).await.is_err() {
            tracing::warn!("cut off what was under way");
        }
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
