//! The minimum pace of the other end of a stream.
//!
//! A request or an answer holds its memory as long as its sender or reader takes. A bound on
//! silence alone would allow one byte per minute forever. A bound on the total time alone would
//! have to fit the largest transfer. Both are therefore bounded: silence, and the total time by a
//! rate that any connection provides.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::NodeError;

/// How slowly bytes may pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Longest time without any bytes.
    pub(crate) silence: Duration,
    /// Time for the whole transfer, in addition to that for its bytes.
    pub(crate) grace: Duration,
    /// The lowest rate.
    pub(crate) bytes_per_second: u64,
}

impl Pace {
    /// For a query, keys or a slice, which are sent as fast as the connection allows.
    pub(crate) const REQUEST: Self = Self::new(Duration::from_secs(15));
    /// For an answer that is read, or a load that is sent.
    pub(crate) const STREAM: Self = Self::new(Duration::from_secs(60));

    const fn new(silence: Duration) -> Self {
        Self { silence, grace: silence, bytes_per_second: 16 << 10 }
    }

    /// Longest time that `bytes` may take.
    pub(crate) fn allows(&self, bytes: u64) -> Duration {
        let millis = bytes.saturating_mul(1000) / self.bytes_per_second;
        self.grace.saturating_add(Duration::from_millis(millis))
    }
}

/// A request that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    pace: Pace,
    began: Instant,
    bytes: u64,
}

impl Reading {
    /// Starts now.
    pub(crate) fn at(pace: Pace) -> Self {
        Self { pace, began: Instant::now(), bytes: 0 }
    }

    /// Records useful bytes that arrived.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`NodeError::Deadline`] with `doing` if the message does not arrive in time.
    pub(crate) async fn next<F: Future>(
        &self,
        message: F,
        doing: &'static str,
    ) -> Result<F::Output, NodeError> {
        let until = self.until(Instant::now());
        timeout_at(until, message).await.map_err(|_| NodeError::Deadline(doing))
    }

    /// Deadline of the next message.
    fn until(&self, now: Instant) -> Instant {
        let whole = self.began + self.pace.allows(self.bytes);
        whole.min(now + self.pace.silence)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace {
        silence: Duration::from_secs(10),
        grace: Duration::from_secs(20),
        bytes_per_second: 1000,
    };

    #[test]
    fn a_sender_that_keeps_the_rate_may_take_as_long_as_it_needs() {
        let mut reading = Reading::at(PACE);
        let mut now = reading.began;
        for _ in 0..1000 {
            now += SECOND;
            assert!(reading.until(now - SECOND) >= now);
            reading.came(1000);
        }
    }

    #[test]
    fn a_sender_that_drips_ends_and_so_does_a_silent_one() {
        let mut reading = Reading::at(PACE);
        assert_eq!(reading.until(reading.began), reading.began + PACE.silence);
        let mut now = reading.began;
        while reading.until(now) >= now + 5 * SECOND {
            now += 5 * SECOND;
            reading.came(1);
        }
        assert_eq!(now - reading.began, PACE.grace);
    }

    #[tokio::test]
    async fn a_late_sender_gets_an_error() {
        let silence = Duration::from_millis(10);
        let reading = Reading::at(Pace { silence, ..PACE });
        let refused = reading.next(std::future::pending::<()>(), "reading").await.unwrap_err();
        assert!(matches!(refused, NodeError::Deadline("reading")), "{refused}");
        Reading::at(PACE).next(sleep(silence), "reading").await.unwrap();
    }

    #[test]
    fn the_largest_number_of_bytes_is_no_overflow() {
        assert!(Pace::STREAM.allows(u64::MAX) > Pace::STREAM.allows(1 << 40));
    }
}
