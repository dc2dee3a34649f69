//! What can be wrong with TLS material, and with a peer.

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
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that the settings need is not there.
    #[error("{} is missing: {why}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What needs it.
        why: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is another node's.
    #[error("{} is the certificate of {found}, and this node is {expected}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// Who the node is.
        expected: String,
        /// Whom the certificate names.
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
    /// The chain does not hold: unknown CA, wrong name, out of its life, revoked, or without a valid
    /// revocation list.
    #[error("the certificate does not hold: {0}")]
    Chain(String),
    /// The certificate names nobody.
    #[error(transparent)]
    Identity(#[from] CertificateError),
    /// Another cluster.
    #[error("the certificate is not a node's of this cluster, but of {0}")]
    Cluster(String),
    /// Another shard than the one that was dialled.
    #[error("the certificate is of shard {found}, and shard {expected} was dialled")]
    Shard {
        /// Dialled.
        expected: u32,
        /// Answering.
        found: u32,
    },
    /// Not made for this end of a connection.
    #[error("the certificate is not made for authentication as a {0}")]
    Purpose(&'static str),
    /// It may not do what it asks for, or what it was asked.
    #[error("the certificate lacks the capability: {0}")]
    Capability(&'static str),
    /// It does not cover what it was asked.
    #[error("the certificate covers other ranges than it was asked for")]
    Range,
}

impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> Self {
        let other = rustls::OtherError(std::sync::Arc::new(error));
        Self::InvalidCertificate(rustls::CertificateError::Other(other))
    }
}
