//! Byte streams between nodes and clients: cut into messages, with bounds on their size and a
//! minimum pace.

pub mod answers;
pub(crate) mod chunks;
pub(crate) mod pace;
pub(crate) mod rows;
