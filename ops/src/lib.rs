//! Operational functions of Opaque's servers: health, metrics and draining.
//!
//! **What.** [`admin`] reports health to the kubelet and metrics to Prometheus. [`drain`] defines how
//! long a node may take to stop. [`listen`](fn@listen) opens a port for IPv4 and IPv6.
#![forbid(unsafe_code)]

pub mod admin;
pub mod drain;
mod listen;

pub use listen::listen;
