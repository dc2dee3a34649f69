//! Leader election by Leases of the Kubernetes API, for the operator and for nodes.
//!
//! **What.** An [`Election`] lets one of several processes lead; [`without_retries`] makes the API
//! client that it needs.
//!
//! **Why not an existing crate.** Among the published crates for Leases, none works with kube 5,
//! and none offers all of: compare-and-swap writes, a fencing token, and time measured only on one
//! monotonic clock.
#![forbid(unsafe_code)]

mod client;
mod election;

pub use client::without_retries;
pub use election::{
    Decision, Election, ElectionError, Held, Holder, Lead, Past, Policy, PolicyError, Record, View,
    decide,
};
