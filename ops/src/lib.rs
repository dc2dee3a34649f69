//! What Opaque's servers need to be operated: elections, health, metrics.
//!
//! **What.** [`election`] lets one of several processes lead, by a Lease of the Kubernetes API;
//! [`admin`] tells a kubelet and a Prometheus how a process is; [`api`] makes clients of that API;
//! [`drain`] says how long a node takes to end; [`listen`] opens a port for IPv4 and IPv6.
//!
//! **Why not a crate from the registry.** None of those for Leases works with kube 5, and none
//! compares and swaps, tells a fencing token and measures time on one monotonic clock alone.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod drain;
pub mod election;
mod listen;

pub use listen::listen;
