//! The encoding of pages and buckets, the bucket of a page, and the whitening of a bucket.
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
//! are BLAKE3's `derive_key` of salt and column, with a different context string for each
//! (`layout/keys.rs`).
//!
//! The encoding of a bucket's pages is unique, and [`decode_bucket`] refuses every other byte
//! string. A wrong byte (noise, a faulty server, another epoch's matrix) is therefore an error and
//! never a wrong row. The check has no secret: it detects faults, but does not authenticate the
//! publisher.
//!
//! A page does not contain its value. A reader compares the searched column of the page's first row
//! with the value, because a bucket also holds pages of other values.

mod bucket;
mod keys;

pub use bucket::{HEADER_BYTES, LayoutError, MAX_ROW_BYTES, Page, decode_bucket, encode_bucket};

pub(crate) use bucket::{BucketWriter, framed_row_bytes, page_bytes};
pub(crate) use keys::Keys;

use crate::seed::Salt;

/// The bucket, below `buckets`, that holds page `page` of a value: the first 8 bytes of keyed
/// BLAKE3(page, `search_key`), reduced modulo `buckets`.
///
/// `search_key` is [`Value::search_key`](crate::table::Value::search_key) of the column. The
/// result is as private as the value.
pub fn page_bucket(salt: &Salt, column: u32, search_key: &[u8], page: u32, buckets: u32) -> u32 {
    reduce(Keys::new(salt, column).page_hash(search_key, page), buckets)
}

/// Whitens a bucket, or removes the whitening: XOR with ChaCha20's keystream from its start.
/// `bytes` are the bucket's bytes from offset 0.
///
/// Why: the scan sums `D[r][k]·e[k]` over all buckets, and the noise bound of
/// [`params`](crate::params) needs E\[D²\] = 5461, that of a uniform byte. A table of bytes 0x80
/// would triple it. After whitening the bound holds for any table, even for one that an adversary
/// wrote, as long as the salt is drawn after the rows are known, which the publisher ensures.
/// Nothing here is secret: the salt is public.
///
/// Key: BLAKE3 of salt and column. Nonce: the bucket's number. Position: the offset. Any bucket can
/// therefore be read without the others.
pub fn mask(salt: &Salt, column: u32, bucket: u32, bytes: &mut [u8]) {
    Keys::new(salt, column).mask(bucket, bytes);
}

/// Reduces a page's hash to a bucket below `buckets`. The bias is below 2^-44.
pub(crate) fn reduce(hash: u64, buckets: u32) -> u32 {
    hash.checked_rem(u64::from(buckets)).and_then(|bucket| u32::try_from(bucket).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
