//! An answer is refused, or every part of it can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{EPOCH, expand, geometry};
use opaque_pir::codec::{AnswerView, answer_bytes};
use opaque_pir::params::{PLAINTEXT_MODULUS, PLANE_CIPHERTEXT_BYTES, PLANE_ROWS};

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    for lookups in [1, 2] {
        let Ok(answer) = AnswerView::decode(&bytes, &geometry, EPOCH, lookups) else { continue };
        assert_eq!(bytes.len(), answer_bytes(&geometry, lookups));
        for lookup in 0..lookups {
            for plane in 0..geometry.planes() {
                let scan = answer.scan(lookup, plane).expect("a plane's sums");
                assert_eq!(scan.len(), PLANE_ROWS);
                assert!(scan.iter().all(|sum| *sum < PLAINTEXT_MODULUS));
                let ciphertext = answer.ciphertext(lookup, plane).expect("a plane's product");
                assert_eq!(ciphertext.len(), PLANE_CIPHERTEXT_BYTES);
            }
        }
        assert!(answer.scan(lookups, 0).is_none());
    }
});
