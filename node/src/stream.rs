//! Byte streams between nodes and clients: cut into messages, bounded in size, and not slower than they may be.

pub mod answers;
pub(crate) mod chunks;
pub(crate) mod pace;
pub(crate) mod rows;
