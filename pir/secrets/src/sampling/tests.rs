use opaque_pir::inline::ERROR_DEVIATION;
use opaque_pir::params::STANDARD_DEVIATION;

use super::*;

fn draw<D: Distribution>(distribution: &D, count: usize, seed: u8, lane: u32) -> Vec<i32> {
    let mut values = vec![0; count];
    Stream::new(&[seed; 32], lane).fill(distribution, &mut values, |value, sample| *value = sample);
    values
}

/// erfc by the Laplace continued fraction (x > 1.5) or the Taylor series of erf. The tables were
/// computed by another method.
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

fn holds_the_exact_probabilities<const T: usize>(Gaussian(tails): &Gaussian<T>, deviation: f64) {
    let exact = |i: usize| erfc((i as f64 + 0.5) / (deviation * 2f64.sqrt())) * 2f64.powi(64);
    for (i, &tail) in tails.iter().enumerate() {
        let error = (tail as f64 - exact(i)).abs();
        assert!(error <= 0.5 + exact(i) * 1e-12, "entry {i}: {tail} against {}", exact(i));
    }
    assert!(exact(T) < 0.5, "the table ends too early");
}

fn follows_its_table<const T: usize>(gaussian: &Gaussian<T>, deviation: f64, marks: &[usize]) {
    let count = 1_000_000;
    let samples = draw(gaussian, count, 1, 7);
    let n = count as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
    // Rounding adds 1/12 to the variance. Bounds are six standard errors.
    let expected = deviation.powi(2) + 1.0 / 12.0;
    assert!(mean.abs() < 6.0 * (expected / n).sqrt(), "mean {mean}");
    assert!((variance - expected).abs() < 6.0 * expected * (2.0 / n).sqrt(), "variance {variance}");
    for &m in marks {
        let expected = gaussian.0[m - 1] as f64 / 2f64.powi(64);
        let beyond = samples.iter().filter(|x| x.unsigned_abs() as usize >= m).count() as f64 / n;
        let bound = 6.0 * (expected * (1.0 - expected) / n).sqrt();
        assert!((beyond - expected).abs() <= bound, "P(|X| >= {m}): {beyond} against {expected}");
    }
    assert!(samples.iter().all(|x| x.unsigned_abs() as usize <= T));
}

fn meets_its_extremes<const T: usize>(gaussian: &Gaussian<T>) {
    let largest = i32::try_from(T).unwrap();
    let first = gaussian.0[0];
    for (u, magnitude) in [(u64::MAX, 0), (first, 0), (first - 1, 1), (0, largest)] {
        for (sign, sample) in
            [(0, magnitude), (1, -magnitude), (0xfe, magnitude), (0xff, -magnitude)]
        {
            assert_eq!(gaussian.sample(u, sign), sample);
        }
    }
}

#[test]
fn tables_hold_the_exact_probabilities() {
    holds_the_exact_probabilities(&SCAN_ERRORS, STANDARD_DEVIATION);
    holds_the_exact_probabilities(&RING_ERRORS, ERROR_DEVIATION);
}

#[test]
fn samples_follow_the_tables() {
    follows_its_table(&SCAN_ERRORS, STANDARD_DEVIATION, &[1, 5, 11, 22, 33, 44]);
    follows_its_table(&RING_ERRORS, ERROR_DEVIATION, &[1, 2, 3, 6, 9, 13]);
}

#[test]
fn extremes_of_the_uniform_bits() {
    meets_its_extremes(&SCAN_ERRORS);
    meets_its_extremes(&RING_ERRORS);
    let third = u64::MAX / 3;
    for (u, expected) in
        [(0, -1), (third, -1), (third + 1, 0), (2 * third, 0), (2 * third + 1, 1), (u64::MAX, 1)]
    {
        assert_eq!((Ternary.sample(u, 0), Ternary.sample(u, 1)), (expected, expected), "{u}");
    }
}

#[test]
fn ternary_samples_are_uniform() {
    let samples = draw(&Ternary, 300_000, 3, 1);
    let n = samples.len() as f64;
    for value in -1..=1 {
        let share = samples.iter().filter(|&&x| x == value).count() as f64 / n;
        assert!((share - 1.0 / 3.0).abs() < 6.0 * (2.0 / 9.0 / n).sqrt(), "{value}: {share}");
    }
}

#[test]
fn lanes_and_seeds_are_independent_and_repeatable() {
    let lane = |seed, lane| draw(&RING_ERRORS, 100, seed, lane);
    assert_eq!(lane(1, 0), lane(1, 0));
    assert_ne!(lane(1, 0), lane(1, 1));
    assert_ne!(lane(1, 0), lane(2, 0));
}
