//! The messages: queries, slices, partials and answers. Each is versioned and bounds-checked, and
//! has a size that the geometry determines.
//!
//! Every message starts with a marker byte, a version byte, the 32-byte [`ParamsId`] of its index
//! and [`Kind`], and the epoch (8 bytes). All numbers are little endian. Decoding reads every byte,
//! never panics, and refuses anything that no encoder writes. Errors contain only header fields,
//! and no content of a query.
//!
//! | message | from → to | content after the header |
//! |---|---|---|
//! | [`QueryView`] | client → coordinator | lookups, material, per lookup C numbers of [`Rounding::bucket_bits`] each and the encrypted secret |
//! | [`Slice`] | coordinator → shard | lookups, material, partitions, per lookup their numbers and, for owners of planes, the secret |
//! | [`Partial`] | shard → coordinator | generation, lookups, partitions, sums of R words, with inline keys less the hint products of some planes, otherwise those products |
//! | [`AnswerView`] | coordinator → client | lookups, per lookup and plane a [`Share`]: sums modulo t and the hint product, or [`Rounding::row_bits`] of both in one |
//!
//! [`ParamsId`]: crate::params::ParamsId
//! [`Rounding::bucket_bits`]: crate::geometry::Rounding::bucket_bits
//! [`Rounding::row_bits`]: crate::geometry::Rounding::row_bits

mod answer;
mod combine;
mod error;
mod header;
mod kind;
mod partial;
mod query;
mod slice;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;
mod words;

pub use answer::{AnswerView, Share, answer_bytes, recover_byte};
pub use combine::{CombineError, Combiner};
pub use error::CodecError;
pub use header::{KeyDigest, Material};
pub use kind::Kind;
pub use partial::{Partial, partial_bytes, partial_max_bytes};
pub use query::{QueryView, QueryWriter, query_bytes};
pub use slice::{Slice, SliceMaterial, probe_slice, slice, slice_bytes, slice_max_bytes};

/// Maximum lookups of one query.
pub const LOOKUPS_PER_MESSAGE: u16 = 64;
