//! A bucket is either refused, or encoding what was read gives the same bytes. This also covers
//! inputs with a valid check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{BUCKET, COLUMN, SALT, expand};
use opaque_pir::layout::{decode_bucket, encode_bucket};

fuzz_target!(|input: &[u8]| {
    let mut bytes = expand(input);
    read(&bytes);
    seal(&mut bytes);
    read(&bytes);
});

fn read(bytes: &[u8]) {
    if let Ok(pages) = decode_bucket(&SALT, COLUMN, BUCKET, bytes) {
        let again = encode_bucket(&SALT, COLUMN, BUCKET, bytes.len(), &pages);
        assert_eq!(again.expect("pages of a bucket"), bytes);
    }
}

/// Inserts the valid check for the remaining bytes, which a fuzzer would never find.
fn seal(bytes: &mut [u8]) {
    let Some((head, rest)) = bytes.split_at_mut_checked(5) else { return };
    let used = usize::from(u16::from_le_bytes([head[3], head[4]]));
    let Some((check, rest)) = rest.split_at_mut_checked(8) else { return };
    let Some(content) = rest.get(..used) else { return };
    let mut key = blake3::Hasher::new_derive_key("opaque 2026-11 bucket check");
    key.update(&SALT.0).update(&COLUMN.to_le_bytes());
    let mut hash = blake3::Hasher::new_keyed(key.finalize().as_bytes());
    hash.update(&BUCKET.to_le_bytes()).update(head).update(content);
    check.copy_from_slice(&hash.finalize().as_bytes()[..8]);
}
