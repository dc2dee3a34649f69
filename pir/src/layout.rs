//! Pages and buckets as bytes, where a page lives, and the whitening of a bucket.
//!
//! ```text
//! bucket = version u8, pages u16, used u16, check 8 bytes    all little endian, 13 bytes
//!          pages, `used` bytes in all
//!          zeros up to R
//! page   = kind u8: 0 plain (1 is reserved for pages sealed under a key of their value)
//!          varint length of what follows
//!          varint rows of the value in the whole table
//!          varint page number, from 0
//!          varint rows of this page, at least 1
//!          rows, in load order: varint position in the load, varint length, bytes of the row codec
//! check  = first 8 bytes of keyed BLAKE3(bucket number, version, pages, used, pages' bytes)
//! ```
//!
//! Numbers are hashed as 4 bytes, little endian. The keys of the hash, the check and the keystream
//! are BLAKE3's `derive_key` of salt and column, under one context string each (`layout/keys.rs`).
//!
//! There is one encoding of a bucket's pages, and [`decode_bucket`] refuses every other: a byte
//! that came out wrong (noise, a faulty server, another epoch's matrix) is an error and never a
//! wrong row. The check has no secret: it detects faults, it does not authenticate the publisher.
//!
//! A page carries no value. Whoever looks one up compares the searched column of the page's first
//! row with it, since a bucket holds other values' pages too.

mod bucket;
mod keys;

pub use bucket::{HEADER_BYTES, LayoutError, MAX_ROW_BYTES, Page, decode_bucket, encode_bucket};

pub(crate) use bucket::{BucketWriter, framed_row_bytes, page_bytes};
pub(crate) use keys::Keys;

use crate::seed::Salt;

/// The bucket, below `buckets`, where page `page` of a value lives:
/// the first 8 bytes of keyed BLAKE3(page, `search_key`), reduced modulo `buckets`.
///
/// `search_key` is [`Value::search_key`](crate::table::Value::search_key) of the column. The
/// result is as private as the value.
pub fn page_bucket(salt: &Salt, column: u32, search_key: &[u8], page: u32, buckets: u32) -> u32 {
    reduce(Keys::new(salt, column).page_hash(search_key, page), buckets)
}

/// Whitens a bucket, or takes the whitening off: XOR with ChaCha20's keystream, from its start.
/// `bytes` are the bucket's bytes from offset 0.
///
/// Why: the scan adds up `D[r][k]·e[k]` over all buckets, and the noise bound of
/// [`params`](crate::params) needs E\[D²\] = 5461, a uniform byte's. A table of bytes 0x80 would
/// triple that. After whitening the bound holds for any table, also for one that an adversary
/// wrote, as long as the salt is drawn after the rows are known; the publisher draws it then.
/// Nothing here is secret: the salt is public.
///
/// Key: BLAKE3 of salt and column. Nonce: the bucket's number, and position: the offset, so that
/// any bucket can be read without another.
pub fn mask(salt: &Salt, column: u32, bucket: u32, bytes: &mut [u8]) {
    Keys::new(salt, column).mask(bucket, bytes);
}

/// A page's hash to a bucket below `buckets`. The bias is below 2^-44.
pub(crate) fn reduce(hash: u64, buckets: u32) -> u32 {
    hash.checked_rem(u64::from(buckets)).and_then(|bucket| u32::try_from(bucket).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
