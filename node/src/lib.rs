//! Skeleton.
pub mod coordination;
pub mod keys;
pub mod placement;
pub mod prepare;
pub mod store;
