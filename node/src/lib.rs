//! Skeleton.
pub mod coordination;
pub mod placement;
