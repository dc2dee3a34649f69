//! The whole path of lookups without a network, with inline keys and with registered keys.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy takes for ordinary code"
)]

// This import must come first: it determines the order in which two copies of zstd are linked. The
// `lib.rs` of opaque-registered explains it.
use opaque_registered as _;

use std::sync::Arc;

use bytes::Bytes;
use opaque_client::lookup::index_keys::IndexKeys;
use opaque_client::lookup::lwe::{self, Target};
use opaque_pir::{
    codec::{AnswerView, Combiner, Material, Partial, QueryView, QueryWriter},
    geometry::Geometry,
    hint::{Hint, HintBuilder},
    inline::{self, Chain, InlineQuery, PublicElements},
    machine::{ScanKernel, VectorKernel},
    params::{PLANE_ROWS, RING_DEGREE},
    scan::{Partition, scan},
    seed::{IndexSeed, Salt},
};
use opaque_registered::Keys;
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use opaque_secrets::inline::Seed;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

const COLUMN: u32 = 2;
const EPOCH: u64 = 1;
const GENERATION: u64 = 7;

fn index_seed(geometry: &Geometry) -> IndexSeed {
    IndexSeed::new(&Salt([9; 32]), "t", EPOCH, COLUMN, geometry)
}

/// A plane's products, one for each lookup: separate bytes, or words that are subtracted from the
/// sums.
enum Product {
    Beside(Vec<Vec<u8>>),
    Within(Vec<Vec<u32>>),
}

/// A matrix of two partitions and two planes, with its hint.
struct Index {
    geometry: Geometry,
    matrix: Vec<Vec<u8>>,
    hint: Hint,
}

impl Index {
    fn random(rng: &mut StdRng) -> Self {
        let geometry = Geometry::new(8192, 2048, 1).unwrap();
        let mut hint = HintBuilder::new(index_seed(&geometry), &geometry);
        let mut matrix = Vec::new();
        for j in 0..geometry.partitions() {
            let mut bytes = vec![0u8; geometry.partition_bytes()];
            rng.fill_bytes(&mut bytes);
            hint.add(j, &bytes).unwrap();
            matrix.push(bytes);
        }
        Self { geometry, matrix, hint: hint.finish().unwrap() }
    }

    fn seed(&self) -> IndexSeed {
        index_seed(&self.geometry)
    }

    fn bucket(&self, bucket: u32) -> Vec<u8> {
        let (j, k) = (bucket as usize / 1024, bucket as usize % 1024);
        self.matrix[j].chunks(1024).map(|row| row[k]).collect()
    }

    fn planes(&self) -> impl Iterator<Item = &[u32]> {
        self.hint.planes().iter().map(Vec::as_slice)
    }

    fn inline(&self) -> IndexKeys {
        let chain = Chain::new(&PublicElements::new(&self.seed()));
        let public = self.planes().map(|plane| chain.tables(plane).unwrap().public().clone());
        IndexKeys::inline(&self.seed(), public.collect())
    }

    /// The servers' half, on public bytes only: two shards, each with a partition and a plane.
    fn answer(&self, query: &[u8], evaluation: Option<&Bytes>) -> Vec<u8> {
        let view = QueryView::decode(query, &self.geometry, EPOCH).unwrap();
        let (kind, lookups) = (view.material().kind(), view.lookups());
        let products = self.products(&view, evaluation);
        let mut combiner = Combiner::new(&self.geometry, kind, GENERATION, EPOCH, lookups).unwrap();
        for ((j, bytes), product) in (0u16..).zip(&self.matrix).zip(products) {
            let partition = Partition::try_from((bytes.as_slice(), &self.geometry)).unwrap();
            let words = |lookup| view.lwe_partition(lookup, j.into()).unwrap();
            let slices: Vec<Vec<u32>> = (0..lookups).map(words).collect();
            let slices: Vec<&[u32]> = slices.iter().map(Vec::as_slice).collect();
            let mut scans =
                scan(ScanKernel::Scalar, &self.geometry, &[&partition], &slices).unwrap();
            let product = match product {
                Product::Beside(product) => product,
                Product::Within(product) => {
                    for (scan, product) in scans.iter_mut().zip(&product) {
                        let rows = scan.iter_mut().skip(usize::from(j) * PLANE_ROWS);
                        rows.zip(product).for_each(|(row, word)| *row = row.wrapping_sub(*word));
                    }
                    vec![Vec::new(); product.len()]
                }
            };
            let partial = Partial {
                generation: GENERATION,
                epoch: EPOCH,
                kind,
                partitions: vec![j.into()],
                scans,
                planes: vec![(j, product)],
            };
            combiner.add(partial).unwrap();
        }
        combiner.finish().unwrap()
    }

    /// The products of each plane.
    fn products(&self, view: &QueryView<'_>, evaluation: Option<&Bytes>) -> Vec<Product> {
        let secrets = (0..view.lookups()).map(|lookup| view.encrypted_secret(lookup).unwrap());
        match view.material() {
            Material::Inline => {
                let queries: Vec<InlineQuery> =
                    secrets.map(|s| InlineQuery::from_bytes(s).unwrap()).collect();
                let queries: Vec<&InlineQuery> = queries.iter().collect();
                let chain = Chain::new(&PublicElements::new(&self.seed()));
                let product = |plane: &[u32]| {
                    let tables = chain.tables(plane).unwrap();
                    let kernel = VectorKernel::best();
                    Product::Within(inline::multiply(kernel, &tables, &queries).unwrap())
                };
                self.planes().map(product).collect()
            }
            // Registered keys.
            _ => {
                let products = seal_products(self, secrets, evaluation.unwrap());
                products.into_iter().map(Product::Beside).collect()
            }
        }
    }
}

fn seal_products<'a>(
    index: &Index,
    secrets: impl Iterator<Item = &'a [u8]>,
    evaluation: &Bytes,
) -> Vec<Vec<Vec<u8>>> {
    let bfv = Bfv::new().unwrap();
    let keys = EvaluationKeys::from_bytes(&bfv, evaluation).unwrap();
    let tables: Vec<PlaneTable> =
        index.planes().map(|plane| PlaneTable::build(&bfv, plane).unwrap()).collect();
    let tables: Vec<&PlaneTable> = tables.iter().collect();
    let per_lookup: Vec<Vec<Vec<u8>>> = secrets
        .map(|secret| {
            let secret = EncryptedSecret::from_bytes(&bfv, secret).unwrap();
            hint_product(&bfv, &keys, &secret, &tables).unwrap()
        })
        .collect();
    let of_plane = |plane: usize| per_lookup.iter().map(|l| l[plane].clone()).collect();
    (0..tables.len()).map(of_plane).collect()
}

/// Keys of both kinds.
fn all_keys(index: &Index) -> [IndexKeys; 2] {
    let registered = Keys::generate(Bfv::new().unwrap()).unwrap();
    [index.inline(), IndexKeys::Registered(Arc::new(registered))]
}

/// The same lookups with both kinds of keys. Every byte of each bucket is correct, whether SEAL or
/// this project computes the product.
#[test]
fn both_kinds_of_keys_bring_the_same_buckets() {
    let mut rng = StdRng::seed_from_u64(5);
    let index = Index::random(&mut rng);
    let geometry = &index.geometry;
    let buckets = [0, 1023, 1024, rng.random_range(0..2048)];
    for keys in all_keys(&index) {
        let mut writer = QueryWriter::new(geometry, EPOCH, keys.material(), 4).unwrap();
        let mut openers = Vec::new();
        for bucket in buckets {
            let target = Target { seed: &index.seed(), geometry, bucket };
            let query = lwe::encrypt(target, lwe::Seed::draw(&mut rng).unwrap());
            let seed = Seed::draw(&mut rng).unwrap();
            let (secret, opener) = keys.encrypt(seed, &query.secret).unwrap();
            writer.lookup(&query.lwe, &secret).unwrap();
            openers.push(opener);
        }
        let answer = index.answer(&writer.finish().unwrap(), keys.evaluation());
        let kind = keys.kind();
        let view = AnswerView::decode(&answer, geometry, kind, EPOCH, 4).unwrap();
        for (lookup, (opener, bucket)) in (0..).zip(openers.iter().zip(buckets)) {
            let found = keys.open(opener, geometry, &view, lookup).unwrap();
            assert!(*found == index.bucket(bucket), "bucket {bucket} with {kind:?}");
            // Another lookup's secret decrypts nothing, which cannot be detected.
            let other = keys.open(&openers[usize::from(lookup) ^ 1], geometry, &view, lookup);
            let linked = keys.evaluation().is_some();
            assert_eq!(*other.unwrap() == index.bucket(bucket), linked, "{kind:?}");
        }
        assert!(keys.open(&openers[0], geometry, &view, 4).is_err(), "there is no such lookup");
    }
}

/// The encryptions of a lookup differ and have the size of their kind. Anything but a scan's secret
/// is refused.
#[test]
fn secrets_are_encrypted_afresh_and_in_one_size() {
    let mut rng = StdRng::seed_from_u64(6);
    let index = Index::random(&mut rng);
    for keys in all_keys(&index) {
        let mut encrypt = |secret: &[i32; RING_DEGREE]| {
            keys.encrypt(Seed::draw(&mut rng).unwrap(), secret).map(|(bytes, _)| bytes)
        };
        let (zero, wide) = ([0; RING_DEGREE], [99; RING_DEGREE]);
        let all = [&zero, &zero, &wide].map(|secret| encrypt(secret).unwrap());
        assert!(all.iter().all(|bytes| bytes.len() == keys.kind().secret_bytes()));
        assert!(all[0] != all[1] && all[1] != all[2]);
        assert!(encrypt(&[1 << 20; RING_DEGREE]).is_err());
    }
}
