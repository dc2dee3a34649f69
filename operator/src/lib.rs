//! Opaque's operator: reconciles OpaqueClusters and OpaqueTables.
//!
//! **What.** Both controllers take the same steps: observe, validate, build objects, apply, report.
//! Building and all decisions are pure functions. Writes are server-side applies. They are sent
//! only if something differs, so that an idle cluster causes no writes.
//!
//! **Map.**
//! - [`args`], [`run`]: the command line, and the wiring of the parts; only the holder of a Lease
//!   reconciles;
//! - [`claims`]: the Leases by which the operator acts on namespaces, and reports about waiting
//!   releases; `release`: the installation to which a process belongs;
//! - [`kube`]: the Kubernetes API for both controllers;
//! - `cluster`: the controller of OpaqueClusters; `certificates`: their certificates;
//! - `table`: the controller of OpaqueTables and of the tables in OpaqueShardMaps;
//! - `pod`: the common parts of all pods, and the overlay of `podTemplate`; `labels`: labels and
//!   owner references of all objects;
//! - [`metrics`], `error`, `text`, `duration`: basic helpers without further dependencies.
//!
//! **Limits.** There are no finalizers: owner references clean up. There is no admission webhook:
//! rules are CEL. The operator handles no query traffic and holds no secrets of clients.
#![forbid(unsafe_code)]

/// An object of the type that is expected, from its JSON.
#[cfg(test)]
macro_rules! object {
    ($json:tt) => {
        serde_json::from_value(serde_json::json!($json)).unwrap()
    };
}

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
