//! Answers clients for the whole cluster: this node is the coordinator of a query.
//!
//! **Flow.** `service` receives a call that `access` has admitted. `coordinator` cuts the query
//! into one slice per shard, sends the slices through `peers`, retries at another replica after a
//! failure, and adds up the partial results.

pub mod access;
pub mod cluster;
pub mod coordinator;
pub mod description;
pub mod peers;
pub mod reach;
pub mod service;
