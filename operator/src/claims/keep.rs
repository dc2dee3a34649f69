//! Keeps the claims of a release for all namespaces: one on each namespace that contains one of our
//! objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tower::limit::ConcurrencyLimitLayer;

use super::candidate::Candidate;
use super::clusters::Clusters;
use super::decision::{changes, spread};
use super::standing::Standing;
use crate::kube::{Claimed, Observed, ROOTS, Touched};
use crate::metrics::Metrics;

/// Maximum concurrent requests about claims. At startup, all claims are requested at once.
const REQUESTS: usize = 8;
/// Time limit for releasing all claims together. Claims that remain expire by themselves.
const RELEASE: Duration = Duration::from_secs(5);

/// A client for claims. It does not retry and limits concurrent requests.
///
/// # Errors
/// The configuration is not usable.
pub(crate) fn claim_client(config: &Config) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&ConcurrencyLimitLayer::new(REQUESTS)).build())
}

/// State shared by all keepers of claims.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The watched objects.
    pub(crate) observed: Arc<Observed>,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// The namespaces on which the operator acts.
    pub(crate) claimed: Arc<Claimed>,
}

/// Keeps claims until `stop` is true, and then releases all of them.
pub(crate) async fn keep(shared: Shared, candidate: Candidate, mut stop: watch::Receiver<bool>) {
    let mut touched = shared.observed.changes();
    shared.observed.ready().await;
    let mut keepers = JoinSet::new();
    let mut kept: BTreeMap<String, watch::Sender<bool>> = BTreeMap::new();
    loop {
        let ending = kept.iter().map(|(name, end)| (name.clone(), *end.borrow())).collect();
        let (begin, end) = changes(&shared.observed.root_namespaces(), &ending);
        for namespace in begin {
            let (end, ended) = watch::channel(false);
            kept.insert(namespace.clone(), end);
            keepers.spawn(keep_one(shared.clone(), candidate.clone(), namespace, ended));
        }
        for end in end.iter().filter_map(|namespace| kept.get(namespace)) {
            end.send_replace(true);
        }
        tokio::select! {
            () = root_touched(&mut touched) => {}
            Some(ended) = keepers.join_next() => match ended {
                Ok(namespace) => drop(kept.remove(&namespace)),
                Err(error) => {
                    tracing::error!(%error, "the task that keeps a claim ended");
                    return;
                }
            },
            // An error means that the sender is gone, which also means to stop.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    for end in kept.values() {
        end.send_replace(true);
    }
    let all = async { while keepers.join_next().await.is_some() {} };
    if tokio::time::timeout(RELEASE, all).await.is_err() {
        tracing::warn!("some claims were not released; they expire by themselves");
    }
}

/// Acquires the claim on one namespace, holds it, and acquires it again after a loss, until `end`
/// is true. Returns the namespace.
async fn keep_one(
    shared: Shared,
    candidate: Candidate,
    namespace: String,
    mut end: watch::Receiver<bool>,
) -> String {
    let policy = spread(candidate.times.claim, &namespace);
    let clusters = Clusters::Observed(Arc::clone(&shared.observed));
    let mut standing = candidate.claim(&namespace, policy, clusters);
    while hold(&shared, &mut standing, &namespace, &mut end).await {}
    namespace
}

/// Acquires the claim and holds it. Returns true if the claim is lost, and false at the end.
async fn hold(
    shared: &Shared,
    standing: &mut Standing,
    namespace: &str,
    end: &mut watch::Receiver<bool>,
) -> bool {
    let held = tokio::select! {
        held = standing.acquire() => Some(held),
        _ = end.wait_for(|end| *end) => None,
    };
    standing.withdraw().await;
    let Some(held) = held else { return false };
    tracing::info!(namespace, token = held.token(), "acting on this namespace");
    let _counted = shared.metrics.holds();
    let acting = shared.claimed.gain(namespace);
    let lost = tokio::select! {
        () = held.lost() => true,
        _ = end.wait_for(|end| *end) => false,
    };
    acting.end().await;
    // The operator that acts from now on reports their end.
    shared.metrics.leaves(namespace);
    if lost {
        tracing::warn!(namespace, "the claim was lost");
    } else if let Err(error) = held.release().await {
        tracing::warn!(namespace, %error, "the claim was not released; it expires by itself");
    }
    lost
}

/// Resolves after a change of an object that may add or remove a namespace. Many pending changes
/// count as one.
async fn root_touched(touched: &mut broadcast::Receiver<Touched>) {
    loop {
        match touched.recv().await {
            Ok(touched) if !ROOTS.contains(&touched.kind) => continue,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The watches have ended, and the process will end too.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
        while !matches!(
            touched.try_recv(),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
        ) {}
        return;
    }
}
