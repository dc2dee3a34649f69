//! Who a node is: the URI in its certificate, and the extension that says what it may do.
//!
//! Issuers of certificates (`opaque dev`, the operator) write both with this crate, and nodes
//! read them with it. A certificate of an issuer that cannot write the extension (cert-manager)
//! carries the URI alone: [`Identity::from_certificate`] then grants what a node needs.
//!
//! **Why an extension beside the URI?** A URI names; the extension limits. A certificate may be
//! issued that evaluates but does not coordinate, or that covers a part of the ring alone. It is
//! never critical: TLS libraries refuse unknown critical extensions, and a node that ignored it
//! would still be held to its URI.
//!
//! **Map.** [`ShardUri`] is the name; [`Extension`] the limits, with [`Capabilities`],
//! [`TokenRange`] and [`Role`]; [`Identity`] is both, read from a certificate; [`Leaf`] reads what
//! else of a certificate nodes and operator need.
//!
//! **Limits.** Nothing here verifies a signature: read certificates only after their chain holds.
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

/// The DNS name in the certificate of every replica of a shard, by which peers dial it.
pub fn shard_name(shard: u32) -> String {
    format!("shard-{shard}.peers.opaque.internal")
}
