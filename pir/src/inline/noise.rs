//! How much noise an answer carries. The formulas of the module's documentation as functions, which
//! the tests hold against measurements.

use super::params::{ANSWER_BITS, ERROR_DEVIATION, N, Q_PRIMES, SPECIAL_PRIMES, Variant};
use crate::geometry::Fold;
use crate::params::PLAINTEXT_MODULUS;

const DEGREE: f64 = N as f64;
/// Variance of rounding to an integer.
const ROUNDING: f64 = 1.0 / 12.0;
/// Variance of a rounding error times the ternary key, beside the one that meets no key.
const ROUNDED_PAIR: f64 = ROUNDING * (1.0 + DEGREE * 2.0 / 3.0);

/// Standard deviation of a product's noise modulo q.
pub(super) fn product_deviation(variant: Variant, fold: Fold) -> f64 {
    let square = |primes: [u32; 2]| primes.map(|p| f64::from(p).powi(2)).iter().product::<f64>();
    let fresh = ERROR_DEVIATION.powi(2) + ROUNDING;
    // A diagonal's coefficients are uniform modulo t, a message is rounded to q/t.
    let t = f64::from(PLAINTEXT_MODULUS);
    let diagonals = fold.diagonals() as f64 * DEGREE * t * t / 12.0 * (fresh + ROUNDING);
    // A digit's coefficients are uniform modulo q.
    let switch = DEGREE * square(Q_PRIMES) / 12.0 * fresh / square(SPECIAL_PRIMES) + ROUNDED_PAIR;
    (diagonals + variant.giant_steps(fold) as f64 * switch).sqrt()
}

/// Standard deviation of an answer's noise modulo 2^29.
pub(super) fn answer_deviation(variant: Variant, fold: Fold) -> f64 {
    let q = Q_PRIMES.map(f64::from).iter().product::<f64>();
    let unit = f64::from(1 << ANSWER_BITS) / q;
    // Once to 32 bits on the way, then a and b to 29.
    let on_the_way = ROUNDING / 64.0 * 2.0;
    ((product_deviation(variant, fold) * unit).powi(2) + on_the_way + ROUNDED_PAIR).sqrt()
}

/// How many deviations an answer's noise is away from a wrong coefficient: 12 and a bit, and more where a
/// plane is folded.
#[cfg(test)]
fn margin(variant: Variant, fold: Fold) -> f64 {
    let most = f64::from(1 << ANSWER_BITS) / (2.0 * f64::from(PLAINTEXT_MODULUS));
    most / answer_deviation(variant, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_far_below_the_scans() {
        for variant in Variant::ALL {
            let margins = Fold::ALL.map(|fold| margin(variant, fold));
            assert!(margins.is_sorted(), "{margins:?}");
            let [margin, .., folded] = margins;
            assert!(margin > 12.0 && folded > 16.0, "margins {margins:?}");
            // Mills' bound of both tails, over 4096 coefficients of four planes.
            let tail = -margin * margin / 2.0 / std::f64::consts::LN_2 - margin.log2();
            assert!(tail + 14.0 < -90.0, "2^{}", tail + 14.0);
        }
    }
}
