//! Who serves what: placement of partitions and planes on shards, and the calls that follow it.

pub mod assignment;
pub mod call;
pub mod placement;
