//! Known-answer vectors: fixed inputs, and BLAKE3 digests of outputs. A digest changes only with
//! the wire format or the mathematics, and such a change affects every deployed client and epoch.
#![expect(clippy::unwrap_used, reason = "a test, helpers included")]

#[path = "support/stream.rs"]
mod stream;

use opaque_pir::codec::{
    Combiner, KeyDigest, Material, Partial, QueryView, QueryWriter, probe_slice, slice,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::HintBuilder;
use opaque_pir::machine::ScanKernel;
use opaque_pir::probe::Probe;
use opaque_pir::ring::{Multiplier, public_element};
use opaque_pir::scan::{Partition, scan};
use opaque_pir::seed::IndexSeed;
use stream::{COLUMN, SALT, stream, words};

const EPOCH: u64 = 11;
const GENERATION: u64 = 13;

fn geometry() -> Geometry {
    Geometry::new(4096, 2048, 16).unwrap()
}

fn seed() -> IndexSeed {
    IndexSeed::new(&SALT, "Weather", EPOCH, COLUMN, &geometry())
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
    Probe::new(&seed(), [&[1; 32], &[2; 32]])
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
    let bytes = kind.product_bytes(&geometry(), 0);
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
fn seeds() {
    let hex = blake3::Hash::from_bytes(*seed().as_bytes()).to_hex();
    assert_eq!(hex.as_str(), "b7ec7c3ffbfcea8340b3830bc4568623eb253bb9baeb0efb1f1919dc32d1e8cc");
}

#[test]
fn public_elements() {
    check_words(
        public_element(&seed(), 0).as_slice(),
        "4c8457de73edb8f8cc222043b97b6e0e0bd4fcbcb56afef902a416c7d69f4f3b",
    );
    check_words(
        public_element(&seed(), 1023).as_slice(),
        "223d453ab1b109b10ee97dfbcc0039c0cabc2c88a3248fb450ab5cd9faaa7963",
    );
}

#[test]
fn products() {
    let bytes = stream("small secret", 1024);
    let secret = std::array::from_fn(|i| i32::from(bytes[i] as i8));
    let mut product = [0; 1024];
    Multiplier::new(&secret).times(&public_element(&seed(), 0), &mut product);
    check_words(&product, "854fd74ca8b0cc794d816516e8181349ad3373a861101b7daa44257f5a8a19ce");
    check_words(
        probe().query(&seed(), 1).map(|block| *block).as_flattened(),
        "112f027fa3ffdb66aa9100f732c104f93197e9be7622ae8b150a6f04b4514a45",
    );
}

#[test]
fn scans() {
    let partitions: Vec<Partition> =
        (0..2).map(|j| Partition::try_from((&partition(j)[..], &geometry())).unwrap()).collect();
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let queries: Vec<Vec<u32>> = (0..3).map(|q| words(&format!("query {q}"), 2048)).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let sums = scan(ScanKernel::best(), &geometry(), &partitions, &queries).unwrap();
    check_words(&sums.concat(), "fa3d076188786d9d20cf4c760a099e5c1262d71aa08ac89d28851ca83e5c1b16");
}

#[test]
fn hints() {
    let mut builder = HintBuilder::new(seed(), &geometry());
    (0..2).for_each(|j| builder.add(j, &partition(j)).unwrap());
    check_words(
        &builder.finish().unwrap().into_planes().concat(),
        "39adf4ae9fd97ba6666158f27df1aadd5be433ba5a15b5bbe0332a53e901d955",
    );
}

#[test]
fn messages() {
    check(
        &probe_slice(&geometry(), EPOCH, &[0, 1], true).unwrap(),
        "a1965e8c2e924ffba3906744f71d803bef77be4bbb2dcc357105688e2783403c",
    );
    check_messages(
        registered(),
        [
            "29577593763233f32fa7e12e4f99033c054e2a7ce40dfabe3ab0f8acb5f23d03",
            "e16bfec96c349331c6648cb07cf1a04a44ddd9e23caf3ba25e3cc35bd66023d5",
            "c85b28d0ffb74d3b2f48efeda59959563a309c56e3e41b61f3c535e879af9705",
            "c2002443206423a038068ce1b9c5b84c69879269222cf2bc8cd3d854f109ceb9",
        ],
    );
    check_messages(
        Material::Inline,
        [
            "80c452b4326625402eee5f0d97bacc8decdbfb07f07b29e59c51bb1d5b8a2735",
            "1da41333667178df2e447ce2cf4a8d0fba2c972fff2bfdc8011e144472e0d570",
            "f2fbf1ad818ad78ad2f36afa79b79b2881f3216e8709808ae9b2b31c3d06e980",
            "7d988aa7c8934b2e5fa60d8749f2ba809a58de937407f8c036c7ffebf4808111",
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
