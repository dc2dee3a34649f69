//! Certificates of a cluster: authorities, what they sign, what is trusted and what is revoked.
//!
//! **What.** From the spec, the Secrets that are there, what nodes report and the time, `plan`
//! decides which Secrets to write and what the trust ConfigMap says. Every pass plans anew: there
//! is no state beside the objects themselves, so a crash between two writes, a deleted Secret and
//! an operator that was away until everything expired are ordinary cases.
//!
//! **Why not cert-manager alone.** A cluster must start without anything else installed, and
//! cert-manager writes neither the node extension nor revocation lists, and changes authorities
//! without asking whether nodes trust the new one. With `spec.tls.issuerRef` it signs all the same.
//!
//! **Map.** `reconcile` observes (`observe`, `members`), plans and writes (`write`). `plan` hands
//! over to `own_issuer`, for the cluster's own authorities, or to `external_issuer`, for an issuer
//! of cert-manager; `model` has the types. `authorities` is the change of authorities, `authority`
//! one of them; `leaf` what a certificate says; `revocation` the lists; `schedule` the times;
//! `x509` reads; `entropy` is randomness as an argument. `cert_manager` speaks of cert-manager's
//! kind. Only it, `observe` and `write` know the API.
//!
//! **Limits.** Private keys are in Secrets alone: types that hold one have no `Debug`.

mod authorities;
mod authority;
mod cert_manager;
mod entropy;
mod error;
mod external_issuer;
mod leaf;
mod members;
mod model;
mod observe;
mod own_issuer;
mod plan;
mod reconcile;
mod revocation;
mod schedule;
#[cfg(test)]
mod tests;
mod write;
mod x509;

pub(crate) use cert_manager::is_of_cert_manager;
pub(crate) use reconcile::{CertificateRequest, CertificateState, reconcile};
