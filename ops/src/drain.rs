//! How long a node takes to end: one rule for the node itself and for the grace period of its pod.
//!
//! ```text
//! SIGTERM ─ delay: connections are accepted ─ drain: queries end ─ leave: the record is removed ─ end
//! ```

use std::time::Duration;

/// Longest that one query may take, in seconds, unless [`QUERY_DEADLINE_VARIABLE`] says otherwise.
pub const QUERY_DEADLINE_SECONDS: u64 = 30;
/// The variable of a node's environment that sets it.
pub const QUERY_DEADLINE_VARIABLE: &str = "OPAQUE_QUERY_DEADLINE_S";
/// How long leaving the cluster may take.
pub const LEAVE: Duration = Duration::from_secs(5);
/// For what follows a query's last byte, and for a busy machine.
const SPARE: Duration = Duration::from_secs(5);

/// How long requests in progress may go on once no connection is accepted any more. A query has its
/// deadline to be read and the same again to be answered.
pub fn drain(query_deadline: Duration) -> Duration {
    query_deadline.saturating_mul(2).saturating_add(SPARE)
}

/// How long a node may take from SIGTERM to its end, if it accepts connections for `delay` first.
/// Most take seconds: a drain ends as soon as nothing is in progress.
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
