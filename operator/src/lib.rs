//! Opaque's operator: reconciles OpaqueClusters and OpaqueTables.
//!
//! **What.** Two controllers take the same steps: observe, validate, build objects, apply, report.
//! Building and every decision are pure functions. Writes are server-side applies, sent only if
//! something differs, so that a quiet cluster costs no write.
//!
//! **Map.**
//! - [`args`], [`run`]: command line, and how the parts are wired: only the holder of a Lease
//!   reconciles;
//! - [`claims`]: by which Leases it acts on namespaces, and who waits; `release`: whose operator it
//!   is;
//! - [`kube`]: what both controllers need of the Kubernetes API;
//! - `cluster`: the controller of OpaqueClusters; `certificates`: their certificates;
//! - `table`: the controller of OpaqueTables and of the tables in OpaqueShardMaps;
//! - `pod`: what all pods have in common, and the overlay of `podTemplate`; `labels`: labels and
//!   owner references of all objects;
//! - [`metrics`], `error`, `text`, `duration`: the ground floor.
//!
//! **Limits.** No finalizers: owner references clean up. No admission webhook: rules are CEL. It
//! holds no query traffic, and no secret of a client.
#![forbid(unsafe_code)]

pub mod args;
mod certificates;
pub mod claims;
mod cluster;
mod duration;
mod error;
#[cfg(test)]
mod golden;
pub mod kube;
mod labels;
pub mod metrics;
mod pod;
mod release;
pub mod run;
mod table;
mod text;

pub use error::{Category, Error};
