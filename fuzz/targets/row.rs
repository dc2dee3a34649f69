//! A row is either refused, or encoding what was read gives the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::schema;
use opaque_pir::table::{decode_row, encode_row};

fuzz_target!(|input: &[u8]| {
    let schema = schema();
    if let Ok(values) = decode_row(&schema, input) {
        assert_eq!(encode_row(&schema, &values).expect("values of the schema"), input);
    }
});
