//! Known-answer vectors: fixed inputs, BLAKE3 digests of outputs. A digest changes only with the
//! wire format or the mathematics, and then every deployed client and epoch is affected.
#![expect(clippy::unwrap_used, reason = "a test, helpers included")]

use opaque_pir::codec::{
    Combiner, KeyDigest, Material, Partial, QueryView, QueryWriter, probe_slice, slice,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::HintBuilder;
use opaque_pir::inline::Variant;
use opaque_pir::layout::Salt;
use opaque_pir::probe::Probe;
use opaque_pir::ring::{Multiplier, public_element};
use opaque_pir::scan::{Kernel, Partition, scan};

const SALT: Salt = Salt(*b"opaque known-answer vectors salt");
const COLUMN: u32 = 7;
const EPOCH: u64 = 11;
const GENERATION: u64 = 13;

fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn words(name: &str, length: usize) -> Vec<u32> {
    stream(name, 4 * length).as_chunks().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

fn geometry() -> Geometry {
    Geometry::new(4096, 2048, 16).unwrap()
}

fn partition(j: u32) -> Vec<u8> {
    stream(&format!("partition {j}"), geometry().partition_bytes())
}

#[track_caller]
fn check(bytes: &[u8], digest: &str) {
    assert_eq!(blake3::hash(bytes).to_hex().as_str(), digest);
}

#[track_caller]
fn check_words(words: &[u32], digest: &str) {
    check(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>(), digest);
}

fn probe() -> Probe {
    let mut secrets = Box::new([[0; 1024]; 4]);
    secrets.as_flattened_mut().copy_from_slice(&words("probe", 4096));
    Probe::from_secrets(secrets)
}

fn registered() -> Material {
    Material::Registered(KeyDigest::of(b"evaluation keys"))
}

fn query(material: Material) -> Vec<u8> {
    let mut writer = QueryWriter::new(&geometry(), EPOCH, material, 2).unwrap();
    for lookup in 0..2 {
        let secret = stream(&format!("secret {lookup}"), material.kind().secret_bytes());
        writer.lookup(&words(&format!("query {lookup}"), 2048), &secret).unwrap();
    }
    writer.finish().unwrap()
}

fn partial(material: Material, partitions: &[u32], with_plane: bool) -> Partial {
    let kind = material.kind();
    let bytes = kind.product_bytes(&geometry());
    let product = |lookup| stream(&format!("product {lookup}"), bytes);
    Partial {
        generation: GENERATION,
        epoch: EPOCH,
        kind,
        partitions: partitions.to_vec(),
        scans: (0..2).map(|l| words(&format!("scan {partitions:?} {l}"), 4096)).collect(),
        planes: if with_plane { vec![(0, vec![product(0), product(1)])] } else { Vec::new() },
    }
}

#[test]
fn public_elements() {
    check_words(
        public_element(&SALT, COLUMN, 0).as_slice(),
        "7503d05b09e4c998e755ef4112cb20705ce515066f2bdc4512cae6e86dd642d9",
    );
    check_words(
        public_element(&SALT, COLUMN, 1023).as_slice(),
        "6eb7ba783c662cd1ec6a34badb0cf185a6dac7cfc8a831e14d393e08c071e13d",
    );
}

#[test]
fn products() {
    let bytes = stream("small secret", 1024);
    let secret = std::array::from_fn(|i| i32::from(bytes[i] as i8));
    let mut product = [0; 1024];
    Multiplier::new(&secret).times(&public_element(&SALT, COLUMN, 0), &mut product);
    check_words(&product, "c20fc6848f28d3b41ae4f463611325054b550ad9154a6a0d4dc9de8c50ef9efa");
    check_words(
        probe().query(&SALT, COLUMN, 1).map(|block| *block).as_flattened(),
        "f0079114f3c250d0a93386976b7744ecc8ed8c068ef4c26004bb0d0d4f2a4a9b",
    );
}

#[test]
fn scans() {
    let partitions: Vec<Partition> =
        (0..2).map(|j| Partition::try_from((&partition(j)[..], &geometry())).unwrap()).collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let queries: Vec<Vec<u32>> = (0..3).map(|q| words(&format!("query {q}"), 2048)).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let sums = scan(Kernel::best(), &geometry(), &partitions, &queries).unwrap();
    check_words(&sums.concat(), "fa3d076188786d9d20cf4c760a099e5c1262d71aa08ac89d28851ca83e5c1b16");
}

#[test]
fn hints() {
    let mut builder = HintBuilder::new(SALT, COLUMN, &geometry());
    (0..2).for_each(|j| builder.add(j, &partition(j)).unwrap());
    check_words(
        &builder.finish().unwrap().into_planes().concat(),
        "251e2e91dcf9af17e816ccf7736d8337152c772ed7df7f9bd3b3ccce211489c2",
    );
}

#[test]
fn messages() {
    check(
        &probe_slice(&geometry(), EPOCH, &probe(), &[0, 1], true).unwrap(),
        "3af7a3327a06d4c7b0857d5a14c1a5ead8af697252f7ee8f03c3c1808a7d1e70",
    );
    check_messages(
        registered(),
        [
            "f41f53022cddcb3210839d171f3b66f7beef84f80ada4fbb97a5cdb4ba33b7a8",
            "f562104a3b327a310b9bd42976891d82682fed00837b9141bf67f01cefd86791",
            "290405e339f6538a14122860ec8d0822d162a83580105643198621cd1d262847",
            "bd7dd1961f5a81a1d8aa0564dac887b140bd1a179114752ae2d0c9e2dd1d8f99",
        ],
    );
    check_messages(
        Material::Inline(Variant::Two),
        [
            "e4fcf6b94e745b3466efb4d30431b749bdd873a05f0bbd97959741be3ee3e14b",
            "202ca4aea218483151dc0af245150f7aaafc02fd107b0dfdac2d23d0d1700f36",
            "4efc670e6662f48fc9bfbab6a84d91cfaae5d2ff22fc9f580c311c4378d164f3",
            "2d34dcea66e9be2425a095bf2c8a2f2e20bd059522652e4c8186fa9d233ff802",
        ],
    );
}

/// Query, slice, partial, answer.
#[track_caller]
fn check_messages(material: Material, digests: [&str; 4]) {
    let query = query(material);
    let view = QueryView::decode(&query, &geometry(), EPOCH).unwrap();
    let cut = slice(&view, &[1], true).unwrap();
    let partials = [partial(material, &[1], true), partial(material, &[0], false)];
    let encoded = partials[0].encode(&geometry()).unwrap();
    let mut combiner = Combiner::new(&geometry(), material.kind(), GENERATION, EPOCH, 2).unwrap();
    partials.into_iter().for_each(|partial| combiner.add(partial).unwrap());
    let answer = combiner.finish().unwrap();
    let found = [query, cut, encoded, answer].map(|bytes| blake3::hash(&bytes).to_hex());
    assert_eq!(found.each_ref().map(|digest| digest.as_str()), digests);
}
