//! Tests of Opaque against a real Kubernetes.
//!
//! **What.** [`ControlPlane`] is etcd and kube-apiserver on loopback, in a folder of its own: enough
//! for everything that needs no pods. It is ready in seconds, several run side by side, and nothing is
//! left of one when it is dropped or its process dies. [`Cluster`] is a whole Kubernetes with a node, in
//! namespaces of its own; `make e2e` runs `tests/kubernetes` with one.
//!
//! **Why not a fake API server.** Rules in CEL, structural schemas, server-side apply and printer
//! columns are code of the API server; only that code tells whether it takes ours.
//!
//! **Map.** [`control_plane`] and [`cluster`] start and stop; [`harness`] is what tests in a cluster
//! use; [`image`] makes container images without an engine; [`process`] is a server that dies with us,
//! [`processes`] what runs, [`command`] a program run to its end, [`poll`] waiting with a limit;
//! [`authority`] makes certificates; [`schemas`] makes JSON schemas of what a server publishes; [`cache`]
//! knows where `scripts/setup.sh --kubernetes` puts binaries. Programs: `e2e-cluster` runs a command with
//! a cluster, `e2e-images` writes images, `e2e-pod` is what the harness' own pods run.
#![forbid(unsafe_code)]

pub mod authority;
pub mod cache;
pub mod cluster;
pub mod command;
pub mod control_plane;
pub mod harness;
pub mod image;
pub mod poll;
pub mod process;
pub mod processes;
pub mod schemas;

pub use cluster::Cluster;
pub use control_plane::ControlPlane;
