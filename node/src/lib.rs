//! Opaque's node: a stateless process that scans its shard under encryption, coordinates queries
//! for clients, and publishes new epochs of tables.
//!
//! **What.** Two gRPC listeners: `Query` for clients and `Shard` for peers, each with a trust domain
//! of its own. A query goes `service::query → coordinator → peers → service::shard → local → served`,
//! and back. Nothing durable lives here: epochs and keys are in the [`store`], agreement is in
//! [`coordination`].
//!
//! **Why not one server.** A private lookup reads every byte of its index; memory bandwidth is what
//! it costs, and shards add it up.
//!
//! **Map.**
//! - [`config`], [`server`]: the command line, and a node put together;
//! - [`tls`], [`access`], [`reading`]: who is at the other end of a connection, and who may call;
//! - [`answers`], `pace`, `demand`: how slowly a request may come and an answer go, and what they hold;
//! - [`service`], [`description`], [`error`]: the wire;
//! - [`cluster`], [`coordinator`], [`call`], [`peers`]: answering for the whole cluster;
//! - [`local`], [`served`], [`batch`], [`pass`], [`registry`], [`pool`]: answering for this shard;
//! - [`memory`]: what is admitted to memory;
//! - [`lifecycle`], [`loader`], [`replica`], [`coordination`]: loading generations, self-test,
//!   leading;
//! - [`reach`]: whether this node reaches every shard, and when clients had better ask another;
//! - [`metrics`]: what is counted;
//! - [`placement`], [`assignment`]: who serves what;
//! - [`store`], [`prepare`], [`keys`]: epochs and evaluation keys;
//! - [`job`]: `opaque-prepare`, the program of a prepare Job; `egress`: which servers its source may be at.
//!
//! **Privacy.** Work, sizes, logs and retries depend on public geometry alone; no secret of a client
//! ever reaches this crate, and `opaque-client` is banned from its dependencies.
#![forbid(unsafe_code)]

pub mod access;
pub mod answers;
pub mod assignment;
pub mod batch;
pub mod call;
mod chunks;
pub mod cluster;
pub mod config;
pub mod coordination;
pub mod coordinator;
mod demand;
pub mod description;
mod egress;
pub mod error;
pub mod job;
pub mod keys;
pub mod lifecycle;
pub mod loader;
pub mod local;
pub mod memory;
pub mod metrics;
mod pace;
pub mod pass;
pub mod peers;
pub mod placement;
pub mod pool;
pub mod prepare;
pub mod reach;
pub mod reading;
pub mod registry;
pub mod replica;
pub mod served;
pub mod server;
pub mod service;
pub mod store;
pub mod tls;
