//! A query is either refused, or every part of it can be read and sliced.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{EPOCH, expand, geometry};
use opaque_pir::codec::{LOOKUPS_PER_MESSAGE, QueryView, Slice, query_bytes, slice};

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    let Ok(query) = QueryView::decode(&bytes, &geometry, EPOCH) else { return };
    assert!((1..=LOOKUPS_PER_MESSAGE).contains(&query.lookups()));
    let kind = query.material().kind();
    assert_eq!(query_bytes(&geometry, kind, query.lookups()), bytes.len());
    for partitions in [&[0, 1][..], &[1], &[]] {
        for with_secret in [false, true] {
            let bytes = slice(&query, partitions, with_secret).expect("parts of the geometry");
            let slice = Slice::decode(&bytes, &geometry, EPOCH).expect("a slice of a query");
            assert_eq!(slice.partitions(), partitions);
            for lookup in 0..query.lookups() {
                let words = slice.lwe(lookup).expect("a client's words");
                let blocks = partitions
                    .iter()
                    .map(|partition| query.lwe_partition(lookup, *partition).expect("a block"));
                assert_eq!(words, blocks.collect::<Vec<_>>().concat());
                let secret = query.encrypted_secret(lookup).filter(|_| with_secret);
                assert_eq!(slice.encrypted_secret(lookup), secret);
            }
        }
    }
});
