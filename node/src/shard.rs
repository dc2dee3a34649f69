//! Answers for this node's shard: its data in memory, and the computations on them.
//!
//! **Flow.** `service` receives a slice from a peer. `local` finds the generation, and `batch`
//! collects requests for a `pass` over the partitions and planes of a `served` index. `loader` puts
//! these into `memory`.

pub mod batch;
pub(crate) mod demand;
pub(crate) mod describe;
pub mod keys;
pub mod loader;
pub mod local;
pub mod memory;
pub mod pass;
pub mod pool;
pub mod registry;
pub mod replica;
pub mod served;
pub mod service;
