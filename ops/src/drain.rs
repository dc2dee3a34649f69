//! The time that a node needs to stop. The node and the grace period of its pod use the same rule.
//!
//! ```text
//! SIGTERM ─ delay: accepts connections ─ drain: queries end ─ leave: the record is removed ─ end
//! ```

use std::time::Duration;

/// Default of the longest duration of one query in seconds.
pub const QUERY_DEADLINE_SECONDS: u64 = 30;
/// The environment variable of a node that overrides [`QUERY_DEADLINE_SECONDS`].
pub const QUERY_DEADLINE_VARIABLE: &str = "OPAQUE_QUERY_DEADLINE_S";
/// Time limit for leaving the cluster.
pub const LEAVE: Duration = Duration::from_secs(5);
/// Margin for work after a query's last byte, and for a busy machine.
const SPARE: Duration = Duration::from_secs(5);

/// How long requests in progress may continue after the node stops accepting connections. A query
/// may take one deadline to be received and another one to be answered.
pub fn drain(query_deadline: Duration) -> Duration {
    query_deadline.saturating_mul(2).saturating_add(SPARE)
}

/// The longest time from SIGTERM to the end of a node that first accepts connections for `delay`.
/// Most nodes need seconds, because a drain ends as soon as no request is in progress.
pub fn grace(delay: Duration, query_deadline: Duration) -> Duration {
    let parts = [delay, drain(query_deadline), LEAVE, SPARE];
    parts.into_iter().fold(Duration::ZERO, Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_has_just_begun_can_end_and_the_node_can_leave_after_it() {
        let delay = Duration::from_secs(5);
        for seconds in [1, 5, QUERY_DEADLINE_SECONDS, 120] {
            let deadline = Duration::from_secs(seconds);
            assert!(drain(deadline) >= deadline * 2);
            assert!(grace(delay, deadline) > delay + drain(deadline) + LEAVE);
        }
        assert_eq!(grace(delay, Duration::MAX), Duration::MAX);
    }
}
