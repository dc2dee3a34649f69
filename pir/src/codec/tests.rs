use std::sync::LazyLock;

use proptest::prelude::*;

use super::words::{block_bytes, read_buckets, read_residues, write_buckets, write_residues};
use super::*;
use crate::geometry::{Geometry, round_word};
use crate::inline;
use crate::params::{PLAINTEXT_MODULUS, ParamsId};
use crate::probe::{Probe, SECRETS};
use crate::seed::tests::{bytes, seed, words};

const EPOCH: u64 = 0x0102_0304_0506_0708;
const GENERATION: u64 = 9;

/// Two planes, three partitions.
fn geometry() -> Geometry {
    Geometry::new(8192, 3072, 10).unwrap()
}

/// Words as decoded from a query.
fn rounded(words: &[u32]) -> Vec<u32> {
    words.iter().map(|word| round_word(*word, geometry().rounding().bucket_bits)).collect()
}

/// The kinds that clients use.
const KINDS: [Kind; 2] = [Kind::Registered, Kind::Inline];

fn material(kind: Kind) -> Material {
    match kind {
        Kind::Inline => Material::Inline,
        _ => Material::Registered(KeyDigest::of(b"keys")),
    }
}

fn lookup(kind: Kind, seed: u64) -> (Vec<u32>, Vec<u8>) {
    (words(seed, 3072), bytes(!seed, kind.secret_bytes()))
}

fn query(kind: Kind, lookups: u16) -> Vec<u8> {
    let mut writer = QueryWriter::new(&geometry(), EPOCH, material(kind), lookups).unwrap();
    for seed in 0..u64::from(lookups) {
        let (lwe, secret) = lookup(kind, seed);
        writer.lookup(&lwe, &secret).unwrap();
    }
    writer.finish().unwrap()
}

fn partial(partitions: &[u32], planes: &[u16], lookups: u16, kind: Kind) -> Partial {
    let seed = |a: usize, b: u64| 100 * a as u64 + b;
    Partial {
        generation: GENERATION,
        epoch: EPOCH,
        kind,
        partitions: partitions.to_vec(),
        scans: (0..u64::from(lookups)).map(|l| words(seed(partitions.len(), l), 8192)).collect(),
        planes: planes
            .iter()
            .map(|plane| {
                let product_bytes = kind.product_bytes(&geometry(), (*plane).into());
                let products = (0..u64::from(lookups))
                    .map(|l| bytes(seed(usize::from(*plane), 7 + l), product_bytes));
                (*plane, products.collect())
            })
            .collect(),
    }
}

fn combiner(kind: Kind, lookups: u16) -> Combiner {
    Combiner::new(&geometry(), kind, GENERATION, EPOCH, lookups).unwrap()
}

fn answer(kind: Kind, lookups: u16) -> Vec<u8> {
    let mut combiner = combiner(kind, lookups);
    combiner.add(partial(&[0, 2], &[1], lookups, kind)).unwrap();
    combiner.add(partial(&[1], &[0], lookups, kind)).unwrap();
    combiner.finish().unwrap()
}

fn probe() -> Probe {
    Probe::new(&seed(4, 6), [&[50; 32]])
}

fn client_slice(kind: Kind, partitions: &[u32], with_secret: bool) -> Vec<u8> {
    let query = query(kind, 2);
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    slice(&view, partitions, with_secret).unwrap()
}

/// A name, a message and a decoder for it.
type Message = (&'static str, Vec<u8>, fn(&[u8]) -> Result<(), CodecError>);

/// One valid message of each kind.
fn messages() -> Vec<Message> {
    const INLINE: Kind = Kind::Inline;
    let registered = Kind::Registered;
    let decode_query: fn(&[u8]) -> _ = |b| QueryView::decode(b, &geometry(), EPOCH).map(drop);
    let decode_slice: fn(&[u8]) -> _ = |b| Slice::decode(b, &geometry(), EPOCH).map(drop);
    let encoded = |partial: Partial| partial.encode(&geometry()).unwrap();
    let probe_slice = probe_slice(&geometry(), EPOCH, &[1], true).unwrap();
    vec![
        ("query", query(registered, 2), decode_query),
        ("inline query", query(INLINE, 2), decode_query),
        ("slice", client_slice(registered, &[0, 2], true), decode_slice),
        ("inline slice", client_slice(INLINE, &[0, 2], true), decode_slice),
        ("probe slice", probe_slice, decode_slice),
        ("partial", encoded(partial(&[0, 1], &[0, 1], 2, registered)), |b| {
            Partial::decode(b, &geometry(), 2, Kind::Registered).map(drop)
        }),
        ("inline partial", encoded(partial(&[0, 1], &[0, 1], 2, INLINE)), |b| {
            Partial::decode(b, &geometry(), 2, INLINE).map(drop)
        }),
        ("probe partial", encoded(partial(&[0, 1], &[1], 4, Kind::Probe)), |b| {
            Partial::decode(b, &geometry(), 4, Kind::Probe).map(drop)
        }),
        ("answer", answer(registered, 2), |b| {
            AnswerView::decode(b, &geometry(), Kind::Registered, EPOCH, 2).map(drop)
        }),
        ("inline answer", answer(INLINE, 2), |b| {
            AnswerView::decode(b, &geometry(), INLINE, EPOCH, 2).map(drop)
        }),
    ]
}

#[test]
fn a_query_returns_as_it_was_written() {
    for kind in KINDS {
        let query = query(kind, 3);
        assert_eq!(query.len(), query_bytes(&geometry(), kind, 3));
        let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
        assert_eq!((view.lookups(), view.epoch(), view.material()), (3, EPOCH, material(kind)));
        for l in 0..3 {
            let (lwe, secret) = lookup(kind, u64::from(l));
            for j in 0..3 {
                let block = view.lwe_partition(l, j).unwrap();
                assert_eq!(block, rounded(&lwe[j as usize * 1024..][..1024]));
            }
            assert_eq!(view.encrypted_secret(l).unwrap(), secret);
        }
        assert!(view.lwe_partition(3, 0).is_none() && view.lwe_partition(0, 3).is_none());
        assert!(view.lwe_partition(0, u32::MAX).is_none() && view.encrypted_secret(3).is_none());
    }
}

#[test]
fn a_slice_holds_its_partitions_only() {
    for kind in KINDS {
        for (partitions, with_secret) in [(&[0u32, 2][..], true), (&[1], false), (&[], true)] {
            let bytes = client_slice(kind, partitions, with_secret);
            let size = slice_bytes(&geometry(), kind, 2, partitions.len(), with_secret);
            assert!(bytes.len() <= size && size <= slice_max_bytes(&geometry(), 2));
            let slice = Slice::decode(&bytes, &geometry(), EPOCH).unwrap();
            assert_eq!(slice.partitions(), partitions);
            assert_eq!((slice.lookups(), slice.with_hint()), (2, with_secret));
            assert_eq!(*slice.material(), material(kind).into());
            let queries = slice.scan_queries(&seed(0, 0), &probe());
            for l in 0..2 {
                let (lwe, secret) = lookup(kind, u64::from(l));
                let blocks = partitions.iter().map(|j| &lwe[*j as usize * 1024..][..1024]);
                assert_eq!(slice.lwe(l).unwrap(), rounded(&blocks.collect::<Vec<_>>().concat()));
                assert_eq!(queries[usize::from(l)], slice.lwe(l).unwrap());
                assert_eq!(slice.encrypted_secret(l), with_secret.then_some(secret.as_slice()));
            }
            assert!(slice.lwe(2).is_none() && slice.encrypted_secret(2).is_none());
        }
    }
    // The largest slice has the announced size.
    let largest = KINDS.map(|kind| client_slice(kind, &[0, 1, 2], true).len());
    let largest = largest.into_iter().max().unwrap();
    assert!(slice_max_bytes(&geometry(), 2) - largest <= 32);
}

#[test]
fn a_probe_slice_makes_the_probe_s_queries() {
    let probe = probe();
    let bytes = probe_slice(&geometry(), EPOCH, &[0, 2], true).unwrap();
    assert!(bytes.len() <= slice_max_bytes(&geometry(), SECRETS as u16));
    let slice = Slice::decode(&bytes, &geometry(), EPOCH).unwrap();
    assert_eq!((slice.lookups(), slice.with_hint()), (4, true));
    assert_eq!(*slice.material(), SliceMaterial::Probe);
    assert!(slice.lwe(0).is_none() && slice.encrypted_secret(0).is_none());
    let seed = seed(4, 6);
    let queries = slice.scan_queries(&seed, &probe);
    let (first, second) = (probe.query(&seed, 0), probe.query(&seed, 2));
    for l in 0..SECRETS {
        assert_eq!(queries[l], [first[l].as_slice(), second[l].as_slice()].concat());
    }
}

#[test]
fn partitions_must_be_a_sorted_set_of_the_geometry() {
    let kind = Kind::Registered;
    let query = query(kind, 1);
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    for bad in [&[1u32, 0][..], &[1, 1], &[3], &[0, 1, 2, 3], &[u32::MAX]] {
        assert_eq!(slice(&view, bad, false).unwrap_err(), CodecError::Partitions);
        let probe = probe_slice(&geometry(), EPOCH, bad, false);
        assert_eq!(probe.unwrap_err(), CodecError::Partitions);
        let partial = partial(bad, &[0], 1, kind);
        assert_eq!(partial.encode(&geometry()).unwrap_err(), CodecError::Partitions);
    }
    // The same when decoding: partitions start after header, lookups, flag and count.
    let mut bytes = client_slice(kind, &[0, 2], false);
    for (at, byte) in [(49, 2), (49, 3), (53, 0), (53, 3), (45, 4), (46, 1)] {
        let good = std::mem::replace(&mut bytes[at], byte);
        let error = Slice::decode(&bytes, &geometry(), EPOCH).unwrap_err();
        assert_eq!(error, CodecError::Partitions, "at {at}");
        bytes[at] = good;
    }
    Slice::decode(&bytes, &geometry(), EPOCH).unwrap();
}

#[test]
fn a_partial_returns_as_it_was_written() {
    let mut kinds = KINDS.to_vec();
    kinds.push(Kind::Probe);
    for kind in &kinds {
        for partial in [
            partial(&[0, 1, 2], &[0, 1], 3, *kind),
            partial(&[1], &[], 2, *kind),
            partial(&[], &[1], 1, *kind),
        ] {
            let lookups = partial.scans.len() as u16;
            let bytes = partial.encode(&geometry()).unwrap();
            let planes = partial.planes.iter().map(|(plane, _)| *plane);
            let partitions = partial.partitions.len();
            let size = partial_bytes(&geometry(), *kind, lookups, partitions, planes);
            assert!(bytes.len() == size && size <= partial_max_bytes(&geometry(), lookups));
            assert_eq!(Partial::decode(&bytes, &geometry(), lookups, *kind).unwrap(), partial);
            for other in kinds.iter().filter(|other| *other != kind) {
                let decoded = Partial::decode(&bytes, &geometry(), lookups, *other);
                // A self-test and registered keys have the same parameters and other sizes.
                assert!(decoded.is_err() || partial.planes.is_empty(), "{kind:?} as {other:?}");
            }
            let other = Partial::decode(&bytes, &geometry(), lookups + 1, *kind).unwrap_err();
            let expected = CodecError::Lookups { expected: Some(lookups + 1), found: lookups };
            assert_eq!(other, expected);
        }
    }
}

#[test]
fn a_partial_of_another_shape_is_not_written() {
    for kind in KINDS {
        let error = |change: fn(&mut Partial)| {
            let mut partial = partial(&[0], &[0, 1], 2, kind);
            change(&mut partial);
            let error = partial.encode(&geometry()).unwrap_err();
            let added = combiner(kind, 2).add(partial);
            assert_eq!(added, Err(CombineError::Codec(error.clone())));
            error
        };
        assert!(matches!(error(|p| p.scans[1].truncate(5)), CodecError::Shape { found: 5, .. }));
        let one = error(|p| drop(p.planes[1].1.pop()));
        assert!(matches!(one, CodecError::Shape { found: 1, .. }));
        assert!(matches!(error(|p| p.planes[1].1[0].push(0)), CodecError::Shape { .. }));
        assert_eq!(error(|p| p.planes.swap(0, 1)), CodecError::Planes);
        assert_eq!(error(|p| p.planes[1].0 = 2), CodecError::Planes);
        let none = CodecError::Lookups { expected: None, found: 0 };
        assert_eq!(error(|p| p.scans.clear()), none);
    }
}

#[test]
fn an_answer_is_the_sum_of_its_partials() {
    for kind in KINDS {
        let bytes = answer(kind, 2);
        assert_eq!(bytes.len(), answer_bytes(&geometry(), kind, 2));
        let view = AnswerView::decode(&bytes, &geometry(), kind, EPOCH, 2).unwrap();
        let parts = [partial(&[0, 2], &[1], 2, kind), partial(&[1], &[0], 2, kind)];
        for (l, plane) in [(0u16, 0), (0, 1), (1, 0), (1, 1)] {
            let row = |part: &Partial, r: usize| part.scans[usize::from(l)][plane * 4096 + r];
            let sums: Vec<u32> =
                (0..4096).map(|r| row(&parts[0], r).wrapping_add(row(&parts[1], r))).collect();
            let product = &parts[1 - plane].planes[0].1[usize::from(l)];
            match view.share(l, plane).unwrap() {
                Share::Registered { sums: found, product: ciphertext } => {
                    let exact =
                        |c: u32| f64::from(c) * f64::from(PLAINTEXT_MODULUS) / 4_294_967_296.0;
                    let rounded = |c: &u32| (exact(*c) + 0.5).floor() as u32 % PLAINTEXT_MODULUS;
                    assert_eq!(found, sums.iter().map(rounded).collect::<Vec<_>>());
                    assert_eq!(ciphertext, product);
                }
                Share::Inline(share) => {
                    let bits = geometry().rounding().row_bits;
                    assert_eq!(share, inline::answer(&sums, bits));
                }
            }
        }
        assert!(view.share(2, 0).is_none() && view.share(0, 2).is_none());
    }
}

#[test]
fn a_combiner_takes_everything_once_or_nothing() {
    let kind = Kind::Registered;
    let ciphertexts = |partitions: &[u32], planes: &[u16]| partial(partitions, planes, 2, kind);
    let mut combiner = combiner(kind, 2);
    let mut other = ciphertexts(&[0, 1], &[0]);
    other.generation += 1;
    assert_eq!(
        combiner.add(other),
        Err(CombineError::Generation { expected: GENERATION, found: GENERATION + 1 })
    );
    let mut other = ciphertexts(&[0, 1], &[0]);
    other.epoch -= 1;
    let epoch = CodecError::Epoch { expected: EPOCH, found: EPOCH - 1 };
    assert_eq!(combiner.add(other), Err(epoch.into()));
    let other = partial(&[0], &[0], 1, kind);
    let lookups = CodecError::Lookups { expected: Some(2), found: 1 };
    assert_eq!(combiner.add(other), Err(lookups.into()));
    combiner.add(ciphertexts(&[0, 1], &[0])).unwrap();
    assert_eq!(
        combiner.add(ciphertexts(&[1, 2], &[1])),
        Err(CombineError::PartitionTwice { partition: 1 })
    );
    assert_eq!(combiner.add(ciphertexts(&[2], &[0])), Err(CombineError::PlaneTwice { plane: 0 }));
    let finish_after = |partials: &[(&[u32], &[u16])]| {
        let mut combiner = self::combiner(kind, 2);
        for (partitions, planes) in partials {
            combiner.add(ciphertexts(partitions, planes)).unwrap();
        }
        combiner.finish()
    };
    assert_eq!(
        finish_after(&[(&[0, 2], &[0, 1])]),
        Err(CombineError::PartitionMissing { partition: 1 })
    );
    assert_eq!(finish_after(&[(&[0, 1, 2], &[0])]), Err(CombineError::PlaneMissing { plane: 1 }));
    // The refused partials above have left no trace.
    combiner.add(ciphertexts(&[2], &[1])).unwrap();
    assert_eq!(combiner.finish(), finish_after(&[(&[0, 1], &[0]), (&[2], &[1])]));
}

#[test]
fn kinds_are_not_mixed() {
    let kinds = KINDS.into_iter().chain([Kind::Probe]);
    for (a, b) in kinds.clone().flat_map(|a| kinds.clone().map(move |b| (a, b))) {
        let added = combiner(a, 4).add(partial(&[0, 1, 2], &[0, 1], 4, b));
        assert_eq!(added, if a == b { Ok(()) } else { Err(CombineError::Kind) });
    }
    let whole = |kind| {
        let mut combiner = combiner(kind, 4);
        combiner.add(partial(&[0, 1, 2], &[0, 1], 4, kind)).unwrap();
        combiner
    };
    assert_eq!(whole(Kind::Probe).finish(), Err(CombineError::Kind));
    for kind in KINDS {
        assert_eq!(whole(kind).finish_probe(), Err(CombineError::Kind));
    }
    let (scans, hint) = whole(Kind::Probe).finish_probe().unwrap();
    let partial = partial(&[0, 1, 2], &[0, 1], 4, Kind::Probe);
    assert_eq!(scans, partial.scans);
    for (l, hint) in hint.iter().enumerate() {
        let planes = [0, 1].map(|plane: usize| words::read_words(&partial.planes[plane].1[l]));
        assert_eq!(*hint, planes.concat());
    }
}

#[test]
fn lookups_have_limits() {
    for found in [0, LOOKUPS_PER_MESSAGE + 1, u16::MAX] {
        let error = CodecError::Lookups { expected: None, found };
        let kind = Kind::Registered;
        let writer = QueryWriter::new(&geometry(), EPOCH, material(kind), found);
        assert_eq!(writer.unwrap_err(), error);
        let combiner = Combiner::new(&geometry(), kind, GENERATION, EPOCH, found).unwrap_err();
        assert_eq!(combiner, error.clone().into());
        let mut bytes = query(kind, 1);
        bytes[42..44].copy_from_slice(&found.to_le_bytes());
        assert_eq!(QueryView::decode(&bytes, &geometry(), EPOCH).unwrap_err(), error);
    }
}

#[test]
fn a_query_is_not_written_with_other_sizes() {
    for kind in KINDS {
        let writer = || QueryWriter::new(&geometry(), EPOCH, material(kind), 1).unwrap();
        let (lwe, secret) = lookup(kind, 0);
        let mut begun = writer();
        assert!(matches!(
            begun.lookup(&lwe[1..], &secret),
            Err(CodecError::Shape { expected: 3072, found: 3071, .. })
        ));
        assert!(matches!(begun.lookup(&lwe, &secret[1..]), Err(CodecError::Shape { .. })));
        begun.lookup(&lwe, &secret).unwrap();
        let one_more = CodecError::Lookups { expected: Some(1), found: 2 };
        assert_eq!(begun.lookup(&lwe, &secret).unwrap_err(), one_more);
        let missing = writer().finish();
        assert_eq!(missing.unwrap_err(), CodecError::Lookups { expected: Some(1), found: 0 });
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for (name, mut bytes, decode) in messages() {
        assert_eq!(decode(&bytes), Ok(()), "{name}");
        // Every length within the header, then one in each stretch of the body.
        let head = bytes.len().min(200);
        let lengths = (0..head).chain((head..bytes.len()).step_by(997)).chain([bytes.len() - 1]);
        for length in lengths {
            assert_eq!(decode(&bytes[..length]), Err(CodecError::Truncated), "{name} at {length}");
        }
        for extra in [1, 2, 4096] {
            bytes.push(0);
            bytes.resize(bytes.len() - 1 + extra, 0);
            assert_eq!(decode(&bytes), Err(CodecError::Oversized { extra }), "{name}");
            bytes.truncate(bytes.len() - extra);
        }
    }
}

#[test]
fn every_header_field_is_checked() {
    let other = Geometry::new(4096, 3072, 10).unwrap().params_id();
    for (name, bytes, decode) in messages() {
        let with = |at: usize, field: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[at..at + field.len()].copy_from_slice(field);
            decode(&bytes)
        };
        let marker = CodecError::Marker { expected: bytes[0], found: b'X' };
        assert_eq!(with(0, b"X"), Err(marker), "{name}");
        let version = CodecError::Version { expected: 3, found: 1 };
        assert_eq!(with(1, &[1]), Err(version), "{name}");
        let Err(CodecError::Params { expected, found }) = with(2, other.as_bytes()) else {
            panic!("{name} with other parameters");
        };
        let kinds = KINDS;
        assert!(kinds.iter().any(|kind| kind.params_id(&geometry()) == expected), "{name}");
        assert_eq!(found, other, "{name}");
        if !name.contains("partial") {
            let epoch = CodecError::Epoch { expected: EPOCH, found: 1 };
            assert_eq!(with(34, &1u64.to_le_bytes()), Err(epoch), "{name}");
        }
    }
    // In reverse: a whole message of one kind is not accepted as another kind.
    let query = query(Kind::Registered, 1);
    let marker = CodecError::Marker { expected: b'S', found: b'Q' };
    assert_eq!(Slice::decode(&query, &geometry(), EPOCH).unwrap_err(), marker);
}

#[test]
fn material_that_is_unknown_or_of_other_parameters_is_refused() {
    for (kind, others) in [(Kind::Registered, [1, 2, 0xff]), (Kind::Inline, [0, 2, 0xff])] {
        let mut query = query(kind, 1);
        let mut slice = client_slice(kind, &[0], false);
        for tag in others {
            query[44] = tag;
            let error = QueryView::decode(&query, &geometry(), EPOCH).unwrap_err();
            assert_eq!(error, CodecError::Material { tag });
            slice[53] = tag;
            let error = Slice::decode(&slice, &geometry(), EPOCH).unwrap_err();
            // A slice may be a self-test's, but only of four lookups.
            let probe = CodecError::Lookups { expected: Some(4), found: 2 };
            let probe = ((tag, kind) == (2, Kind::Registered)).then_some(probe);
            assert_eq!(error, probe.unwrap_or(CodecError::Material { tag }));
        }
    }
    let mut slice = client_slice(Kind::Registered, &[0], false);
    slice[44] = 2;
    let error = Slice::decode(&slice, &geometry(), EPOCH).unwrap_err();
    assert_eq!(error, CodecError::Invalid { field: "hint flag" });
}

#[test]
fn a_residue_beyond_t_is_refused() {
    let kind = Kind::Registered;
    let mut bytes = answer(kind, 1);
    bytes[44..47].copy_from_slice(&[0xff; 3]);
    let error = AnswerView::decode(&bytes, &geometry(), kind, EPOCH, 1).unwrap_err();
    assert_eq!(error, CodecError::Invalid { field: "residue modulo t" });
}

#[test]
fn bytes_are_recovered_up_to_the_margin() {
    for byte in 0..=255u32 {
        let exact = byte * PLAINTEXT_MODULUS / 256;
        for noise in [0, 1, 2015, PLAINTEXT_MODULUS - 1, PLAINTEXT_MODULUS - 2015] {
            for hs in [0, 1, 500_000, PLAINTEXT_MODULUS - 1] {
                let c = (exact + noise + hs) % PLAINTEXT_MODULUS;
                assert_eq!(u32::from(recover_byte(c, hs)), byte);
            }
        }
        // Beyond the margin the result is the next byte: nothing is clamped.
        assert_eq!(u32::from(recover_byte(exact + 2018, 0)), (byte + 1) % 256);
    }
    // Any words are accepted.
    recover_byte(u32::MAX, 0);
    recover_byte(0, u32::MAX);
}

#[test]
fn digests_are_distinguished_and_printed_whole() {
    assert_ne!(KeyDigest::of(b"a"), KeyDigest::of(b"b"));
    let digest = KeyDigest::from_bytes([0xab; 32]);
    assert_eq!(digest.to_string(), "ab".repeat(32));
    assert_eq!(ParamsId::from_bytes(*digest.as_bytes()).as_bytes(), &[0xab; 32]);
}

/// Every number of bits that a geometry can have.
#[test]
fn buckets_return_rounded_to_their_geometry_s_bits() {
    let mut seen = Vec::new();
    for (rows, buckets) in [
        (256, 1024),
        (2048, 1024),
        (2048, 16_384),
        (8192, 131_072),
        (256, 1 << 18),
        (256, 1 << 19),
        (256, 1 << 20),
        (65_536, 1 << 20),
    ] {
        let geometry = Geometry::new(rows, buckets, 1).unwrap();
        let bits = geometry.rounding().bucket_bits;
        let mut words = words(u64::from(buckets), 2048);
        words[..4].copy_from_slice(&[0, u32::MAX, 1 << 31, u32::MAX >> 1]);
        let mut bytes = vec![0xaa];
        write_buckets(&mut bytes, &words, &geometry);
        assert_eq!(bytes.len(), 1 + 2 * block_bytes(&geometry));
        // Bit by bit.
        let bit = |at: usize| u32::from(bytes[1 + at / 8] >> (at % 8) & 1);
        for (i, word) in words.iter().enumerate() {
            let sent = (0..bits).map(|b| bit(i * bits as usize + b as usize) << b).sum::<u32>();
            assert_eq!(sent << (32 - bits), round_word(*word, bits), "{bits} bits, word {i}");
        }
        let expected: Vec<u32> = words.iter().map(|word| round_word(*word, bits)).collect();
        assert_eq!(read_buckets(&bytes[1..], &geometry), expected);
        seen.push(bits);
    }
    assert!(seen.is_sorted() && seen.first() < Some(&24) && seen.last() == Some(&30), "{seen:?}");
}

proptest! {
    #[test]
    fn residues_return(values in proptest::collection::vec(0..1u32 << 20, 64)) {
        let mut bytes = Vec::new();
        write_residues(&mut bytes, values.iter().copied());
        prop_assert_eq!(bytes.len(), 64 * 20 / 8);
        prop_assert_eq!(read_residues(&bytes).collect::<Vec<_>>(), values);
    }

    #[test]
    fn random_bytes_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for (_, good, decode) in messages_once() {
            prop_assert!(decode(&noise).is_err());
            // A valid header before noise reaches more of the decoder.
            for head in [42, 44, 49, 60].into_iter().filter(|head| *head < good.len()) {
                let mut bytes = good[..head].to_vec();
                bytes.extend_from_slice(&noise);
                prop_assert!(decode(&bytes).is_err());
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (_, good, decode) in messages_once() {
            let mut bytes = good.clone();
            for (at, byte) in &damage {
                // Half of the damage is placed in the structured part.
                let length = if *byte % 2 == 0 { bytes.len().min(80) } else { bytes.len() };
                bytes[at.index(length)] ^= byte;
            }
            let _ = decode(&bytes);
        }
    }
}

fn messages_once() -> &'static [Message] {
    static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(messages);
    &MESSAGES
}
