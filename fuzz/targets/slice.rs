//! A slice is either refused, or every part of it can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{EPOCH, expand, geometry};
use opaque_pir::codec::{Kind, Slice, slice_max_bytes};
use opaque_pir::params::PARTITION_BUCKETS;

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    let Ok(slice) = Slice::decode(&bytes, &geometry, EPOCH) else { return };
    assert!(bytes.len() <= slice_max_bytes(&geometry, slice.lookups()));
    assert!(slice.partitions().is_sorted_by(|a, b| a < b));
    assert!(slice.partitions().iter().all(|partition| *partition < geometry.partitions()));
    // A self-test sends neither LWE words nor secrets.
    let kind = slice.material().kind();
    let client = kind != Kind::Probe;
    for lookup in 0..slice.lookups() {
        let words = client.then(|| slice.partitions().len() * PARTITION_BUCKETS);
        assert_eq!(slice.lwe(lookup).map(<[u32]>::len), words);
        let secret = (client && slice.with_hint()).then(|| kind.secret_bytes());
        assert_eq!(slice.encrypted_secret(lookup).map(<[u8]>::len), secret);
    }
});
