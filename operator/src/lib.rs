//! Opaque's operator: it makes the cluster true that an `OpaqueCluster` describes, and the epochs that an
//! `OpaqueTable` describes.
//!
//! **What.** Controllers that observe → validate → build → apply → report. Build and every decision are pure
//! functions; writes are server-side applies, sent only if something differs, so that a quiet
//! cluster costs no write.
//!
//! **Why own plumbing around `kube::runtime`.** Two controllers look at the same objects. Watching each kind
//! once, as untyped objects, halves the watches, lets one bad object be reported
//! instead of breaking a watch, and gives applies the live object to compare with. Of `kube::runtime` it uses watches, stores and
//! the scheduler.
//!
//! **Map.**
//! - [`args`], [`run`]: command line, and how the parts are wired: only the holder of a Lease reconciles;
//! - [`claims`]: on which namespaces it acts, and who waits; [`release`]: whose operator it is;
//! - [`observe`]: one watch of each kind, and what it tells the controllers;
//! - [`controller`]: runs a reconciler: time limit, backoff, metrics;
//! - [`context`], [`error`], [`backoff`], [`events`], [`metrics`]: what all reconcilers share;
//! - , [`status`]: writing objects and status, only if needed;
//! - [`secrets`]: Secrets of people, read by name and seldom;
//! - `refused`: why the API server refused a pod;
//! - [`labels`]: labels and owner references of what is made;
//! - [`pod`]: what all pods have in common, and the overlay of `podTemplate`;
//! - [`cluster`]: the controller of OpaqueClusters; [`certificates`]: their certificates;
//! - [`table`]: the controller of OpaqueTables.
//!
//! **Limits.** No finalizers: owner references clean up. No admission webhook: rules are CEL. It holds no
//! query traffic, and no secret of a client.
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
