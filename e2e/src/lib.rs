//! Tests of Opaque against a real Kubernetes.
//!
//! **What.** [`ControlPlane`] is etcd and kube-apiserver on loopback, in a separate folder: enough
//! for everything that needs no pods. It is ready within seconds, several can run concurrently, and
//! nothing is left when it is dropped or its process dies. [`Cluster`] is a whole Kubernetes with a
//! node, in separate namespaces. `make e2e` runs `tests/kubernetes` with one.
//!
//! **Why not a fake API server.** CEL rules, structural schemas, server-side apply and printer
//! columns are implemented by the API server. Only that code shows whether it accepts our objects.
//!
//! **Map.**
//! - [`control_plane`], [`cluster`]: start and stop servers;
//! - [`harness`]: helpers for tests in a cluster;
//! - [`image`]: container images without an engine;
//! - [`process`], [`processes`]: a server that dies with the test, and the processes of this
//!   machine;
//! - [`command`], [`poll`]: programs run until they end, and waiting with a limit;
//! - [`authority`], [`schemas`]: certificates, and JSON schemas of the kinds that a server
//!   publishes;
//! - [`cache`]: where `scripts/setup.sh --kubernetes` puts binaries.
//!
//! Programs: `e2e-cluster` runs a command with a cluster, `e2e-images` writes images, and `e2e-pod`
//! runs in the harness' pods.
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
