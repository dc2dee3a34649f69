//! Medians and spreads of times.

use std::time::Duration;

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One figure from every round.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self(samples)
    }

    /// The median: the middle value, or the mean of the middle two; 0 if there are none.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        let at = |i: usize| self.0.get(i).copied().unwrap_or(0.0);
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        }
    }

    /// The smallest value such that at least `share` of all values do not exceed it; 0 if there are
    /// none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// The largest value minus the smallest.
    pub(crate) fn spread(&self) -> f64 {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_quantiles_and_spreads() {
        let samples = Samples::new(vec![5.0, 1.0, 4.0]);
        assert_eq!((samples.median(), samples.spread()), (4.0, 4.0));
        let samples = Samples::new(vec![2.0, 8.0, 4.0, 6.0]);
        assert_eq!((samples.median(), samples.spread()), (5.0, 6.0));
        let samples = Samples::new((1..=100).map(f64::from).collect());
        assert_eq!((samples.quantile(0.5), samples.quantile(0.99)), (50.0, 99.0));
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 100.0));
        let none = Samples::new(Vec::new());
        assert_eq!((none.median(), none.quantile(0.5), none.spread()), (0.0, 0.0, 0.0));
    }
}
