//! A query with inline keys is either refused, or it can be multiplied with a plane.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::{COLUMN, EPOCH, SALT, expand, geometry};
use opaque_pir::hint::PLANE_WORDS;
use opaque_pir::inline::{Chain, InlineQuery, PlaneTables, PublicElements, QUERY_BYTES, multiply};
use opaque_pir::machine::VectorKernel;
use opaque_pir::seed::IndexSeed;

/// The tables of an arbitrary plane.
static TABLES: LazyLock<PlaneTables> = LazyLock::new(|| {
    let plane: Vec<u32> =
        (0u32..).map(|i| i.wrapping_mul(2_654_435_761)).take(PLANE_WORDS).collect();
    let seed = IndexSeed::new(&SALT, "t", EPOCH, COLUMN, &geometry());
    let chain = Chain::new(&PublicElements::new(&seed));
    chain.tables(&plane).expect("a whole plane")
});

fuzz_target!(|input: &[u8]| {
    let bytes = expand(input);
    let Ok(query) = InlineQuery::from_bytes(&bytes) else { return };
    assert_eq!(bytes.len(), QUERY_BYTES);
    let products =
        multiply(VectorKernel::best(), &TABLES, &[&query]).expect("a kernel that runs here");
    assert_eq!(
        products,
        multiply(VectorKernel::Scalar, &TABLES, &[&query]).expect("one that runs anywhere")
    );
});
