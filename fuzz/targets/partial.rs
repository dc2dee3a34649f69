//! A partial is read as it would be written, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{expand, geometry};
use opaque_pir::codec::{Partial, partial_max_bytes};

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    for (lookups, probe) in [(1, false), (2, false), (4, true)] {
        if let Ok(partial) = Partial::decode(&bytes, &geometry, lookups, probe) {
            assert!(bytes.len() <= partial_max_bytes(&geometry, lookups));
            assert_eq!(partial.encode(&geometry).expect("a partial"), bytes);
        }
    }
});
