//! Inline keys from outside: known answers, and bytes that nobody should send.
//!
//! A digest changes only with a format or the mathematics, and then every deployed client and epoch
//! is affected.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test, helpers included")]

use opaque_pir::geometry::{Fold, Geometry};
use opaque_pir::inline::{
    Chain, InlineError, InlineQuery, Kernel, PLANE_BYTES, PlaneProduct, PlaneTables,
    PublicElements, PublicPart, Variant, answer, multiply,
};
use opaque_pir::layout::Salt;
use opaque_pir::seed::IndexSeed;
use proptest::prelude::*;

const SALT: Salt = Salt(*b"opaque known-answer vectors salt");
const COLUMN: u32 = 7;

fn seed() -> IndexSeed {
    let geometry = Geometry::new(4096, 2048, 16).unwrap();
    IndexSeed::new(&SALT, "weather", 11, COLUMN, &geometry)
}

fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn words(name: &str, length: usize) -> Vec<u32> {
    stream(name, 4 * length).as_chunks().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

fn tables(variant: Variant, fold: Fold) -> PlaneTables {
    let chain = Chain::new(&PublicElements::new(&seed(), variant));
    chain.tables(&words("hint", fold.words())).unwrap()
}

/// Planes of 512 rows.
fn folded() -> Fold {
    Fold::of_rows(512).unwrap()
}

/// Every value is below every prime: the top bit of each is clear.
fn query_bytes(variant: Variant) -> Vec<u8> {
    let mut bytes = stream("query", variant.query_bytes());
    // Slots of 28 bits are pairs of 7 bytes, those of 20 bits pairs of 5.
    let (q, rest) = bytes.split_at_mut(28_672);
    let (special, encryptions) = rest.split_at_mut(20_480);
    for pair in q.as_chunks_mut::<7>().0.iter_mut().chain(encryptions.as_chunks_mut().0) {
        pair[3] &= 0xf7;
        pair[6] &= 0x7f;
    }
    for pair in special.as_chunks_mut::<5>().0 {
        pair[2] &= 0xf7;
        pair[4] &= 0x7f;
    }
    bytes
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
fn check_variant(variant: Variant, fold: Fold, [tables_digest, public, product, sent]: [&str; 4]) {
    let tables = tables(variant, fold);
    assert_eq!((tables.variant(), tables.fold()), (variant, fold));
    check(tables.as_bytes(), tables_digest);
    check([tables.public().to_bytes().as_slice()], public);
    let query = InlineQuery::from_bytes(variant, &query_bytes(variant)).unwrap();
    for kernel in Kernel::available() {
        let products = multiply(kernel, &tables, &[&query]).unwrap();
        let [found] = products.as_slice() else { panic!("one query, one product") };
        let bytes: Vec<u8> = found.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        check([bytes.as_slice()], product);
        check([answer(&words("scan", fold.rows()), found).unwrap().as_slice()], sent);
    }
}

#[test]
fn variant_two() {
    check_variant(
        Variant::Two,
        Fold::NONE,
        [
            "2d8a648f583e5410a9ec9ef743b3988a1dbe50f8e2a7907051344075c7159ace",
            "cc018fefae5735c0107c1ddd73e5fe039683e5a2be74b908fe80dae3bbe2117e",
            "4cce3c4328bddc01630f418ac41587b5e27329de787ac55cb83742dc35a4c9b7",
            "85a7ac05085adfb8e775e641a7537fc922dcdb2982071c662d382bf43a1be4ad",
        ],
    );
}

#[test]
fn variant_four() {
    check_variant(
        Variant::Four,
        Fold::NONE,
        [
            "a9e19e3d23838462cfcb106b6271bee0a8d06795d36fe8c7186db7dabd662073",
            "1e824c495856319f14772b63737a3681ae9c7986813d829d139b37a9874d0d58",
            "d7ac7c395af90d83200358ea42b3901f1fc780d40f9dd92924406d55dea80b3d",
            "9e919d31d2c1f73771630fb2b47ca494f54ad5ea38b5acf1fce32fdd0f6674f4",
        ],
    );
}

#[test]
fn a_folded_plane() {
    check_variant(
        Variant::Two,
        folded(),
        [
            "16e3e96c870f68fec6a21c6f4edd1b92ac29010427971d7c364167d5376b314a",
            "89c549af7402257897aa5a35fcb9a2221566355910e831d6b94c64f51053142e",
            "628ccd490f6f6fd0fa6f1fc1a5a272eb4fb7b65b6e5033d82e53ccceee51ff4d",
            "e1c9a4bd96aa8ddf5bd24baa0c438e5bbb9d6ffda98af645ea6ef31793d1b032",
        ],
    );
}

/// Replicas must agree on the public part, whatever their threads and instructions.
#[test]
fn threads_and_kernels_change_nothing() {
    for (variant, fold) in Variant::ALL.into_iter().flat_map(|v| Fold::ALL.map(|fold| (v, fold))) {
        let query = InlineQuery::from_bytes(variant, &query_bytes(variant)).unwrap();
        let made = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let tables = tables(variant, fold);
                let products = |kernel| multiply(kernel, &tables, &[&query, &query]).unwrap();
                let products: Vec<_> = Kernel::available().flat_map(products).collect();
                assert!(products.iter().all(|product| *product == products[0]));
                let mut hash = blake3::Hasher::new();
                for bytes in tables.as_bytes() {
                    hash.update(bytes);
                }
                (hash.finalize(), tables.public().to_bytes(), products[0].clone())
            })
        };
        let alone = made(1);
        assert!([2, 5].into_iter().all(|threads| made(threads) == alone), "{fold:?}");
    }
}

#[cfg(feature = "secrets")]
mod secrets {
    use std::convert::Infallible;

    use opaque_pir::inline::secrets::{Seed, encrypt};
    use opaque_pir::params::PLAINTEXT_MODULUS;
    use rand::{TryCryptoRng, TryRng};

    use super::*;

    /// Bytes that count up.
    struct Counter(u8);

    impl TryRng for Counter {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut bytes = [0; 4];
            self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    /// For a test only, whose secrets are no secrets.
    impl TryCryptoRng for Counter {}

    #[track_caller]
    #[expect(clippy::indexing_slicing, reason = "4096 slots")]
    fn check_client(variant: Variant, [sent, opened]: [&str; 2]) {
        let elements = PublicElements::new(&seed(), variant);
        let seed = Seed::draw(&mut Counter(0)).unwrap();
        let mut secret = [0; 1024];
        for (coefficient, byte) in secret.iter_mut().zip(stream("small secret", 1024)) {
            *coefficient = i32::from(byte.cast_signed());
        }
        let (bytes, key) = encrypt(&elements, seed, &secret).unwrap();
        check([bytes.as_slice()], sent);
        let public = PublicPart::from_bytes(&stream("public part", PLANE_BYTES)).unwrap();
        let answer = stream("answer", PLANE_BYTES);
        let values = key.open(&public, &answer, Fold::NONE).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        check([bytes.as_slice()], opened);
        // Row r of a folded plane is the sum of its eight slots.
        let sums = key.open(&public, &answer, folded()).unwrap();
        assert_eq!(sums.len(), 512);
        for (r, sum) in sums.iter().enumerate() {
            let slots = (0..8).map(|g| values[r / 128 * 1024 + r % 128 + 128 * g]);
            assert_eq!(*sum, slots.sum::<u32>() % PLAINTEXT_MODULUS);
        }
    }

    #[test]
    fn client_of_variant_two() {
        check_client(
            Variant::Two,
            [
                "3526290c3c6bad5496dc75a88512d564f4269d75252a9ba02169a6cb17f89600",
                "3c7856511e82ce8b0ffd81b6f76bd8faeabefab938146662f365f1c87dade542",
            ],
        );
    }

    #[test]
    fn client_of_variant_four() {
        check_client(
            Variant::Four,
            [
                "7f4f7b86e191a77b7bfca9d796014d9edbc554ab03954bb5ff9bca95d18046cb",
                "3c7856511e82ce8b0ffd81b6f76bd8faeabefab938146662f365f1c87dade542",
            ],
        );
    }
}

#[test]
fn public_parts_come_back() {
    let bytes = stream("public part", PLANE_BYTES);
    let part = PublicPart::from_bytes(&bytes).unwrap();
    assert_eq!(part.to_bytes(), bytes);
    assert_ne!(PublicPart::digest(&bytes), PublicPart::digest(&bytes[1..]));
    for length in [0, PLANE_BYTES - 1, PLANE_BYTES + 1] {
        let refused = PublicPart::from_bytes(&vec![0; length]).unwrap_err();
        let what = "public part";
        assert_eq!(refused, InlineError::Size { what, expected: PLANE_BYTES, found: length });
    }
}

#[test]
fn misuse_is_refused() {
    let elements = PublicElements::new(&seed(), Variant::Two);
    let short = Chain::new(&elements).tables(&[0; 4096]).unwrap_err();
    let expected = 4096 * 1024;
    assert_eq!(short, InlineError::Size { what: "words of a plane", expected, found: 4096 });
    for rows in [0, 128, 255, 768, 4095, 8192] {
        let refused = Chain::new(&elements).tables(&vec![0; rows * 1024]).unwrap_err();
        let found = rows * 1024;
        assert_eq!(refused, InlineError::Size { what: "words of a plane", expected, found });
    }
    let tables = tables(Variant::Two, folded());
    let query = InlineQuery::from_bytes(Variant::Four, &query_bytes(Variant::Four)).unwrap();
    let (expected, found) = (Variant::Two.name(), Variant::Four.name());
    let mixed = multiply(Kernel::best(), &tables, &[&query]).unwrap_err();
    assert_eq!(mixed, InlineError::Variant { expected, found });
    for kernel in Kernel::ALL.into_iter().filter(|kernel| !kernel.is_available()) {
        let query = InlineQuery::from_bytes(Variant::Two, &query_bytes(Variant::Two)).unwrap();
        let refused = multiply(kernel, &tables, &[&query]).unwrap_err();
        assert_eq!(refused, InlineError::Kernel { kernel: kernel.name() });
    }
    let product = PlaneProduct::from_words(&[0; 4096]).unwrap();
    for rows in [0, 255, 768, 4095, 8192] {
        assert!(matches!(answer(&vec![0; rows], &product), Err(InlineError::Size { .. })));
    }
    assert!(matches!(PlaneProduct::from_words(&[0; 1]), Err(InlineError::Size { .. })));
}

#[test]
fn the_last_value_out_of_range_is_refused() {
    for variant in Variant::ALL {
        let good = query_bytes(variant);
        assert!(InlineQuery::from_bytes(variant, &good).is_ok());
        // The ends of the key modulo each prime, and of each encryption.
        let ends = [14_336, 28_672, 38_912, 49_152, 63_488, variant.query_bytes()];
        for end in ends {
            let mut bad = good.clone();
            bad[end - 3..end].fill(0xff);
            let refused = InlineQuery::from_bytes(variant, &bad).unwrap_err();
            assert_eq!(refused, InlineError::Range { what: "query with inline keys" });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes: an error or a query, never a panic; the size alone decides on most.
    #[test]
    fn hostile_bytes_are_read_or_refused(
        seed in any::<u64>(),
        length in prop_oneof![0..200_000usize, Just(106_496), Just(163_840), Just(106_495)],
        four in any::<bool>(),
        fill in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
    ) {
        let variant = if four { Variant::Four } else { Variant::Two };
        let bytes = fill.map_or_else(|| stream(&seed.to_string(), length), |fill| vec![fill; length]);
        match InlineQuery::from_bytes(variant, &bytes) {
            Ok(query) => {
                prop_assert_eq!(length, variant.query_bytes());
                prop_assert_eq!(query.variant(), variant);
            }
            Err(InlineError::Size { .. }) => prop_assert_ne!(length, variant.query_bytes()),
            Err(error) => prop_assert_eq!(
                error, InlineError::Range { what: "query with inline keys" }
            ),
        }
    }
}
