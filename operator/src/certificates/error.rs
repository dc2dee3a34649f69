//! Why certificates could not be planned.

use thiserror::Error;

/// Why certificates could not be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum CertificateError {
    /// A certificate or a revocation list could not be made.
    #[error("cannot make {what}: {source}")]
    Make {
        /// What was being made.
        what: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// The authority that was to sign has no usable key.
    #[error("an authority of the cluster has no usable key")]
    NoKey,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// A duration of the spec cannot be read.
    #[error("spec.tls.{field}: {value:?} is not a duration such as 2160h or 1h30m")]
    Duration {
        /// Its field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// What the spec says of a node cannot stand in a certificate.
    #[error("shard {shard} cannot be named in a certificate: {reason}")]
    Name {
        /// The shard.
        shard: i32,
        /// Why not.
        reason: String,
    },
}

impl CertificateError {
    pub(crate) fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |source| Self::Make { what, source }
    }
}
