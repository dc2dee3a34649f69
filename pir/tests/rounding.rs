//! Measures the bits per bucket: a lookup with rounded numbers has the error that
//! `geometry/rounding.rs` computes, and every byte is correct.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test, helpers included"
)]

#[path = "support/lwe.rs"]
mod lwe;

use lwe::Index;
use opaque_pir::codec::recover_byte;
use opaque_pir::geometry::round_word;
use opaque_pir::machine::ScanKernel;
use opaque_pir::params::{MAX_BUCKETS, PLAINTEXT_MODULUS, RING_DEGREE};
use opaque_pir::scan::{Partition, scan};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

const T: i64 = PLAINTEXT_MODULUS as i64;
/// Lookups of one measurement. The draw of a secret moves a lookup's own deviation by 2 %.
const LOOKUPS: u32 = 24;

impl Index {
    /// The errors of `c' − H'·s` over all rows of some lookups, in units of 1/t.
    fn errors(&self, bits: u32, lookups: u32, rng: &mut StdRng) -> Vec<f64> {
        let buckets = self.geometry.buckets();
        let wanted: Vec<u32> = (0..lookups).map(|_| rng.next_u32() % buckets).collect();
        let encrypted: Vec<_> = wanted.iter().map(|k| self.encrypt(*k, rng)).collect();
        let round = |words: &[u32]| -> Vec<u32> {
            words.iter().map(|word| round_word(*word, bits)).collect()
        };
        let queries: Vec<Vec<u32>> = encrypted.par_iter().map(|one| round(&one.query)).collect();
        let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
        let partitions: Vec<&Partition> = self.partitions.iter().collect();
        let sums = scan(ScanKernel::best(), &self.geometry, &partitions, &queries).unwrap();
        let mut errors = Vec::new();
        for ((sums, one), bucket) in sums.iter().zip(&encrypted).zip(&wanted) {
            let rows = self.hint.planes()[0].chunks_exact(RING_DEGREE);
            for (r, (c, row)) in sums.iter().zip(rows).enumerate() {
                let switch = |word: u32| (i64::from(word) * T + (1 << 31)) >> 32;
                let terms = row.iter().zip(one.secret.iter());
                let product = terms.map(|(h, s)| switch(*h) * i64::from(*s)).sum::<i64>();
                let (c, hs) = (switch(*c) % T, product.rem_euclid(T));
                let byte = self.byte(r, *bucket);
                assert_eq!(recover_byte(c as u32, hs as u32), byte);
                let error = (c - hs) as f64 - f64::from(byte) * T as f64 / 256.0;
                errors.push(error - (error / T as f64).round() * T as f64);
            }
        }
        errors
    }
}

/// The documentation's formula, in floating point.
fn formula(buckets: u32, bits: u32) -> f64 {
    let step = if bits == 32 { 0.0 } else { 2f64.powi(32 - bits as i32) };
    let ratio = T as f64 / 2f64.powi(32);
    let (error, n) = (121.0 + 1.0 / 12.0, RING_DEGREE as f64);
    let scan = ratio * ratio * f64::from(buckets) * 5461.5 * (error + step * step / 12.0);
    (scan + n / 12.0 * error + 1.0 / 6.0).sqrt()
}

/// 24 lookups of 256 rows estimate a deviation to 1 %, the draws of their secrets to half a per
/// cent more.
#[test]
fn the_error_of_rounded_numbers_is_as_computed() {
    let mut rng = StdRng::seed_from_u64(3);
    for buckets in [1024, 24_576, 94_208, 1 << 17, 1 << 18] {
        let index = Index::new(256, buckets, &mut rng);
        let bits = index.geometry.rounding().bucket_bits;
        for bits in [bits, 32] {
            let errors = index.errors(bits, LOOKUPS, &mut rng);
            check(buckets, bits, &errors);
        }
    }
}

/// The largest matrix, 256 MiB, with the smallest margin.
#[test]
fn the_largest_matrix_keeps_its_margin() {
    let mut rng = StdRng::seed_from_u64(4);
    let index = Index::new(256, MAX_BUCKETS, &mut rng);
    let bits = index.geometry.rounding().bucket_bits;
    let errors = index.errors(bits, LOOKUPS, &mut rng);
    check(MAX_BUCKETS, bits, &errors);
}

fn check(buckets: u32, bits: u32, errors: &[f64]) {
    let count = errors.len() as f64;
    let measured = (errors.iter().map(|error| error * error).sum::<f64>() / count).sqrt();
    let mean = errors.iter().sum::<f64>() / count;
    let (computed, margin) = (formula(buckets, bits), T as f64 / 512.0);
    println!(
        "C = {buckets}, {bits} bits: deviation {measured:.1}, formula {computed:.1}, mean {mean:.1}; \
         the margin is {:.2} deviations measured, {:.2} computed",
        margin / measured,
        margin / computed
    );
    assert!((0.95..1.05).contains(&(measured / computed)), "{measured} against {computed}");
    // 256 rows, by Mills' bound of both tails.
    let kept = margin / computed;
    let failure = 8.0 + 1.0 - (2.507 * kept).log2() - kept * kept / 2.0 / std::f64::consts::LN_2;
    assert!(failure < -40.0, "2^{failure}");
    // Rounding shifts nothing: rows share a lookup's errors, so the mean is one of few draws.
    assert!(mean.abs() < computed / 8.0, "mean {mean}");
}
