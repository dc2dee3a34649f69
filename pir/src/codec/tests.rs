use proptest::prelude::*;

use super::bits::{read_residues, write_residues};
use super::*;
use crate::geometry::Geometry;
use crate::layout::Salt;
use crate::params::{ENCRYPTED_SECRET_BYTES, PLAINTEXT_MODULUS, PLANE_CIPHERTEXT_BYTES, ParamsId};
use crate::probe::{Probe, SECRETS};

const EPOCH: u64 = 0x0102_0304_0506_0708;
const GENERATION: u64 = 9;

/// Two planes, three partitions.
fn geometry() -> Geometry {
    Geometry::new(8192, 3072, 10).unwrap()
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn words(seed: u64, length: usize) -> Vec<u32> {
    bytes(seed, 4 * length).as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn material() -> Material {
    Material::Registered(KeyDigest::of(b"keys"))
}

fn lookup(seed: u64) -> (Vec<u32>, Vec<u8>) {
    (words(seed, 3072), bytes(!seed, ENCRYPTED_SECRET_BYTES))
}

fn query(lookups: u16) -> Vec<u8> {
    let mut writer = QueryWriter::new(&geometry(), EPOCH, material(), lookups).unwrap();
    for seed in 0..u64::from(lookups) {
        let (lwe, secret) = lookup(seed);
        writer.lookup(&lwe, &secret).unwrap();
    }
    writer.finish().unwrap()
}

fn partial(partitions: &[u32], planes: &[u16], lookups: u16, product_bytes: usize) -> Partial {
    let seed = |a: usize, b: u64| 100 * a as u64 + b;
    Partial {
        generation: GENERATION,
        epoch: EPOCH,
        partitions: partitions.to_vec(),
        scans: (0..u64::from(lookups)).map(|l| words(seed(partitions.len(), l), 8192)).collect(),
        planes: planes
            .iter()
            .map(|plane| {
                let products = (0..u64::from(lookups))
                    .map(|l| bytes(seed(usize::from(*plane), 7 + l), product_bytes));
                (*plane, products.collect())
            })
            .collect(),
    }
}

fn combiner(lookups: u16) -> Combiner {
    Combiner::new(&geometry(), GENERATION, EPOCH, lookups).unwrap()
}

fn answer(lookups: u16) -> Vec<u8> {
    let mut combiner = combiner(lookups);
    combiner.add(partial(&[0, 2], &[1], lookups, PLANE_CIPHERTEXT_BYTES)).unwrap();
    combiner.add(partial(&[1], &[0], lookups, PLANE_CIPHERTEXT_BYTES)).unwrap();
    combiner.finish().unwrap()
}

fn probe() -> Probe {
    let mut secrets = Box::new([[0; 1024]; SECRETS]);
    secrets.as_flattened_mut().copy_from_slice(&words(50, 4096));
    Probe::from_secrets(secrets)
}

fn client_slice(partitions: &[u32], with_secret: bool) -> Vec<u8> {
    let query = query(2);
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    slice(&view, partitions, with_secret).unwrap()
}

/// One valid message of each kind and a decoder for it.
#[expect(clippy::type_complexity, reason = "a table of messages and their decoders")]
fn messages() -> Vec<(&'static str, Vec<u8>, fn(&[u8]) -> Result<(), CodecError>)> {
    vec![
        ("query", query(2), |b| QueryView::decode(b, &geometry(), EPOCH).map(drop)),
        ("slice", client_slice(&[0, 2], true), |b| Slice::decode(b, &geometry(), EPOCH).map(drop)),
        ("probe slice", probe_slice(&geometry(), EPOCH, &probe(), &[1], true).unwrap(), |b| {
            Slice::decode(b, &geometry(), EPOCH).map(drop)
        }),
        (
            "partial",
            partial(&[0, 1], &[0, 1], 2, PLANE_CIPHERTEXT_BYTES).encode(&geometry()).unwrap(),
            |b| Partial::decode(b, &geometry(), 2, false).map(drop),
        ),
        (
            "probe partial",
            partial(&[0, 1], &[1], 4, PROBE_PLANE_BYTES).encode(&geometry()).unwrap(),
            |b| Partial::decode(b, &geometry(), 4, true).map(drop),
        ),
        ("answer", answer(2), |b| AnswerView::decode(b, &geometry(), EPOCH, 2).map(drop)),
    ]
}

#[test]
fn a_query_returns_as_it_was_written() {
    let query = query(3);
    assert_eq!(query.len(), query_bytes(&geometry(), 3));
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    assert_eq!((view.lookups(), view.epoch(), view.material()), (3, EPOCH, material()));
    for l in 0..3 {
        let (lwe, secret) = lookup(u64::from(l));
        for j in 0..3 {
            let block = view.lwe_partition(l, j).unwrap();
            assert_eq!(bits::read_words(block), lwe[j as usize * 1024..][..1024]);
        }
        assert_eq!(view.encrypted_secret(l).unwrap(), secret);
    }
    assert!(view.lwe_partition(3, 0).is_none() && view.lwe_partition(0, 3).is_none());
    assert!(view.lwe_partition(0, u32::MAX).is_none() && view.encrypted_secret(3).is_none());
}

#[test]
fn a_slice_holds_its_partitions_only() {
    for (partitions, with_secret) in [(&[0u32, 2][..], true), (&[1], false), (&[], true)] {
        let bytes = client_slice(partitions, with_secret);
        assert!(bytes.len() <= slice_max_bytes(&geometry(), 2));
        let slice = Slice::decode(&bytes, &geometry(), EPOCH).unwrap();
        assert_eq!(slice.partitions(), partitions);
        assert_eq!((slice.lookups(), slice.with_hint()), (2, with_secret));
        assert_eq!(*slice.material(), SliceMaterial::Registered(KeyDigest::of(b"keys")));
        let queries = slice.scan_queries(&Salt([0; 32]), 0);
        for l in 0..2 {
            let (lwe, secret) = lookup(u64::from(l));
            let blocks = partitions.iter().map(|j| &lwe[*j as usize * 1024..][..1024]);
            assert_eq!(slice.lwe(l).unwrap(), blocks.collect::<Vec<_>>().concat());
            assert_eq!(queries[usize::from(l)], slice.lwe(l).unwrap());
            assert_eq!(slice.encrypted_secret(l), with_secret.then_some(secret.as_slice()));
        }
        assert!(slice.lwe(2).is_none() && slice.encrypted_secret(2).is_none());
    }
    // The largest slice is as large as was said.
    let whole = client_slice(&[0, 1, 2], true);
    assert!(slice_max_bytes(&geometry(), 2) - whole.len() <= SECRETS * 4096);
}

#[test]
fn a_probe_slice_makes_the_probe_s_queries() {
    let probe = probe();
    let bytes = probe_slice(&geometry(), EPOCH, &probe, &[0, 2], true).unwrap();
    assert!(bytes.len() <= slice_max_bytes(&geometry(), SECRETS as u16));
    let slice = Slice::decode(&bytes, &geometry(), EPOCH).unwrap();
    assert_eq!((slice.lookups(), slice.with_hint()), (4, true));
    assert_eq!(*slice.material(), SliceMaterial::Probe(probe.clone()));
    assert!(slice.lwe(0).is_none() && slice.encrypted_secret(0).is_none());
    let salt = Salt([4; 32]);
    let queries = slice.scan_queries(&salt, 6);
    let (first, second) = (probe.query(&salt, 6, 0), probe.query(&salt, 6, 2));
    for l in 0..SECRETS {
        assert_eq!(queries[l], [first[l].as_slice(), second[l].as_slice()].concat());
    }
}

#[test]
fn partitions_must_be_a_sorted_set_of_the_geometry() {
    let query = query(1);
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    for bad in [&[1u32, 0][..], &[1, 1], &[3], &[0, 1, 2, 3], &[u32::MAX]] {
        assert_eq!(slice(&view, bad, false).unwrap_err(), CodecError::Partitions);
        let probe = probe_slice(&geometry(), EPOCH, &probe(), bad, false);
        assert_eq!(probe.unwrap_err(), CodecError::Partitions);
        let partial = partial(bad, &[0], 1, PLANE_CIPHERTEXT_BYTES);
        assert_eq!(partial.encode(&geometry()).unwrap_err(), CodecError::Partitions);
    }
    // The same on the way in: partitions start after header, lookups, flag and count.
    let mut bytes = client_slice(&[0, 2], false);
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
    for (partial, probe) in [
        (partial(&[0, 1, 2], &[0, 1], 3, PLANE_CIPHERTEXT_BYTES), false),
        (partial(&[1], &[], 2, 0), false),
        (partial(&[], &[1], 1, PLANE_CIPHERTEXT_BYTES), false),
        (partial(&[2], &[0], 4, PROBE_PLANE_BYTES), true),
    ] {
        let lookups = partial.scans.len() as u16;
        let bytes = partial.encode(&geometry()).unwrap();
        assert!(bytes.len() <= partial_max_bytes(&geometry(), lookups));
        assert_eq!(Partial::decode(&bytes, &geometry(), lookups, probe).unwrap(), partial);
        if !partial.planes.is_empty() {
            assert!(Partial::decode(&bytes, &geometry(), lookups, !probe).is_err());
        }
        let other = Partial::decode(&bytes, &geometry(), lookups + 1, probe).unwrap_err();
        let expected = CodecError::Lookups { expected: Some(lookups + 1), found: lookups };
        assert_eq!(other, expected);
    }
}

#[test]
fn a_partial_of_another_shape_is_not_written() {
    let good = || partial(&[0], &[0, 1], 2, PLANE_CIPHERTEXT_BYTES);
    let error = |change: fn(&mut Partial)| {
        let mut partial = good();
        change(&mut partial);
        let error = partial.encode(&geometry()).unwrap_err();
        assert_eq!(combiner(2).add(partial), Err(CombineError::Codec(error.clone())));
        error
    };
    assert!(matches!(error(|p| p.scans[1].truncate(5)), CodecError::Shape { found: 5, .. }));
    assert!(matches!(error(|p| drop(p.planes[1].1.pop())), CodecError::Shape { found: 1, .. }));
    assert!(matches!(error(|p| p.planes[1].1[0].push(0)), CodecError::Shape { .. }));
    assert_eq!(error(|p| p.planes.swap(0, 1)), CodecError::Planes);
    assert_eq!(error(|p| p.planes[1].0 = 2), CodecError::Planes);
    assert_eq!(error(|p| p.scans.clear()), CodecError::Lookups { expected: None, found: 0 });
}

#[test]
fn an_answer_is_the_sum_of_its_partials() {
    let bytes = answer(2);
    assert_eq!(bytes.len(), answer_bytes(&geometry(), 2));
    let view = AnswerView::decode(&bytes, &geometry(), EPOCH, 2).unwrap();
    let parts = [
        partial(&[0, 2], &[1], 2, PLANE_CIPHERTEXT_BYTES),
        partial(&[1], &[0], 2, PLANE_CIPHERTEXT_BYTES),
    ];
    for l in 0..2u16 {
        for plane in 0..2 {
            let scan = view.scan(l, plane).unwrap();
            assert_eq!(scan.len(), 4096);
            for (r, found) in scan.iter().enumerate() {
                let row = |part: &Partial| part.scans[usize::from(l)][plane * 4096 + r];
                let sum = row(&parts[0]).wrapping_add(row(&parts[1]));
                let exact = f64::from(sum) * f64::from(PLAINTEXT_MODULUS) / 4_294_967_296.0;
                assert_eq!(*found, (exact + 0.5).floor() as u32 % PLAINTEXT_MODULUS);
            }
            let product = &parts[1 - plane].planes[0].1[usize::from(l)];
            assert_eq!(view.ciphertext(l, plane).unwrap(), product);
        }
    }
    assert!(view.scan(2, 0).is_none() && view.ciphertext(0, 2).is_none());
}

#[test]
fn a_combiner_takes_everything_once_or_nothing() {
    let ciphertexts =
        |partitions: &[u32], planes: &[u16]| partial(partitions, planes, 2, PLANE_CIPHERTEXT_BYTES);
    let mut combiner = combiner(2);
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
    let other = partial(&[0], &[0], 1, PLANE_CIPHERTEXT_BYTES);
    let lookups = CodecError::Lookups { expected: Some(2), found: 1 };
    assert_eq!(combiner.add(other), Err(lookups.into()));

    combiner.add(ciphertexts(&[0, 1], &[0])).unwrap();
    assert_eq!(
        combiner.add(ciphertexts(&[1, 2], &[1])),
        Err(CombineError::PartitionTwice { partition: 1 })
    );
    assert_eq!(combiner.add(ciphertexts(&[2], &[0])), Err(CombineError::PlaneTwice { plane: 0 }));

    let finish_after = |partials: &[(&[u32], &[u16])]| {
        let mut combiner = self::combiner(2);
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
    // What was refused above left no trace.
    combiner.add(ciphertexts(&[2], &[1])).unwrap();
    assert_eq!(combiner.finish(), finish_after(&[(&[0, 1], &[0]), (&[2], &[1])]));
}

#[test]
fn a_self_test_and_a_query_are_not_mixed() {
    let whole = |product_bytes| {
        let mut combiner = combiner(4);
        combiner.add(partial(&[0, 1, 2], &[0, 1], 4, product_bytes)).unwrap();
        combiner
    };
    assert_eq!(whole(PROBE_PLANE_BYTES).finish(), Err(CombineError::Kind));
    assert_eq!(whole(PLANE_CIPHERTEXT_BYTES).finish_probe(), Err(CombineError::Kind));
    let (scans, hint) = whole(PROBE_PLANE_BYTES).finish_probe().unwrap();
    let partial = partial(&[0, 1, 2], &[0, 1], 4, PROBE_PLANE_BYTES);
    assert_eq!(scans, partial.scans);
    for (l, hint) in hint.iter().enumerate() {
        let planes = [0, 1].map(|plane: usize| bits::read_words(&partial.planes[plane].1[l]));
        assert_eq!(*hint, planes.concat());
    }
}

#[test]
fn lookups_have_limits() {
    for found in [0, MAX_LOOKUPS + 1, u16::MAX] {
        let error = CodecError::Lookups { expected: None, found };
        let writer = QueryWriter::new(&geometry(), EPOCH, material(), found);
        assert_eq!(writer.unwrap_err(), error);
        let combiner = Combiner::new(&geometry(), GENERATION, EPOCH, found).unwrap_err();
        assert_eq!(combiner, error.clone().into());
        let mut bytes = query(1);
        bytes[42..44].copy_from_slice(&found.to_le_bytes());
        assert_eq!(QueryView::decode(&bytes, &geometry(), EPOCH).unwrap_err(), error);
    }
}

#[test]
fn a_query_is_not_written_with_other_sizes() {
    let mut writer = QueryWriter::new(&geometry(), EPOCH, material(), 1).unwrap();
    let (lwe, secret) = lookup(0);
    assert!(matches!(
        writer.lookup(&lwe[1..], &secret),
        Err(CodecError::Shape { expected: 3072, found: 3071, .. })
    ));
    assert!(matches!(writer.lookup(&lwe, &secret[1..]), Err(CodecError::Shape { .. })));
    writer.lookup(&lwe, &secret).unwrap();
    let one_more = CodecError::Lookups { expected: Some(1), found: 2 };
    assert_eq!(writer.lookup(&lwe, &secret).unwrap_err(), one_more);
    let missing = QueryWriter::new(&geometry(), EPOCH, material(), 1).unwrap().finish();
    assert_eq!(missing.unwrap_err(), CodecError::Lookups { expected: Some(1), found: 0 });
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for (name, mut bytes, decode) in messages() {
        assert_eq!(decode(&bytes), Ok(()), "{name}");
        // Every length in the head, then one in each stretch of the body.
        let lengths = (0..200).chain((200..bytes.len()).step_by(997)).chain([bytes.len() - 1]);
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
        let version = CodecError::Version { expected: 1, found: 2 };
        assert_eq!(with(1, &[2]), Err(version), "{name}");
        let params = CodecError::Params { expected: geometry().params_id(), found: other };
        assert_eq!(with(2, other.as_bytes()), Err(params), "{name}");
        if !name.contains("partial") {
            let epoch = CodecError::Epoch { expected: EPOCH, found: 1 };
            assert_eq!(with(34, &1u64.to_le_bytes()), Err(epoch), "{name}");
        }
    }
    // The other way round: a whole message of one kind is no other kind.
    let query = query(1);
    let marker = CodecError::Marker { expected: b'S', found: b'Q' };
    assert_eq!(Slice::decode(&query, &geometry(), EPOCH).unwrap_err(), marker);
}

#[test]
fn reserved_and_unknown_material_is_refused() {
    let mut query = query(1);
    for tag in [1, 2, 0xff] {
        query[44] = tag;
        let error = QueryView::decode(&query, &geometry(), EPOCH).unwrap_err();
        assert_eq!(error, CodecError::Material { tag });
    }
    let mut slice = client_slice(&[0], false);
    for tag in [1, 3, 0xff] {
        slice[53] = tag;
        let error = Slice::decode(&slice, &geometry(), EPOCH).unwrap_err();
        assert_eq!(error, CodecError::Material { tag });
    }
    slice[44] = 2;
    let error = Slice::decode(&slice, &geometry(), EPOCH).unwrap_err();
    assert_eq!(error, CodecError::Invalid { field: "hint flag" });
}

#[test]
fn a_residue_beyond_t_is_refused() {
    let mut bytes = answer(1);
    bytes[44..47].copy_from_slice(&[0xff; 3]);
    let error = AnswerView::decode(&bytes, &geometry(), EPOCH, 1).unwrap_err();
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
        // Beyond the margin it is the next byte: nothing is clamped.
        assert_eq!(u32::from(recover_byte(exact + 2018, 0)), (byte + 1) % 256);
    }
    // Any words at all are taken.
    recover_byte(u32::MAX, 0);
    recover_byte(0, u32::MAX);
}

#[test]
fn digests_are_told_apart_and_printed_whole() {
    assert_ne!(KeyDigest::of(b"a"), KeyDigest::of(b"b"));
    let digest = KeyDigest::from_bytes([0xab; 32]);
    assert_eq!(digest.to_string(), "ab".repeat(32));
    assert_eq!(ParamsId::from_bytes(*digest.as_bytes()).as_bytes(), &[0xab; 32]);
}

proptest! {
    #[test]
    fn residues_return(values in proptest::collection::vec(0..1u32 << 20, 64)) {
        let mut bytes = Vec::new();
        write_residues(&mut bytes, &values);
        prop_assert_eq!(bytes.len(), 64 * 20 / 8);
        prop_assert_eq!(read_residues(&bytes).collect::<Vec<_>>(), values);
    }

    #[test]
    fn random_bytes_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for (_, good, decode) in messages_once() {
            prop_assert!(decode(&noise).is_err());
            // A good header in front of noise comes further.
            for head in [42, 44, 49, 60] {
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
                // Half of the damage goes where the structure is.
                let length = if *byte % 2 == 0 { 80 } else { bytes.len() };
                bytes[at.index(length)] ^= byte;
            }
            let _ = decode(&bytes);
        }
    }
}

#[expect(clippy::type_complexity, reason = "a table of messages and their decoders")]
fn messages_once() -> &'static [(&'static str, Vec<u8>, fn(&[u8]) -> Result<(), CodecError>)] {
    static MESSAGES: std::sync::LazyLock<
        Vec<(&'static str, Vec<u8>, fn(&[u8]) -> Result<(), CodecError>)>,
    > = std::sync::LazyLock::new(messages);
    &MESSAGES
}
