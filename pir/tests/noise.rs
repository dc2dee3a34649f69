//! A whole lookup with plain arithmetic instead of BFV: every byte is correct, and the error is as
//! large as `params` states, neither larger nor suspiciously small.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test, helpers included"
)]

#[path = "support/lwe.rs"]
mod lwe;

use lwe::{EPOCH, Index, seed};
use opaque_pir::codec::{
    AnswerView, Combiner, KeyDigest, Material, Partial, QueryView, QueryWriter, Share, Slice,
    answer_bytes, query_bytes, recover_byte, slice,
};
use opaque_pir::machine::ScanKernel;
use opaque_pir::params::{
    DELTA, ENCRYPTED_SECRET_BYTES, PLAINTEXT_MODULUS, PLANE_CIPHERTEXT_BYTES, RING_DEGREE,
    STANDARD_DEVIATION,
};
use opaque_pir::probe::Probe;
use opaque_pir::scan::{Partition, scan};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

const T: i64 = PLAINTEXT_MODULUS as i64;
/// E[D²] for uniform bytes −128..127.
const MEAN_SQUARE: f64 = 5461.5;

impl Index {
    /// Rows of the hint.
    fn hint_rows(&self) -> impl ParallelIterator<Item = &[u32]> {
        self.hint.planes().par_iter().flat_map(|plane| plane.par_chunks_exact(RING_DEGREE))
    }

    /// H·s mod 2^32.
    fn exact_products(&self, secret: &[i32; RING_DEGREE]) -> Vec<u32> {
        let product = |row: &[u32]| {
            let terms = row.iter().zip(secret).map(|(h, s)| h.wrapping_mul(s.cast_unsigned()));
            terms.fold(0, u32::wrapping_add)
        };
        self.hint_rows().map(product).collect()
    }

    /// H'·s mod t with H' = round(H·t/2^32): what BFV computes under encryption.
    fn rounded_products(&self, secret: &[i32; RING_DEGREE]) -> Vec<u32> {
        let product = |row: &[u32]| {
            let rounded = |h: u32| (i64::from(h) * T + (1 << 31)) >> 32;
            let terms = row.iter().zip(secret).map(|(h, s)| rounded(*h) * i64::from(*s));
            terms.sum::<i64>().rem_euclid(T) as u32
        };
        self.hint_rows().map(product).collect()
    }
}

fn deviation(errors: &[f64]) -> f64 {
    (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt()
}

/// 4096 samples estimate a deviation to 1.1 %, and the query's own draw of s (or e) adds 2.2 %.
fn assert_close(measured: f64, formula: f64) {
    let ratio = measured / formula;
    assert!((0.9..1.1).contains(&ratio), "measured {measured}, formula {formula}");
}

/// c − H·s = Δ·D[:,k*] + D·e: the error's deviation is sqrt(C·E[D²])·σ, and bytes are whole.
#[test]
fn the_scan_s_own_error_is_as_computed() {
    let mut rng = StdRng::seed_from_u64(1);
    for buckets in [1024, 8192] {
        let index = Index::new(4096, buckets, &mut rng);
        let partitions: Vec<&Partition> = index.partitions.iter().collect();
        for bucket in [0, buckets / 2 + 17, buckets - 1] {
            let lwe::Encrypted { secret, query } = index.encrypt(bucket, &mut rng);
            let sums = scan(ScanKernel::best(), &index.geometry, &partitions, &[&query]).unwrap();
            let mut errors = Vec::new();
            for (row, (c, hs)) in sums[0].iter().zip(index.exact_products(&secret)).enumerate() {
                let byte = index.byte(row, bucket);
                let noisy = c.wrapping_sub(hs);
                let rounded = noisy.wrapping_add(DELTA / 2) >> 24;
                assert_eq!(rounded as u8, byte);
                let error = noisy.wrapping_sub(DELTA.wrapping_mul(u32::from(byte)));
                errors.push(f64::from(error.cast_signed()));
            }
            let formula = (f64::from(buckets) * MEAN_SQUARE).sqrt() * STANDARD_DEVIATION;
            assert_close(deviation(&errors), formula);
        }
    }
}

/// The whole path through the codecs, two shards, two planes, three lookups; the error against
/// `σ_total² = (t/q)²·C·E[D²]·(σ² + 2^(64−2k)/12) + (n/12)·σ² + 1/6`, for k bits of each number,
/// where 1/6 is the rounding of c' and of the byte's own position, 1/12 each.
#[test]
fn a_lookup_s_error_is_as_computed() {
    let mut rng = StdRng::seed_from_u64(2);
    let buckets = 4096;
    let index = Index::new(8192, buckets, &mut rng);
    let geometry = &index.geometry;
    let wanted = [0, 2049, buckets - 1];
    let lookups = wanted.len() as u16;

    let material = Material::Registered(KeyDigest::of(b"no keys: products are plain here"));
    let mut writer = QueryWriter::new(geometry, EPOCH, material, lookups).unwrap();
    let mut secrets = Vec::new();
    for bucket in wanted {
        let lwe::Encrypted { secret, query } = index.encrypt(bucket, &mut rng);
        writer.lookup(&query, &[0; ENCRYPTED_SECRET_BYTES]).unwrap();
        secrets.push(secret);
    }
    let query = writer.finish().unwrap();
    let kind = material.kind();
    assert_eq!(query.len(), query_bytes(geometry, kind, lookups));

    let view = QueryView::decode(&query, geometry, EPOCH).unwrap();
    let mut combiner = Combiner::new(geometry, kind, 1, EPOCH, lookups).unwrap();
    for (partitions, plane) in [([0, 3], 1), ([1, 2], 0)] {
        let bytes = slice(&view, &partitions, true).unwrap();
        let slice = Slice::decode(&bytes, geometry, EPOCH).unwrap();
        let served: Vec<&Partition> =
            slice.partitions().iter().map(|j| &index.partitions[*j as usize]).collect();
        let probe = Probe::new(&seed(geometry), []);
        let queries = slice.scan_queries(&seed(geometry), &probe);
        let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
        let scans = scan(ScanKernel::best(), geometry, &served, &queries).unwrap();
        let products = vec![vec![0; PLANE_CIPHERTEXT_BYTES]; wanted.len()];
        let planes = vec![(plane, products)];
        let partitions = partitions.to_vec();
        let partial = Partial { generation: 1, epoch: EPOCH, kind, partitions, scans, planes };
        let bytes = partial.encode(geometry).unwrap();
        combiner.add(Partial::decode(&bytes, geometry, lookups, kind).unwrap()).unwrap();
    }
    let answer = combiner.finish().unwrap();
    assert_eq!(answer.len(), answer_bytes(geometry, kind, lookups));

    let view = AnswerView::decode(&answer, geometry, kind, EPOCH, lookups).unwrap();
    for (lookup, (bucket, secret)) in (0..).zip(wanted.iter().zip(&secrets)) {
        let sums = |plane| match view.share(lookup, plane).unwrap() {
            Share::Registered { sums, .. } => sums,
            Share::Inline(_) => panic!("another kind of keys"),
        };
        let scans = [0, 1].map(sums).concat();
        let mut errors = Vec::new();
        for (row, (c, hs)) in scans.iter().zip(index.rounded_products(secret)).enumerate() {
            let byte = index.byte(row, *bucket);
            assert_eq!(recover_byte(*c, hs), byte);
            let difference = (i64::from(*c) - i64::from(hs)).rem_euclid(T) as f64;
            let error = difference - f64::from(byte) * T as f64 / 256.0;
            errors.push(error - (error / T as f64).round() * T as f64);
        }
        let ratio = T as f64 / 4_294_967_296.0;
        let (n, c) = (RING_DEGREE as f64, f64::from(buckets));
        let variance = STANDARD_DEVIATION * STANDARD_DEVIATION;
        // The rounding error of a query's words.
        let step = 2f64.powi(32 - geometry.rounding().bucket_bits as i32);
        let sent = variance + step * step / 12.0;
        let formula = ratio * ratio * c * MEAN_SQUARE * sent + n / 12.0 * variance + 1.0 / 6.0;
        assert_close(deviation(&errors), formula.sqrt());
    }
}
