//! Known-answer vectors: fixed inputs, BLAKE3 digests of outputs. A digest changes only with the
//! wire format or the mathematics, and then every deployed client and epoch is affected.
#![expect(clippy::unwrap_used, reason = "a test, helpers included")]

use opaque_pir::codec::{
    Combiner, KeyDigest, Material, Partial, QueryView, QueryWriter, probe_slice, slice,
};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::HintBuilder;
use opaque_pir::layout::Salt;
use opaque_pir::probe::Probe;
use opaque_pir::ring::{Multiplier, public_element};
use opaque_pir::scan::{Kernel, Partition, scan};
use opaque_pir::seed::IndexSeed;

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
    assert_eq!(hex.as_str(), "eaf62f6a7c62af0a2a399f4401a46c7b0088f99dcb0fafffed20d704fd74a19d");
}

#[test]
fn public_elements() {
    check_words(
        public_element(&seed(), 0).as_slice(),
        "c6218cfb32bb2dcf87e2d6189e5b4146484b813dbd64aa9a92c0acb98bfd7517",
    );
    check_words(
        public_element(&seed(), 1023).as_slice(),
        "4beebaaf186d0edfa40c59719cca0bd075f1fa9077c50f476e62954b2b775ad3",
    );
}

#[test]
fn products() {
    let bytes = stream("small secret", 1024);
    let secret = std::array::from_fn(|i| i32::from(bytes[i] as i8));
    let mut product = [0; 1024];
    Multiplier::new(&secret).times(&public_element(&seed(), 0), &mut product);
    check_words(&product, "2c80bc8a78acc09c84e9a2631e24d715d196ee887a03a4ce228d5f0c4b2e1d7b");
    check_words(
        probe().query(&seed(), 1).map(|block| *block).as_flattened(),
        "7fb9140779a248b3c4c37680664de75b14e86fa66a7ec1eb77a61acc16f8a8e5",
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
    let mut builder = HintBuilder::new(seed(), &geometry());
    (0..2).for_each(|j| builder.add(j, &partition(j)).unwrap());
    check_words(
        &builder.finish().unwrap().into_planes().concat(),
        "0129b6dba46b6272c4ebbc3c6aa7788d69fa38b8bfd962868a9e1590d0c9d510",
    );
}

#[test]
fn messages() {
    check(
        &probe_slice(&geometry(), EPOCH, &probe(), &[0, 1], true).unwrap(),
        "291566f2a66d376d5e3268eaf5b0b891b98298404052d4d3746fda4af7e5cf50",
    );
    check_messages(
        registered(),
        [
            "b9b12d47f11b8b774affeb01320dfdaa3b82f8dde50d99893eed5ea691750d61",
            "097337b803fe29edd0944af2130923213370a09513619b7d20ea36769c2fd9b5",
            "3cde1ba626e869f11fe1f1b84566338234e3024ccfd1cccb0057dce583d0766c",
            "38d078ae67be7897884544d786373d3d04fd30c18fd4ab1ee7a32a0c482658a9",
        ],
    );
    check_messages(
        Material::Inline,
        [
            "6e73a332c583b860eff960e97033039f2d953b42aa5b5b3ed08f8edbca6eaf95",
            "ff1aad07db0829e2b19b3005626956a4ab898e19418bbcfa36c9d7a0a48fbd36",
            "61af31ef1e01b6545da9f8f0ddb6cfd00aabdc5fe2fa81901d54e553b4cf4980",
            "b6a60cc1f3eb580900153cb9661287c27a7ee0f80efc2fea63e923821abded0e",
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
