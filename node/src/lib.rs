//! Skeleton.
pub mod coordination;
pub mod placement;
pub mod store;
