//! Opaque's node: a stateless process that scans its shard under encryption, coordinates queries
//! for clients, and publishes new epochs of tables.
//!
//! **What.** Two gRPC listeners: `Query` for clients and `Shard` for peers, each with its own trust
//! domain. A query goes `query::service → query::coordinator → query::peers → shard::service →
//! shard::local → shard::served`, and back. Nothing durable lives here: epochs and keys are in the
//! store ([`opaque_store`]), agreement is in [`coordination`].
//!
//! **Why not one server.** A private lookup reads every byte of its index; memory bandwidth is what
//! it costs, and shards add it up.
//!
//! **Map.**
//! - [`config`], [`server`]: the command line, and a node put together;
//! - [`tls`], [`reading`]: who is at the other end of a connection, and files that may change;
//! - [`query`]: answering clients for the whole cluster;
//! - [`shard`]: answering for this node's shard;
//! - [`coordination`]: what nodes agree on, in files or in Kubernetes;
//! - [`lifecycle`]: loading generations, self-test, leading;
//! - [`map`]: who serves what;
//! - [`stream`], [`error`], [`metrics`]: the wire, and what is counted.
//!
//! **Privacy.** Work, sizes, logs and retries depend on public geometry alone; no secret of a
//! client ever reaches this crate, and `opaque-client` is banned from its dependencies.
#![forbid(unsafe_code)]

// SEAL contains a second copy of zstd. The crate that is named first is linked last, so that a
// program which links crate `zstd` beside this one uses that newer zstd everywhere, and the linker
// never mixes the two.
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
