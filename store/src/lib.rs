//! Epochs and evaluation keys in an object store, and how an epoch is built.
//!
//! ```text
//! tables/<table>/epochs/<epoch, 20 digits>/claim.json
//!                                         /index-<column>/partition-<j, 6 digits>
//!                                         /index-<column>/plane-<i>
//!                                         /manifest.json
//! keys/<digest in hexadecimal>
//! ```
//!
//! **Epochs are immutable.** A writer takes the next number by creating `claim.json`, which only
//! one of several writers can. It then creates the segments, and finally `manifest.json`, which
//! names every segment with its digest. An epoch without a manifest is invisible to readers. An
//! epoch that is given up gets a *tombstone* in place of its manifest. Objects are only ever
//! created, never replaced, so a writer that was merely slow can no longer publish an epoch whose
//! segments were removed, and the number is never used again.
//!
//! **Reads verify everything.** Marker, version, size, checksum and the manifest's digest are
//! checked before a byte is used. Errors name the object and what is wrong with it.
//!
//! **Map.** From the ground up:
//! - [`error`], `digest`, `time`: why a store fails, digests in text, points in time;
//! - [`egress`]: which servers requests for a table's source may reach;
//! - `bucket`, `credentials`, `live`: a location in a bucket, and credentials that change during
//!   use;
//! - `store`: objects as bytes, on any backend; `leftovers`: half-written files of a local store;
//! - `names`, `segment`, `manifest`, `claim`: the stored formats;
//! - `epochs`, `cleanup`, `writer`: reading, removing and writing an epoch;
//! - [`prepare`]: from rows to a published epoch;
//! - `keys`: evaluation keys.
//!
//! **Limits.** This crate links neither SEAL nor the client, so that a prepare Job has neither.
#![forbid(unsafe_code)]

mod bucket;
mod claim;
mod cleanup;
mod credentials;
mod digest;
pub mod egress;
mod epochs;
pub mod error;
mod keys;
mod leftovers;
mod live;
mod manifest;
mod names;
pub mod prepare;
mod segment;
mod store;
mod time;
mod writer;

pub use bucket::{Location, Settings, SignedBy, SourceSettings};
pub use claim::Writer;
pub use credentials::Credentials;
pub use digest::{Digest, DigestError};
pub use error::StoreError;
pub use manifest::{IndexManifest, MAX_BYTES as MAX_MANIFEST_BYTES, Manifest, SegmentRef};
pub use store::Store;
pub use time::UnixMillis;
pub use writer::EpochWriter;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]
mod tests;
