//! Decides when a failed reconcile is tried again.
//!
//! Each category has an initial pause, which doubles with each consecutive failure up to a limit. A
//! fifth of the pause is jitter, derived from the object and the number of failures. Objects that
//! failed together are therefore not retried together, and the same history gives the same pauses.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Category;

/// Initial and maximum pause. `None` means to wait until the object changes or until the periodic
/// reconcile.
fn bounds(category: Category) -> Option<(Duration, Duration)> {
    let (first, cap) = match category {
        Category::Conflict => (100, 5_000),
        Category::Transient => (500, 60_000),
        Category::Missing => (2_000, 60_000),
        Category::Internal => (5_000, 300_000),
        Category::Invalid => return None,
    };
    Some((Duration::from_millis(first), Duration::from_millis(cap)))
}

/// Pause after `failures` consecutive failures, at least 1.
pub(super) fn pause(category: Category, failures: u32, object: &str) -> Option<Duration> {
    let (first, cap) = bounds(category)?;
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let pause = doubled.min(cap);
    Some(pause - pause.mul_f64(0.2 * fraction(object, failures)))
}

/// A number from 0 to 1 that differs between objects and counts.
pub(crate) fn fraction(object: &str, failures: u32) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(object.as_bytes()).update(&failures.to_le_bytes());
    let digest = hasher.finalize();
    let byte = digest.as_bytes().first().copied().unwrap_or_default();
    f64::from(byte) / 255.0
}

/// Consecutive failures of each object.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Records a failure and returns when to retry; `None` if this failure causes no retry.
    pub(super) fn failed(&self, object: &str, category: Category) -> Option<Duration> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        pause(category, *count, object)
    }

    /// Records a success, or that the object is gone.
    pub(super) fn forget(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIED: [Category; 4] =
        [Category::Conflict, Category::Transient, Category::Missing, Category::Internal];

    #[test]
    fn pauses_grow_up_to_their_cap_and_keep_their_jitter_small() {
        for category in RETRIED {
            let (first, cap) = bounds(category).unwrap();
            for failures in 1..100 {
                let pause = pause(category, failures, "ns/demo").unwrap();
                assert!(pause >= first.mul_f64(0.79) && pause <= cap, "{category:?} {failures}");
            }
            assert!(pause(category, 99, "ns/demo").unwrap() >= cap.mul_f64(0.79));
        }
    }

    #[test]
    fn an_invalid_object_is_not_retried() {
        assert_eq!(Backoff::default().failed("ns/demo", Category::Invalid), None);
    }

    #[test]
    fn objects_that_failed_together_do_not_return_together() {
        let pauses: Vec<_> =
            (0..20).map(|i| pause(Category::Transient, 5, &format!("ns/{i}"))).collect();
        assert!(pauses.iter().any(|other| *other != pauses[0]));
    }

    #[test]
    fn a_success_starts_over() {
        let backoff = Backoff::default();
        let first = backoff.failed("a", Category::Transient);
        assert_ne!(backoff.failed("a", Category::Transient), first);
        backoff.forget("a");
        assert_eq!(backoff.failed("a", Category::Transient), first);
    }
}
