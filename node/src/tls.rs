//! TLS material of both listeners: clients see a server certificate, peers verify each other.
//!
//! The two are separate trust domains with separate CAs. A peer must present a certificate of the
//! peer CA, and one whose URI names this cluster ([`PeerTls::check_peer`]). The name that a node is
//! dialled by names its shard, so that a certificate of shard 1 cannot answer for shard 2.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The DNS name in the certificate of every replica of a shard.
pub fn shard_name(shard: u32) -> String {
    format!("shard-{shard}.peers.opaque.internal")
}

/// What a node presents to clients.
pub fn client_listener(dir: &Path) -> Result<ServerTlsConfig, TlsError> {
    let identity = Identity::from_pem(read(dir, "client.crt")?, read(dir, "client.key")?);
    Ok(ServerTlsConfig::new().identity(identity))
}

/// What a node presents to its peers and demands of them.
#[derive(Clone)]
pub struct PeerTls {
    identity: Identity,
    ca: Certificate,
    domain: String,
}

impl PeerTls {
    /// Reads `peer.crt`, `peer.key` and `peer-ca.crt`.
    ///
    /// # Errors
    /// When a file is missing, or the certificate carries no `spiffe://…/shard/<id>` URI.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let certificate = read(dir, "peer.crt")?;
        let path = dir.join("peer.crt");
        let refuse = |reason: &'static str| TlsError::Certificate { path: path.clone(), reason };
        let (_, pem) = parse_x509_pem(&certificate).map_err(|_| refuse("not a PEM certificate"))?;
        let uri = shard_uri(&pem.contents).ok_or(refuse("no URI that names a shard"))?;
        let (domain, _) = split_shard(&uri).ok_or(refuse("no URI that names a shard"))?;
        let domain = domain.to_owned();
        let identity = Identity::from_pem(certificate, read(dir, "peer.key")?);
        Ok(Self { identity, ca: Certificate::from_pem(read(dir, "peer-ca.crt")?), domain })
    }

    /// The peer listener: no connection without a certificate of the peer CA.
    pub fn listener(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.ca.clone())
    }

    /// A connection to a replica of `shard`, which must prove to be one.
    pub fn dialer(&self, shard: u32) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity.clone())
            .ca_certificate(self.ca.clone())
            .domain_name(shard_name(shard))
    }

    /// Whether a verified peer certificate (DER) belongs to a node of this cluster.
    pub fn check_peer(&self, der: &[u8]) -> bool {
        shard_uri(der)
            .as_deref()
            .and_then(split_shard)
            .is_some_and(|(domain, _)| domain == self.domain)
    }
}

/// The first URI of a certificate that names a shard.
fn shard_uri(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) if split_shard(uri).is_some() => Some((*uri).to_owned()),
        _ => None,
    })
}

/// `spiffe://<domain>/ns/<ns>/opaque/<cluster>/shard/<id>` as (everything before `/shard/`, id).
fn split_shard(uri: &str) -> Option<(&str, u32)> {
    let (domain, shard) = uri.strip_prefix("spiffe://").and(uri.rsplit_once("/shard/"))?;
    Some((domain, shard.parse().ok()?))
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, TlsError> {
    let path = dir.join(name);
    std::fs::read(&path).map_err(|source| TlsError::Read { path, source })
}

/// TLS material that cannot be used. A node without it does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate is not one that a node may present.
    #[error("{}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_uri_splits_into_cluster_and_shard() {
        let uri = "spiffe://opaque.dev/ns/default/opaque/dev/shard/7";
        assert_eq!(split_shard(uri), Some(("spiffe://opaque.dev/ns/default/opaque/dev", 7)));
        assert_eq!(split_shard("https://opaque.dev/shard/7"), None);
        assert_eq!(split_shard("spiffe://opaque.dev/shard/x"), None);
    }
}
