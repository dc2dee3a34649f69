//! Answering clients for the whole cluster: this node as the coordinator of a query.
//!
//! **Flow.** `service` takes a call that `access` allows; `coordinator` cuts the query into a slice for each shard, sends them
//! through `peers`, tries another replica where one fails, and adds up what comes back.

pub mod access;
pub mod cluster;
pub mod coordinator;
pub mod description;
pub mod peers;
pub mod reach;
pub mod service;
