//! What travels: queries, slices, partials and answers, each versioned, bounds-checked and of a
//! size that the geometry fixes.

mod reader;

pub use reader::{ReadError, Reader, write_varint};
