//! A node's identity: the URI in its certificate, and the extension that limits its permissions.
//!
//! Issuers of certificates (`opaque dev`, the operator) write both with this crate, and nodes read
//! both with it. An issuer that cannot write the extension (cert-manager) writes only the URI.
//! [`Identity::from_certificate`] then grants the permissions that a node needs.
//!
//! **Why an extension in addition to the URI?** The URI is a name; the extension limits
//! permissions. A certificate can allow a node to evaluate but not to coordinate, or can cover only
//! a part of the ring. The extension is never critical, because TLS libraries refuse unknown
//! critical extensions. A node that ignored it would still be bound to its URI.
//!
//! **Map.** [`ShardUri`] is the name. [`Extension`] holds the limits, with [`Capabilities`],
//! [`TokenRange`] and [`Role`]. [`Identity`] is both, as read from a certificate. [`Leaf`] holds
//! the other fields of a certificate that nodes and the operator need.
//!
//! **Limits.** This crate verifies no signatures. Read a certificate only after its chain has been
//! verified.
#![forbid(unsafe_code)]

mod certificate;
mod extension;
mod uri;

pub use certificate::{CertificateError, Identity, Leaf};
pub use extension::{
    Capabilities, Capability, Extension, ExtensionError, MAX_LABEL, MAX_RANGES, OID, Ranges, Role,
    TokenRange,
};
pub use uri::{ShardUri, UriError};

/// The DNS name in the certificates of all replicas of a shard. Peers use it to connect.
pub fn shard_name(shard: u32) -> String {
    format!("shard-{shard}.peers.opaque.internal")
}
