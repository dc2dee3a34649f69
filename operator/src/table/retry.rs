//! Decides how long to wait before a failed preparation is retried.

use std::time::Duration;

use jiff::Timestamp;
use opaque_crds::table::report::Reason;

/// Pauses between the Jobs of one run. Each consecutive failure doubles the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    /// First and longest pause if the source is the cause.
    pub source: (Duration, Duration),
    /// First and longest pause for other causes.
    pub other: (Duration, Duration),
}

impl Default for Retry {
    /// From 5 min to 1 h for sources, which people correct, and from 10 s to 10 min for the rest.
    fn default() -> Self {
        Self {
            source: (Duration::from_secs(5 * 60), Duration::from_secs(60 * 60)),
            other: (Duration::from_secs(10), Duration::from_secs(10 * 60)),
        }
    }
}

impl Retry {
    /// When to retry after `failures` consecutive failures, the last of them now. The time is
    /// rounded to seconds, as displayed.
    pub(super) fn at(&self, reason: Reason, failures: i32, now: Timestamp) -> Timestamp {
        let (first, most) = if reason.is_of_source() { self.source } else { self.other };
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(0);
        let pause = first.saturating_mul(2_u32.saturating_pow(doublings)).min(most);
        let at = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        Timestamp::from_second(at.as_second()).unwrap_or(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (retry, now) = (Retry::default(), Timestamp::UNIX_EPOCH);
        let pauses = |reason| [1, 2, 5, i32::MAX].map(|n| retry.at(reason, n, now).as_second());
        assert_eq!(pauses(Reason::SourceNotFound), [300, 600, 3600, 3600]);
        assert_eq!(pauses(Reason::StoreUnavailable), [10, 20, 160, 600]);
    }
}
