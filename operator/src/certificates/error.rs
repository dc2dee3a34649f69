//! Why certificates could not be planned.

use thiserror::Error;

/// Why certificates could not be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum CertificateError {
    /// A certificate or a revocation list could not be created.
    #[error("cannot make {what}: {source}")]
    Make {
        /// The object that was being created.
        what: &'static str,
        /// The cause.
        source: rcgen::Error,
    },
    /// The signing authority has no usable key.
    #[error("an authority of the cluster has no usable key")]
    NoKey,
    /// The operating system returned no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// A duration in the spec is invalid.
    #[error("spec.tls.{field}: {value:?} is not a duration such as 2160h or 1h30m")]
    Duration {
        /// The field.
        field: &'static str,
        /// The field's value.
        value: String,
    },
    /// The spec's values for a node are not valid in a certificate.
    #[error("shard {shard} cannot be named in a certificate: {reason}")]
    Name {
        /// The shard.
        shard: i32,
        /// The cause.
        reason: String,
    },
}

impl CertificateError {
    pub(crate) fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |source| Self::Make { what, source }
    }
}
