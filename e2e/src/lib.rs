//! Tests of Opaque against a real Kubernetes.
//!
//! **What.** [`ControlPlane`] is etcd and kube-apiserver on loopback, in a folder of its own: enough
//! for everything that needs no pods. It is ready in seconds, several run side by side, and nothing is
//! left of one when it is dropped or its process dies.
//!
//! **Why not a fake API server.** Rules in CEL, structural schemas, server-side apply and printer
//! columns are code of the API server; only that code tells whether it takes ours.
//!
//! **Map.** [`control_plane`] starts and stops; [`process`] is a server that dies with us;
//! [`authority`] makes certificates; [`cache`] knows where `scripts/setup.sh --kubernetes` puts binaries.
#![forbid(unsafe_code)]

pub mod authority;
pub mod cache;
pub mod control_plane;
pub mod process;

pub use control_plane::ControlPlane;
