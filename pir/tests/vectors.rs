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
        (0..2).map(|j| Partition::try_from((partition(j), &geometry())).unwrap()).collect();
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
            "db27c24fcc3d2a3513bb824616645e38cad096b5a69c6bbfaabd4060fb6eb281",
            "2eec2a040322956578d15ceaf7da0b4f833c639a50cbc5f0ec5f8ad186b139a2",
            "f42bcdb58425f81e2ef33140ce4290b39db0f37fb5098627a9aa40c497c3166b",
            "280a0813260eb256abb40bf7899f5e17b906b735422cf7e8a956220ed36f6869",
        ],
    );
    check_messages(
        Material::Inline(Variant::Two),
        [
            "54a5dd7ef0e4b611fd8997a4ff8a216540754cb20cb9d702291640935227782a",
            "960b5e35997a477442faf63d1d29fac51b1fa2edebdf0bf8a1f153e05ef0f29a",
            "0c1138defdb1c748ed4d1cfa95638c591abc53efca4f2860c21dc57679c72b12",
            "bfa9132895f3e36d497d8bcb38dbe8ff44da15957e63d77f9d675515f3129e6e",
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
