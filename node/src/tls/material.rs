//! One set of keys, certificates, authorities and revocation lists, checked and ready for use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use opaque_identity::{Capability, Identity, Leaf, ShardUri, shard_name};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::clients::ClientTrust;
use super::files::{Files, content};
use super::life::Life;
use super::verify::{AnswererVerifier, CallerVerifier, Presented, answerer, caller};
use super::{PeerError, TlsError};
use crate::config::{ClientAuth, Revocation};

/// Requirements for the content of a directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of the files.
    pub dir: PathBuf,
    /// The shard that this node serves.
    pub shard: u32,
    /// Whether peers must be covered by a valid revocation list.
    pub revocation: Revocation,
    /// How clients authenticate.
    pub client_auth: ClientAuth,
}

/// A consistent set of TLS material.
pub struct Material {
    /// Grows with each set that is put into use. The first is 0.
    pub version: u64,
    /// This node's identity.
    pub own: ShardUri,
    /// Serial number of this node's peer certificate: lower-case hexadecimal.
    pub serial: String,
    /// Serial number of the certificate that clients see.
    pub server_serial: String,
    /// BLAKE3 of the authorities' file, in hexadecimal.
    pub trust: String,
    /// End of the peer certificate's validity, in seconds since 1970.
    pub peer_not_after: i64,
    /// End of the certificate that clients see, in seconds since 1970.
    pub client_not_after: i64,
    pub(super) digest: blake3::Hash,
    /// The peers' authority that ends first.
    pub(super) peer_authority: Option<Life>,
    /// The peers' revocation list that ends first; `None` if lists are not used.
    pub(super) peer_list: Option<Life>,
    /// The material for verifying clients' certificates, in mode `mtls`.
    pub(super) trust_in_clients: Option<Arc<ClientTrust>>,
    peers: Arc<ServerConfig>,
    clients: Arc<ServerConfig>,
    client_key: Arc<CertifiedKey>,
    key: Arc<CertifiedKey>,
    callers: Arc<CallerVerifier>,
    answerers: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("version", &self.version)
            .field("own", &self.own.to_string())
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Checks that everything fits together: keys with certificates, this node's chain with the
    /// authorities, and its URI with its shard.
    pub(super) fn new(
        settings: &Settings,
        files: &Files,
        trust_in_clients: Option<Arc<ClientTrust>>,
        version: u64,
    ) -> Result<Self, TlsError> {
        let Settings { dir, shard, revocation, client_auth: _ } = settings;
        let path = |name: &str| dir.join(name);
        let provider = Arc::new(ring::default_provider());
        let (key, leaf) = pair(settings, &provider, "peer", &files.peer_chain, &files.peer_key)?;
        let (client_key, client_leaf) =
            pair(settings, &provider, "client", &files.client_chain, &files.client_key)?;
        let own = Identity::from_leaf(&leaf).map_err(|error| content(path("peer.crt"), error))?.uri;
        if own.shard() != *shard {
            return Err(TlsError::Own {
                path: path("peer.crt"),
                expected: format!("--shard {shard}"),
                found: own.to_string(),
            });
        }

        let (roots, authorities) = authorities(settings, "peer-ca.crt", &files.peer_ca)?;
        let lists = match (revocation, &files.peer_crl) {
            (Revocation::None, _) => None,
            (Revocation::Required, Some(pem)) => {
                let lists = CertificateRevocationListDer::pem_slice_iter(pem)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| content(path("peer-ca.crl"), error))?;
                if lists.is_empty() {
                    return Err(content(path("peer-ca.crl"), "there is no list in it"));
                }
                Some(lists)
            }
            (Revocation::Required, None) => {
                let why = "--revocation required refuses peers without a valid list";
                return Err(TlsError::Missing { path: path("peer-ca.crl"), why });
            }
        };
        let (plain, _) = verifiers(&roots, None, &provider)
            .map_err(|error| content(path("peer-ca.crt"), error))?;
        check_own(&key, plain.as_ref(), &own).map_err(|error| {
            content(path("peer.crt"), format!("peers would refuse it: {error}"))
        })?;
        let peer_list = lists.as_ref().and_then(|lists| {
            let lives: Vec<Life> = lists.iter().filter_map(|list| Life::of_list(list)).collect();
            Life::first_to_end(&lives)
        });
        let (chain, answerers) = verifiers(&roots, lists, &provider)
            .map_err(|error| content(path("peer-ca.crl"), error))?;
        let callers = Arc::new(CallerVerifier { chain, own: own.clone() });
        let peers = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| content(path("peer.crt"), error))?
            .with_client_cert_verifier(Arc::clone(&callers) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));

        let clients = client_config(&client_key, trust_in_clients.as_deref())
            .map_err(|error| content(path("client.crt"), error))?;
        Ok(Self {
            version,
            own,
            serial: leaf.serial,
            server_serial: client_leaf.serial,
            trust: blake3::hash(&files.peer_ca).to_hex().to_string(),
            peer_not_after: leaf.not_after,
            client_not_after: client_leaf.not_after,
            digest: files.digest(),
            peer_authority: Life::first_to_end(&authorities),
            peer_list,
            trust_in_clients,
            peers: Arc::new(without_resumption(peers)),
            clients: Arc::new(clients),
            client_key,
            key,
            callers,
            answerers,
        })
    }

    /// The same set with other material for verifying clients.
    pub(super) fn with_clients(&self, trust: Arc<ClientTrust>) -> Result<Self, rustls::Error> {
        Ok(Self {
            version: self.version + 1,
            own: self.own.clone(),
            serial: self.serial.clone(),
            server_serial: self.server_serial.clone(),
            trust: self.trust.clone(),
            peer_not_after: self.peer_not_after,
            client_not_after: self.client_not_after,
            digest: self.digest,
            peer_authority: self.peer_authority,
            peer_list: self.peer_list,
            clients: Arc::new(client_config(&self.client_key, Some(&trust))?),
            trust_in_clients: Some(trust),
            peers: Arc::clone(&self.peers),
            client_key: Arc::clone(&self.client_key),
            key: Arc::clone(&self.key),
            callers: Arc::clone(&self.callers),
            answerers: Arc::clone(&self.answerers),
        })
    }

    /// The TLS configuration of the listener for peers.
    pub fn peer_listener(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.peers)
    }

    /// The TLS configuration of the listener for clients.
    pub fn client_listener(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.clients)
    }

    /// Whether the listener for clients requests a certificate.
    pub fn asks_clients(&self) -> bool {
        self.trust_in_clients.as_ref().is_some_and(|trust| trust.verifier.is_some())
    }

    /// The TLS configuration of a connection to a replica of `shard`, and the name to dial it by.
    pub(super) fn dial(
        &self,
        shard: u32,
    ) -> Result<(ClientConfig, ServerName<'static>), rustls::Error> {
        let verifier = AnswererVerifier {
            chain: Arc::clone(&self.answerers),
            dialled: self.own.with_shard(shard),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok((config, name(shard)?))
    }

    /// The peer that calls on a connection, if its certificate is still valid.
    pub fn caller(&self, presented: &Presented) -> Result<Identity, PeerError> {
        presented.hold(self.version, |leaf, intermediates, now| {
            self.callers.verify_client_cert(leaf, intermediates, now).map(drop)
        })?;
        caller(presented.leaf(), &self.own)
    }

    /// The peer that answers for `shard` on a connection, if its certificate is still valid.
    pub fn answerer(&self, presented: &Presented, shard: u32) -> Result<Identity, PeerError> {
        use rustls::client::danger::ServerCertVerifier;
        presented.hold(self.version, |leaf, intermediates, now| {
            let name = name(shard)?;
            self.answerers.verify_server_cert(leaf, intermediates, &name, &[], now).map(drop)
        })?;
        answerer(presented.leaf(), &self.own.with_shard(shard))
    }

    /// The content of a client's certificate, if it is still valid.
    pub(super) fn client(&self, presented: &Presented) -> Result<Leaf, PeerError> {
        let trust = self.trust_in_clients.as_ref().ok_or(PeerError::Anonymous)?;
        trust.check_serials(presented)?;
        let verifier = trust
            .verifier
            .as_ref()
            .ok_or_else(|| PeerError::Chain("no material to verify clients with".to_owned()))?;
        presented.hold(self.version, |leaf, intermediates, now| {
            verifier.verify_client_cert(leaf, intermediates, now).map(drop)
        })?;
        Ok(Leaf::from_der(presented.leaf())?)
    }
}

/// The configuration of the listener for clients. With `trust`, it requests a certificate from
/// them.
fn client_config(
    key: &Arc<CertifiedKey>,
    trust: Option<&ClientTrust>,
) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let config = match trust.and_then(|trust| trust.verifier.as_ref()) {
        Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
        None => config.with_no_client_auth(),
    };
    let config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))));
    Ok(without_resumption(config))
}

fn name(shard: u32) -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(shard_name(shard))
        .map_err(|_| rustls::Error::General("a shard's name is not a DNS name".into()))
}

/// A key and its chain from PEM, and the chain's leaf. They must match.
fn pair(
    settings: &Settings,
    provider: &CryptoProvider,
    name: &str,
    chain: &[u8],
    key: &[u8],
) -> Result<(Arc<CertifiedKey>, Leaf), TlsError> {
    let path = |kind: &str| settings.dir.join(format!("{name}.{kind}"));
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| content(path("crt"), error))?;
    let first =
        chain.first().ok_or_else(|| content(path("crt"), "there is no certificate in it"))?;
    let leaf = Leaf::from_der(first).map_err(|error| content(path("crt"), error))?;
    // The parser's error about a damaged key is omitted, since it might quote the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| content(path("key"), "there is no private key in it"))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        content(path("key"), format!("it does not fit the certificate: {error}"))
    })?;
    Ok((Arc::new(key), leaf))
}

fn authorities(
    settings: &Settings,
    name: &str,
    pem: &[u8],
) -> Result<(Arc<RootCertStore>, Vec<Life>), TlsError> {
    let path = || settings.dir.join(name);
    let (mut roots, mut lives) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| content(path(), error))?;
        lives.extend(Life::of_certificate(&certificate));
        roots.add(certificate).map_err(|error| content(path(), error))?;
    }
    if roots.is_empty() {
        return Err(content(path(), "there is no certificate in it"));
    }
    Ok((Arc::new(roots), lives))
}

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

/// Verifiers of chains. With lists, a certificate that no valid list covers is refused.
fn verifiers(
    roots: &Arc<RootCertStore>,
    lists: Option<Vec<CertificateRevocationListDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifiers, rustls::server::VerifierBuilderError> {
    let provider = || Arc::clone(provider);
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
    let answerers = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider());
    match lists {
        None => Ok((callers.build()?, answerers.build()?)),
        Some(lists) => Ok((
            callers.with_crls(lists.clone()).enforce_revocation_expiration().build()?,
            answerers.with_crls(lists).enforce_revocation_expiration().build()?,
        )),
    }
}

/// Checks that this node's certificate would be accepted at both ends. Revocation is not checked,
/// since a node whose certificate was revoked must still take over new files.
fn check_own(
    key: &CertifiedKey,
    callers: &dyn ClientCertVerifier,
    own: &ShardUri,
) -> Result<(), PeerError> {
    let (leaf, intermediates) = key.cert.split_first().ok_or(PeerError::Anonymous)?;
    callers
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|error| PeerError::Chain(error.to_string()))?;
    let identity = caller(leaf, own)?;
    let parsed = Leaf::from_der(leaf)?;
    if !parsed.server_auth {
        return Err(PeerError::Purpose("server"));
    }
    if !parsed.dns_names.contains(&shard_name(own.shard())) {
        return Err(PeerError::Chain(format!("it lacks the name {}", shard_name(own.shard()))));
    }
    if !identity.capabilities.has(Capability::Evaluate) {
        return Err(PeerError::Capability(Capability::Evaluate.name()));
    }
    Ok(())
}

/// Sets HTTP/2 and disables resumption, since a resumed session would skip verification.
fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}
