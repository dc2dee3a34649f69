//! Pages and buckets as bytes, where a page lives, and the whitening of a bucket.

/// Version of the layout; part of every `ParamsId`.
pub const VERSION: u8 = 1;

/// Public randomness of one epoch of a table, 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; 32]);
