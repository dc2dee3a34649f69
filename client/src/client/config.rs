//! How a client finds its cluster: the profile, and options that override it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    error::Error,
    profile::{
        Home, KeyMode, NodeUrl, Profile,
        credentials::{Credentials, read_certificates},
        parse_endpoints,
    },
    registered::KeyStore,
};

/// Default for the time that a query may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How to reach a cluster, and which keys to use.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Addresses of nodes. Any node answers for the whole cluster.
    pub endpoints: Vec<NodeUrl>,
    /// The trusted CA in PEM; `None` trusts the system's root certificates.
    pub ca_pem: Option<Vec<u8>>,
    /// The credentials that the client presents to nodes.
    pub credentials: Credentials,
    /// The keys that lookups use.
    pub keys: KeyMode,
    /// The store of registered keys, required for [`KeyMode::Registered`].
    pub key_store: Option<Arc<dyn KeyStore>>,
    /// Maximum duration of one call, failover included.
    pub deadline: Duration,
}

/// Values that override a profile's settings.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Addresses of nodes, in the format of [`parse_endpoints`].
    pub cluster: Vec<String>,
    /// A file with the trusted CA in PEM.
    pub ca_file: Option<PathBuf>,
    /// A file with the client's token.
    pub token_file: Option<PathBuf>,
    /// The client's certificate.
    pub client_cert: Option<PathBuf>,
    /// The key of the client's certificate.
    pub client_key: Option<PathBuf>,
    /// The name that nodes' certificates must have.
    pub server_name: Option<String>,
    /// The keys that lookups use.
    pub keys: Option<KeyMode>,
}

impl ClientConfig {
    /// A configuration for these nodes: the system's root certificates are trusted, and all other
    /// settings have their defaults.
    pub fn of(endpoints: Vec<NodeUrl>) -> Self {
        Self {
            endpoints,
            ca_pem: None,
            credentials: Credentials::default(),
            keys: KeyMode::default(),
            key_store: None,
            deadline: DEADLINE,
        }
    }

    /// The profile of `home`, overridden by the values of `--cluster` and `--ca` where given.
    pub fn new(home: &Home, cluster: &[String], ca: Option<&Path>) -> Result<Self, Error> {
        let overrides = Overrides {
            cluster: cluster.to_vec(),
            ca_file: ca.map(Path::to_owned),
            ..Overrides::default()
        };
        Self::with(home, overrides)
    }

    /// The profile of `home`, overridden by `overrides`.
    ///
    /// # Errors
    /// No cluster is configured, or a configured file cannot be used.
    pub fn with(home: &Home, overrides: Overrides) -> Result<Self, Error> {
        let Overrides { cluster, ca_file, token_file, client_cert, client_key, server_name, keys } =
            overrides;
        let given = parse_endpoints(&cluster)?;
        let profile = Profile::read(home)?;
        if given.is_empty() && profile.is_none() {
            return Err(Error::NoCluster { profile: home.profile_file() });
        }
        let profile = profile.filter(|profile| !elsewhere(profile, &given, ca_file.as_deref()));
        let profile = profile.unwrap_or_default();
        let Profile { endpoints, ca_file: profile_ca, written_by_dev: _, .. } = &profile;
        let endpoints = if given.is_empty() { endpoints.clone() } else { given };
        let ca_file = ca_file.as_ref().or(profile_ca.as_ref());
        let ca_pem = ca_file.map(|file| read_certificates(file)).transpose()?;
        // A certificate and its key must come from the same source.
        let (certificate, key) = match (client_cert, client_key) {
            (None, None) => (profile.client_cert, profile.client_key),
            given => given,
        };
        let credentials = Credentials::read(
            token_file.or(profile.token_file).as_deref(),
            certificate.as_deref(),
            key.as_deref(),
            server_name.or(profile.server_name).as_deref(),
        )?;
        let keys = keys.or(profile.keys).unwrap_or_default();
        Ok(Self { ca_pem, credentials, keys, ..Self::of(endpoints) })
    }
}

/// Whether the addresses `given` may belong to a cluster other than the profile's. Such a cluster
/// must not see the profile's credentials.
///
/// Other addresses usually belong to other nodes of the profile's cluster: if the profile names a
/// CA, that CA signs only for its cluster's nodes. If it names none, the system's root certificates
/// would vouch for every owner of a domain.
fn elsewhere(profile: &Profile, given: &[NodeUrl], ca_file: Option<&Path>) -> bool {
    let known = || given.iter().all(|url| profile.endpoints.contains(url));
    !given.is_empty() && (ca_file.is_some() || (profile.ca_file.is_none() && !known()))
}

#[cfg(test)]
mod tests;
