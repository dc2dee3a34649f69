//! Operational functions of Opaque's servers: elections, health and metrics.
//!
//! **What.** [`election`] elects one of several processes as the leader, by a Lease of the
//! Kubernetes API. [`admin`] reports health to the kubelet and metrics to Prometheus. [`api`]
//! creates clients of the Kubernetes API. [`drain`] defines how long a node may take to stop.
//! [`listen`] opens a port for IPv4 and IPv6.
//!
//! **Why not an existing crate.** Among the published crates for Leases, none works with kube 5,
//! and none offers all of: compare-and-swap writes, a fencing token, and time measured only on one
//! monotonic clock.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod drain;
pub mod election;
mod listen;

pub use listen::listen;
