//! A cluster's certificates: its authorities, the certificates that they sign, the trust bundle,
//! and revocation.
//!
//! **What.** `plan` decides which Secrets to write and what the trust ConfigMap contains. Its
//! inputs are the spec, the existing Secrets, the reports of nodes, and the time. Every pass plans
//! from scratch, and there is no state except the objects. A crash between two writes, a deleted
//! Secret, and an operator that was down until everything expired are therefore ordinary cases.
//!
//! **Why not only cert-manager.** A cluster must start without other software. cert-manager writes
//! neither the node extension nor revocation lists, and it replaces authorities without checking
//! that nodes trust the new one. With `spec.tls.issuerRef` it can still sign.
//!
//! **Map.** `reconcile` observes (`observe`, `members`), plans and writes (`write`). `plan`
//! delegates to `own_issuer` for the cluster's own authorities, or to `external_issuer` for an
//! issuer of cert-manager. `model` has the types. `authorities` replaces authorities, and
//! `authority` is one of them. `leaf` is the content of a certificate; `revocation` the revocation
//! lists; `schedule` the times; `x509` parses; `entropy` is randomness as an argument.
//! `cert_manager` knows cert-manager's kind. Only `cert_manager`, `observe` and `write` use the
//! API.
//!
//! **Limits.** Private keys are only in Secrets. Types that hold one have no `Debug`.

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
