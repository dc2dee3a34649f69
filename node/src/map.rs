//! Placement: which shard has which partitions and planes, and the calls that follow from it.

pub mod assignment;
pub mod call;
pub mod placement;
