//! Errors in TLS material and in peers' certificates.

use std::path::PathBuf;

use opaque_identity::CertificateError;
use thiserror::Error;

/// TLS material that cannot be used. A node without it does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A file that the settings require does not exist.
    #[error("{} is missing: {why}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why the file is required.
        why: &'static str,
    },
    /// A file does not have the expected content.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate belongs to another node.
    #[error("{} is the certificate of {found}, but this node is {expected}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// The node's identity.
        expected: String,
        /// The identity in the certificate.
        found: String,
    },
}

/// Why a peer is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// No certificate was presented.
    #[error("no certificate was presented")]
    Anonymous,
    /// The chain is not valid: unknown CA, wrong name, expired, revoked, or without a valid
    /// revocation list.
    #[error("the certificate is not valid: {0}")]
    Chain(String),
    /// The certificate contains no identity.
    #[error(transparent)]
    Identity(#[from] CertificateError),
    /// The certificate belongs to another cluster.
    #[error("the certificate belongs to {0}, which is not a node of this cluster")]
    Cluster(String),
    /// The certificate belongs to another shard than the dialed one.
    #[error("the certificate belongs to shard {found}, but shard {expected} was dialed")]
    Shard {
        /// The dialed shard.
        expected: u32,
        /// The shard that answered.
        found: u32,
    },
    /// The certificate is not valid for this end of a connection.
    #[error("the certificate is not valid for authentication as a {0}")]
    Purpose(&'static str),
    /// The peer lacks the capability for its request, or for the one that it received.
    #[error("the certificate lacks the capability: {0}")]
    Capability(&'static str),
    /// The certificate does not cover the requested ranges.
    #[error("the certificate covers other ranges than the requested ones")]
    Range,
}

impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> Self {
        let other = rustls::OtherError(std::sync::Arc::new(error));
        Self::InvalidCertificate(rustls::CertificateError::Other(other))
    }
}
