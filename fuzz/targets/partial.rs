//! A partial is either refused, or encoding what was read gives the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{expand, geometry};
use opaque_pir::codec::{Kind, Partial, partial_max_bytes};

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    let inline = Kind::Inline;
    let registered = Kind::Registered;
    for (lookups, kind) in [(1, registered), (2, registered), (2, inline), (4, Kind::Probe)] {
        if let Ok(partial) = Partial::decode(&bytes, &geometry, lookups, kind) {
            assert!(bytes.len() <= partial_max_bytes(&geometry, lookups));
            assert_eq!(partial.encode(&geometry).expect("a partial"), bytes);
        }
    }
});
