//! Opaque's node: a stateless process that scans its shard under encryption, coordinates queries
//! for clients, and publishes new epochs of tables.
//!
//! **What.** Two gRPC listeners: `Query` for clients and `Shard` for peers, each with its own trust
//! domain. A query goes `query::service → query::coordinator → query::peers → shard::service →
//! shard::local → shard::served`, and back. The node stores nothing durable: epochs and keys are in
//! the store ([`opaque_store`]), and agreement is in [`coordination`].
//!
//! **Why not one server.** A private lookup reads every byte of its index, so memory bandwidth
//! limits throughput. Shards add up their bandwidth.
//!
//! **Map.**
//! - [`config`], [`server`]: the command line, and how a node is assembled;
//! - [`tls`], [`reading`]: identities of clients and peers, and files that may change;
//! - [`query`]: answers clients for the whole cluster;
//! - [`shard`]: answers peers for this node's shard;
//! - [`coordination`]: the state that nodes agree on, in files or in Kubernetes;
//! - [`lifecycle`]: loads generations, runs the self-test, leads;
//! - [`map`]: which shard serves which partitions;
//! - [`stream`], [`error`], [`metrics`]: byte streams, errors, and counters.
//!
//! **Privacy.** Work, sizes, logs and retries depend only on public geometry. Secrets of clients
//! never reach this crate, and `opaque-client` is banned from its dependencies.
#![forbid(unsafe_code)]

// SEAL contains a second copy of zstd. The crate that is named first is linked last, so that a
// program which links crate `zstd` in addition to this one uses that newer zstd everywhere, and the
// linker never mixes the two.
use opaque_seal as _;

pub mod config;
pub mod coordination;
pub mod error;
pub mod lifecycle;
pub mod map;
pub mod metrics;
pub mod query;
pub mod reading;
pub mod server;
pub mod shard;
pub mod stream;
pub mod tls;

#[cfg(test)]
mod support;
