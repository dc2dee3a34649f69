//! State that all reconcilers share.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use kube::core::Resource;
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::claimed::Claimed;
use super::events::Events;
use super::observe::Observed;
use super::requests::CountRequests;
use super::secrets::{Keys, Secrets, found};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::release::Release;

/// Settings of the operator's installation.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Default image of nodes.
    pub node_image: String,
    /// DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// Whether tables may have sources at local addresses.
    pub allow_local_sources: bool,
}

/// State that all reconcilers share.
pub struct Context {
    /// A client that counts requests and retries them for a while if that may help.
    pub client: Client,
    /// A client that counts requests and does not retry them.
    pub once: Client,
    /// The watched objects.
    pub observed: Arc<Observed>,
    /// Counters.
    pub metrics: Metrics,
    /// Settings of the operator's installation.
    pub installed: Installed,
    /// The operator's release.
    pub release: Release,
    /// The namespaces on which it acts.
    pub claimed: Arc<Claimed>,
    pub(crate) events: Events,
    pub(crate) secrets: Secrets,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("installed", &self.installed)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context that uses `clients` and acts on the namespaces in `claimed`.
    pub fn new(
        [client, once]: [Client; 2],
        observed: Arc<Observed>,
        metrics: Metrics,
        installed: Installed,
        release: Release,
        claimed: Claimed,
        events: Events,
    ) -> Self {
        let (claimed, secrets) = (Arc::new(claimed), Secrets::default());
        Self { client, once, observed, metrics, installed, release, claimed, events, secrets }
    }

    /// Reads a live object by name. This is for objects that are not watched, such as users'
    /// ConfigMaps. For users' Secrets there is [`secret_keys`](Self::secret_keys).
    ///
    /// # Errors
    /// The API server cannot be reached or refuses.
    pub async fn read<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let action = format!("reading {} {name}", K::kind(&()));
        api.get_opt(name).await.map_err(Error::api(action))
    }

    /// The keys of a Secret, at most a minute old, or at most ten seconds if they did not suffice.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses.
    pub async fn secret_keys(
        &self,
        namespace: &str,
        name: &str,
        suffices: impl Fn(&Keys) -> bool,
    ) -> Result<Arc<Keys>, Error> {
        let read = async || {
            let secret: Option<Secret> = self.read(namespace, name).await?;
            Ok(secret.map(|secret| found(&secret)))
        };
        self.secrets.keys((namespace, name), Instant::now(), suffices, read).await
    }
}

/// Two clients that count their requests: one retries requests that failed by chance, the other
/// does not.
///
/// # Errors
/// The configuration is not usable.
pub(crate) fn clients(config: &Config, metrics: &Metrics) -> Result<[Client; 2], kube::Error> {
    let client = |default_retry| -> Result<Client, kube::Error> {
        let mut config = config.clone();
        config.default_retry = default_retry;
        let builder = kube::client::ClientBuilder::try_from(config)?;
        Ok(builder.with_layer(&CountRequests(metrics.clone())).build())
    };
    Ok([client(true)?, client(false)?])
}
