//! The keys that are derived from the salt for one index: a hash for pages, a check for buckets,
//! and a keystream for whitening.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

use super::Salt;

/// Public keys of one index, derived once for many pages and buckets.
#[derive(Clone)]
pub(crate) struct Keys {
    page: [u8; 32],
    check: [u8; 32],
    mask: [u8; 32],
}

impl Keys {
    pub(crate) fn new(salt: &Salt, column: u32) -> Self {
        let derive = |context| {
            let mut hash = blake3::Hasher::new_derive_key(context);
            hash.update(&salt.0);
            hash.update(&column.to_le_bytes());
            *hash.finalize().as_bytes()
        };
        Self {
            page: derive("opaque 2026-11 page bucket"),
            check: derive("opaque 2026-11 bucket check"),
            mask: derive("opaque 2026-11 whitening"),
        }
    }

    /// The hash of a page, uniform over u64. The page number has a fixed width, so different pairs
    /// of page and value never hash the same bytes.
    pub(crate) fn page_hash(&self, search_key: &[u8], page: u32) -> u64 {
        let mut hash = blake3::Hasher::new_keyed(&self.page);
        hash.update(&page.to_le_bytes());
        hash.update(search_key);
        u64::from_le_bytes(first_eight(hash.finalize()))
    }

    /// The check of a bucket, from the bytes before and after it.
    pub(super) fn check(&self, bucket: u32, head: &[u8], content: &[u8]) -> [u8; 8] {
        let mut hash = blake3::Hasher::new_keyed(&self.check);
        hash.update(&bucket.to_le_bytes());
        hash.update(head);
        hash.update(content);
        first_eight(hash.finalize())
    }

    /// See [`super::mask`].
    pub(crate) fn mask(&self, bucket: u32, bytes: &mut [u8]) {
        let [a, b, c, d] = bucket.to_le_bytes();
        let nonce = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
        ChaCha20::new(&self.mask.into(), &nonce.into()).apply_keystream(bytes);
    }
}

fn first_eight(hash: blake3::Hash) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h]
}
