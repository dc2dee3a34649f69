//! Leader election by Leases of the Kubernetes API, for the operator and for nodes.
//!
//! **What.** An [`Election`] lets one of several processes lead; [`without_retries`] makes the API
//! client that it needs.
//!
//! **Why not a crate from the registry.** None of those for Leases works with kube 5, and none
//! compares and swaps, tells a fencing token and measures time on one monotonic clock alone.
#![forbid(unsafe_code)]

mod client;
mod election;

pub use client::without_retries;
pub use election::{
    Decision, Election, ElectionError, Held, Holder, Lead, Past, Policy, PolicyError, Record, View,
    decide,
};
