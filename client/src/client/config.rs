//! How a client finds its cluster: a profile, and what replaces its settings.

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

/// Time that a query may take unless configured otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// How to reach a cluster and where the keys lie.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Nodes to ask; any of them answers for the cluster.
    pub endpoints: Vec<NodeUrl>,
    /// The trusted CA in PEM; the system's roots where there is none.
    pub ca_pem: Option<Vec<u8>>,
    /// What the client shows to nodes.
    pub credentials: Credentials,
    /// The keys that lookups use.
    pub keys: KeyMode,
    /// Registered keys, for a client that uses them.
    pub key_store: Option<Arc<dyn KeyStore>>,
    /// Time that one call may take, failover included.
    pub deadline: Duration,
}

/// What replaces a profile's settings.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Nodes to ask, as [`parse_endpoints`] reads them.
    pub cluster: Vec<String>,
    /// The trusted CA.
    pub ca_file: Option<PathBuf>,
    /// A file with the client's token.
    pub token_file: Option<PathBuf>,
    /// The client's certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// The name that nodes' certificates must have.
    pub server_name: Option<String>,
    /// The keys that lookups use.
    pub keys: Option<KeyMode>,
}

impl ClientConfig {
    /// These nodes, trusted by the system's roots, with everything else as a new profile has it.
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

    /// The profile of `home`, with `--cluster` and `--ca` values in place of its own where given.
    pub fn new(home: &Home, cluster: &[String], ca: Option<&Path>) -> Result<Self, Error> {
        let overrides = Overrides {
            cluster: cluster.to_vec(),
            ca_file: ca.map(Path::to_owned),
            ..Overrides::default()
        };
        Self::with(home, overrides)
    }

    /// The profile of `home`, with `overrides` in place of its own settings.
    ///
    /// # Errors
    /// No cluster is known, or a file that is named cannot be used.
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
        // A certificate and its key come from one place.
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

/// Whether the addresses `given` may be of another cluster than the profile's, which must not see
/// this one's credentials.
///
/// Other addresses are, as a rule, other nodes of the profile's cluster: the CA that it names signs
/// for them alone. Where it names none, the system's roots would vouch for whoever has a domain.
fn elsewhere(profile: &Profile, given: &[NodeUrl], ca_file: Option<&Path>) -> bool {
    let known = || given.iter().all(|url| profile.endpoints.contains(url));
    !given.is_empty() && (ca_file.is_some() || (profile.ca_file.is_none() && !known()))
}

#[cfg(test)]
mod tests;
