//! The noise of an answer: the formulas of docs/ENGINE.md §8 as functions, which tests compare with
//! measurements.

use opaque_pir::inline::arithmetic::{DIAGONAL_BITS, DROPPED_BITS};
use opaque_pir::inline::{ERROR_DEVIATION, Fold, N, PUBLIC_BITS, Q_PRIMES};
use opaque_pir::params::{RING_DEGREE, STANDARD_DEVIATION};

const DEGREE: f64 = N as f64;
/// Variance of rounding to an integer.
const ROUNDING: f64 = 1.0 / 12.0;
/// Variance of a coefficient of the ternary key.
const TERNARY: f64 = 2.0 / 3.0;

/// Standard deviation of a product's noise, as a fraction of q.
pub(super) fn product_deviation(fold: Fold) -> f64 {
    let q = Q_PRIMES.map(f64::from).iter().product::<f64>();
    let fresh = ERROR_DEVIATION.powi(2) + ROUNDING;
    let (columns, factor) = (RING_DEGREE as f64, fold.factor() as f64);
    let automorphisms = columns / factor;
    // The rounding of α is multiplied by the secret under each automorphism.
    let secret = columns * (STANDARD_DEVIATION.powi(2) + ROUNDING);
    let alpha = automorphisms * ROUNDING * secret / 2f64.powi(2 * DIAGONAL_BITS.cast_signed());
    // A coefficient of α is a sum of 1024/f signed words, over 1024/f.
    let words = 2f64.powi(2 * DIAGONAL_BITS.cast_signed()) * ROUNDING / automorphisms;
    let encryptions = automorphisms * DEGREE * words * (fresh + ROUNDING) / (q * q);
    // A digit is uniform. Its dropped part is multiplied by the rotated key.
    let steps = fold.steps() as f64;
    let step = 2f64.powi(DROPPED_BITS.cast_signed());
    let switches =
        steps * DEGREE * ROUNDING * (fresh / (step * step) + TERNARY * (step / q).powi(2));
    (alpha + encryptions + switches).sqrt()
}

/// Standard deviation of the decrypted values, as a fraction of the margin of half a byte's step.
/// It covers the product and a public part of 18 bits, but neither the scan nor the rounding of a
/// row.
pub(super) fn opened_deviation(fold: Fold) -> f64 {
    let public = DEGREE * TERNARY * ROUNDING / 2f64.powi(2 * PUBLIC_BITS.cast_signed());
    512.0 * (product_deviation(fold).powi(2) + public).sqrt()
}
