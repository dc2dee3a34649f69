//! An answer is either refused, or every part of it can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{EPOCH, expand, geometry};
use opaque_pir::codec::{AnswerView, Kind, Share, answer_bytes};
use opaque_pir::params::{PLAINTEXT_MODULUS, PLANE_CIPHERTEXT_BYTES, PLANE_ROWS};

fuzz_target!(|input: &[u8]| {
    let (geometry, bytes) = (geometry(), expand(input));
    let kinds = [Kind::Registered, Kind::Inline];
    for (lookups, kind) in [1, 2].into_iter().flat_map(|lookups| kinds.map(|kind| (lookups, kind))) {
        let answer = AnswerView::decode(&bytes, &geometry, kind, EPOCH, lookups);
        let Ok(answer) = answer else { continue };
        assert_eq!(bytes.len(), answer_bytes(&geometry, kind, lookups));
        for lookup in 0..lookups {
            for plane in 0..geometry.planes() {
                match answer.share(lookup, plane).expect("a plane's share") {
                    Share::Registered { sums, product } => {
                        assert_eq!(sums.len(), PLANE_ROWS);
                        assert!(sums.iter().all(|sum| *sum < PLAINTEXT_MODULUS));
                        assert_eq!(product.len(), PLANE_CIPHERTEXT_BYTES);
                    }
                    Share::Inline(share) => {
                        let bits = geometry.rounding().row_bits as usize;
                        assert_eq!(share.len() * 8, geometry.plane_rows(plane) * bits);
                    }
                }
            }
        }
        assert!(answer.share(lookups, 0).is_none());
    }
});
