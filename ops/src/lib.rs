//! What Opaque's servers need to be operated: health, metrics, draining.
//!
//! **What.** [`admin`] tells a kubelet and a Prometheus how a process is; [`drain`] says how long a
//! node takes to end; [`listen`](fn@listen) opens a port for IPv4 and IPv6.
#![forbid(unsafe_code)]

pub mod admin;
pub mod drain;
mod listen;

pub use listen::listen;
