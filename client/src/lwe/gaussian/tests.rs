use opaque_pir::params::STANDARD_DEVIATION;

use super::*;

/// The largest magnitude.
const LARGEST: i32 = 102;
const _: () = assert!(LARGEST as usize == TAILS.len());

fn draw(count: usize, seed: u8) -> Vec<i32> {
    let mut values = vec![0; count];
    Gaussian::new(&[seed; 32], 7).fill(&mut values, |value, sample| *value = sample);
    values
}

/// erfc by the Laplace continued fraction (x > 1.5) or the Taylor series of erf: neither is how
/// the table was made.
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x > 1.5 {
        let mut fraction = x;
        for k in (1..400).rev() {
            fraction = x + f64::from(k) / 2.0 / fraction;
        }
        return scale / fraction;
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * k + 1);
        sum += term;
    }
    1.0 - 2.0 * scale * sum
}

#[test]
fn table_holds_the_exact_probabilities() {
    for (i, &tail) in TAILS.iter().enumerate() {
        let exact = erfc((i as f64 + 0.5) / (STANDARD_DEVIATION * 2f64.sqrt())) * 2f64.powi(64);
        let error = (tail as f64 - exact).abs();
        assert!(error <= 0.5 + exact * 1e-12, "entry {i}: {tail} against {exact}");
    }
    let next = erfc((TAILS.len() as f64 + 0.5) / (STANDARD_DEVIATION * 2f64.sqrt()));
    assert!(next * 2f64.powi(64) < 0.5, "the table ends too early");
}

#[test]
fn samples_follow_the_table() {
    let count = 1_000_000;
    let samples = draw(count, 1);
    let n = count as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
    // Rounding adds 1/12 to the variance. Bounds are six standard errors.
    let expected = STANDARD_DEVIATION.powi(2) + 1.0 / 12.0;
    assert!(mean.abs() < 6.0 * (expected / n).sqrt(), "mean {mean}");
    assert!((variance - expected).abs() < 6.0 * expected * (2.0 / n).sqrt(), "variance {variance}");
    for m in [1usize, 5, 11, 22, 33, 44] {
        let expected = TAILS[m - 1] as f64 / 2f64.powi(64);
        let beyond = samples.iter().filter(|x| x.unsigned_abs() as usize >= m).count() as f64 / n;
        let bound = 6.0 * (expected * (1.0 - expected) / n).sqrt();
        assert!((beyond - expected).abs() <= bound, "P(|X| >= {m}): {beyond} against {expected}");
    }
    assert!(samples.iter().all(|x| x.unsigned_abs() as usize <= TAILS.len()));
}

#[test]
fn extremes_of_the_uniform_bytes() {
    assert_eq!(sample(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), 0);
    assert_eq!(sample(&[0; 9]), LARGEST);
    assert_eq!(sample(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), -LARGEST);
}

#[test]
fn lanes_and_seeds_are_independent_and_repeatable() {
    let lane = |seed: u8, lane: u32| {
        let mut values = [0i32; 100];
        Gaussian::new(&[seed; 32], lane).fill(&mut values, |value, sample| *value = sample);
        values
    };
    assert_eq!(lane(1, 0), lane(1, 0));
    assert_ne!(lane(1, 0), lane(1, 1));
    assert_ne!(lane(1, 0), lane(2, 0));
}
