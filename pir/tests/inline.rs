//! Inline keys through the public API: known answers, and hostile bytes.
//!
//! A digest changes only with a format or the mathematics, and such a change affects every deployed
//! client and epoch.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test, helpers included")]

#[path = "support/stream.rs"]
mod stream;

use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{
    Chain, InlineError, InlineQuery, PUBLIC_BYTES, PlaneTables, PublicElements, PublicPart,
    QUERY_BYTES, answer, multiply,
};
use opaque_pir::machine::VectorKernel;
use opaque_pir::seed::IndexSeed;
use proptest::prelude::*;
use stream::{COLUMN, SALT, stream, words};

/// The rows of all kinds of planes.
const ROWS: [usize; 5] = [4096, 2048, 1024, 512, 256];

fn seed() -> IndexSeed {
    let geometry = Geometry::new(4096, 2048, 16).unwrap();
    IndexSeed::new(&SALT, "weather", 11, COLUMN, &geometry)
}

fn tables(rows: usize) -> PlaneTables {
    let chain = Chain::new(&PublicElements::new(&seed()));
    chain.tables(&words("hint", rows * 1024)).unwrap()
}

/// Every value is below every prime: the top bit of each is clear.
fn query_bytes() -> Vec<u8> {
    let mut bytes = stream("query", QUERY_BYTES);
    for [_, _, high] in bytes.as_chunks_mut().0 {
        *high &= 0x7f;
    }
    bytes
}

fn query() -> InlineQuery {
    InlineQuery::from_bytes(&query_bytes()).unwrap()
}

#[track_caller]
fn check<'a>(bytes: impl IntoIterator<Item = &'a [u8]>, digest: &str) {
    let mut hash = blake3::Hasher::new();
    for bytes in bytes {
        hash.update(bytes);
    }
    assert_eq!(hash.finalize().to_hex().as_str(), digest);
}

#[track_caller]
fn check_plane(rows: usize, [tables_digest, public, product, sent]: [&str; 4]) {
    let tables = tables(rows);
    assert_eq!(tables.rows(), rows);
    check(tables.as_bytes(), tables_digest);
    check([tables.public().to_bytes().as_slice()], public);
    for kernel in VectorKernel::available() {
        let products = multiply(kernel, &tables, &[&query()]).unwrap();
        let [found] = products.as_slice() else { panic!("one query, one product") };
        let bytes: Vec<u8> = found.iter().flat_map(|word| word.to_le_bytes()).collect();
        check([bytes.as_slice()], product);
        check([answer(found, 10).as_slice()], sent);
    }
}

#[test]
fn a_plane_of_two_rings() {
    check_plane(
        4096,
        [
            "cd12c66cb0c43670dcc3b8e9a4820b4044873f84f1b149c1e9a5269df8b3f010",
            "6a85826a951fabf981b2fd29d4da33ccb6591b6f88ee7dee1a31f2f1d98b50c3",
            "d8551ce034fbd55bd8922742c4231b79cb16821ea428dc38c8158a4d0303c5b9",
            "d31fa76bd31e6aa56a0997ec05412db84ee377ae379ea277be84a39109764379",
        ],
    );
}

#[test]
fn a_plane_of_one_ring() {
    check_plane(
        2048,
        [
            "3f1543b2e862664b3f9fd2b90a7a63aadc6c8b8e02c6219af4e4313254b40045",
            "806580139e826eb5187d54bcc528bf57d78c6d591cb28d13d04fba40f6ff1373",
            "1361f854a24a7c4d6d80b17c21e70b9b6992d9efbd22e882df863642547d9a6b",
            "562268aef88a1c3fa90a45d79683bcdca73c91577521bb1765a1104b48bd7fa0",
        ],
    );
}

#[test]
fn a_folded_plane() {
    check_plane(
        512,
        [
            "5bdd4065a3c3ff2adfbba9c49c118c19203969e1dd676ec0d36f9c64c1240cb3",
            "9a7aa75f3e906909d60bab727dce3479edd121f29a034b28b165c85d17487c51",
            "d186322bad91a3d4fe926ec4006a779ca9f9b31fc058f8a8413e5f3f3468a498",
            "1f069c1397607d4d1328b9d74b6dbe44cfcc66efd98b12fea72cbf4e007b04e0",
        ],
    );
}

/// Replicas must agree on the public part, regardless of their threads and instructions.
#[test]
fn threads_and_kernels_change_nothing() {
    for rows in ROWS {
        let made = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (tables, query) = (tables(rows), query());
                let products = |kernel| multiply(kernel, &tables, &[&query, &query]).unwrap();
                let products: Vec<_> = VectorKernel::available().flat_map(products).collect();
                assert!(products.iter().all(|product| *product == products[0]));
                let mut hash = blake3::Hasher::new();
                for bytes in tables.as_bytes() {
                    hash.update(bytes);
                }
                (hash.finalize(), tables.public().to_bytes(), products[0].clone())
            })
        };
        let alone = made(1);
        assert!([2, 5].into_iter().all(|threads| made(threads) == alone), "{rows} rows");
    }
}

#[test]
fn public_parts_come_back() {
    for rows in ROWS {
        let expected = if rows == 4096 { 2 * PUBLIC_BYTES } else { PUBLIC_BYTES };
        let bytes = stream("public part", expected);
        let part = PublicPart::from_bytes(&bytes, rows).unwrap();
        assert_eq!(part.to_bytes(), bytes);
        assert_ne!(PublicPart::digest(&bytes), PublicPart::digest(&bytes[1..]));
        for length in [0, expected - 1, expected + 1, 3 * PUBLIC_BYTES] {
            let refused = PublicPart::from_bytes(&vec![0; length], rows).unwrap_err();
            let what = "public part";
            assert_eq!(refused, InlineError::Size { what, expected, found: length });
        }
    }
    assert!(PublicPart::from_bytes(&[0; PUBLIC_BYTES], 3072).is_err());
}

#[test]
fn misuse_is_refused() {
    let chain = Chain::new(&PublicElements::new(&seed()));
    for rows in [0, 4, 128, 255, 768, 3072, 4095, 8192] {
        let refused = chain.tables(&vec![0; rows * 1024]).unwrap_err();
        let what = "rows of a plane";
        assert_eq!(refused, InlineError::Size { what, expected: 4096, found: rows });
    }
    assert!(chain.tables(&[0; 2048 * 1024 + 1]).is_err());
    let tables = tables(256);
    for kernel in VectorKernel::ALL.into_iter().filter(|kernel| !kernel.is_available()) {
        let refused = multiply(kernel, &tables, &[&query()]).unwrap_err();
        assert_eq!(refused, InlineError::Kernel { kernel: kernel.name() });
    }
}

#[test]
fn the_last_value_out_of_range_is_refused() {
    let good = query_bytes();
    assert!(InlineQuery::from_bytes(&good).is_ok());
    // The ends of the key modulo each prime, and of each encryption.
    for end in (1..=6).map(|part| part * QUERY_BYTES / 6) {
        let mut bad = good.clone();
        bad[end - 3..end].fill(0xff);
        let refused = InlineQuery::from_bytes(&bad).unwrap_err();
        assert_eq!(refused, InlineError::Range { what: "query with inline keys" });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes give an error or a query, never a panic. The size determines most of it.
    #[test]
    fn hostile_bytes_are_read_or_refused(
        seed in any::<u64>(),
        length in prop_oneof![0..100_000usize, Just(QUERY_BYTES), Just(QUERY_BYTES - 1)],
        fill in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
    ) {
        let bytes = fill.map_or_else(|| stream(&seed.to_string(), length), |fill| vec![fill; length]);
        match InlineQuery::from_bytes(&bytes) {
            Ok(_) => prop_assert_eq!(length, QUERY_BYTES),
            Err(InlineError::Size { .. }) => prop_assert_ne!(length, QUERY_BYTES),
            Err(error) => prop_assert_eq!(
                error, InlineError::Range { what: "query with inline keys" }
            ),
        }
    }
}
