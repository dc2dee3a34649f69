//! Certificates of a cluster: authorities, what they sign, what is trusted and what is revoked.
//!
//! **What.** From the spec, the Secrets that are there, what nodes report and the time, `plan`
//! decides which Secrets to write and what the trust ConfigMap says. Every pass plans anew: there is
//! no state beside the objects themselves, so a crash between two writes, a deleted Secret and an
//! operator that was away until everything expired are ordinary cases.
//!
//! **Why not cert-manager alone.** A cluster must start without anything else installed, and
//! cert-manager writes neither the node extension nor revocation lists, and changes authorities without asking
//! whether nodes trust the new one. With `spec.tls.issuerRef` it signs all the same.
//!
//! **Map.** `plan` has the types; `own` plans for the cluster's own authorities, `foreign` for cert-manager;
//! `authorities` is the change of authorities, `authority` one of them; `leaf` what a certificate says;
//! `revocation` the lists; `schedule` the times; `x509` reads; `entropy` is randomness as an argument.
//! `shell` observes and writes, `issuance` speaks of cert-manager's kind: only these two know the API.
//!
//! **Limits.** Private keys are in Secrets alone: types that hold one have no `Debug`.

mod authorities;
mod authority;
mod entropy;
mod error;
mod foreign;
mod issuance;
mod leaf;
mod members;
mod own;
mod plan;
mod revocation;
mod schedule;
mod shell;
#[cfg(test)]
mod tests;
mod x509;

pub use error::CertificateError;
pub(crate) use issuance::is_of_cert_manager;
pub use plan::{ROTATE, digest as trust_digest};
pub(crate) use schedule::duration;
pub use shell::{CertificateRequest, CertificateState, reconcile};
