//! Lifetimes and renewal times of certificates and revocation lists.

use time::{Duration, OffsetDateTime};

use super::x509::Certificate;

/// Certificates are valid from a little before their issue, because clocks of machines differ.
const SKEW: Duration = Duration::minutes(5);
/// Lifetime of an authority, as a multiple of that of its certificates.
const AUTHORITY_FACTOR: i32 = 40;
/// Bounds of an authority's lifetime.
const AUTHORITY_LIFE: (Duration, Duration) = (Duration::days(1), Duration::days(3653));
/// Minimum lifetime of a revocation list. Every node loads each new list.
const SHORTEST_LIST: Duration = Duration::hours(1);

/// The durations of `spec.tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How long a certificate is valid.
    pub duration: Duration,
    /// How long before its end it is renewed.
    pub renew_before: Duration,
}

impl Schedule {
    /// How far the start of validity lies before the issue: a small part of a short lifetime.
    pub(crate) fn skew(&self) -> Duration {
        SKEW.min(self.duration / 10_i32)
    }

    /// Start and end of a certificate that is issued now by an authority that expires at `end`.
    pub(crate) fn leaf(
        &self,
        now: OffsetDateTime,
        end: OffsetDateTime,
    ) -> (OffsetDateTime, OffsetDateTime) {
        (now - self.skew(), (now + self.duration).min(end))
    }

    /// When a certificate is renewed. Shards renew at different times: each is a little earlier, by
    /// a part of its lifetime that is derived from its name and serial number.
    pub(crate) fn renew_at(&self, certificate: &Certificate, name: &str) -> OffsetDateTime {
        let life = certificate.not_after() - certificate.not_before();
        // A certificate that its authority's end cut short would be due right after its issue.
        let before = if life < self.duration {
            self.renew_before.min(life / 3_i32)
        } else {
            self.renew_before
        };
        let hash = blake3::hash(format!("{name}/{}", certificate.serial()).as_bytes());
        let [share, ..] = *hash.as_bytes();
        let early = (life - before).max(Duration::ZERO) / 10_i32 * i32::from(share) / 256_i32;
        certificate.not_after() - before - early
    }

    /// Whether a certificate lasts longer than one issued now would, because the duration in the
    /// spec has been reduced.
    pub(crate) fn is_too_long(&self, certificate: &Certificate, now: OffsetDateTime) -> bool {
        certificate.not_after() - now > self.duration + SKEW
    }

    /// Lifetime of a new authority: ten years for the default duration.
    pub(crate) fn authority(&self) -> Duration {
        let (shortest, longest) = AUTHORITY_LIFE;
        let longest = longest.max(self.duration * 2_i32);
        (self.duration * AUTHORITY_FACTOR).clamp(shortest, longest)
    }

    /// When an authority is replaced: while it can still sign certificates of full length, and
    /// early enough that a blocked change has time.
    pub(crate) fn replace_at(&self, authority: &Certificate) -> OffsetDateTime {
        let life = authority.not_after() - authority.not_before();
        authority.not_after() - (life / 4_i32).max(self.duration)
    }

    /// Lifetime of a new revocation list: the lifetime of a certificate that is issued just before
    /// the next list is due.
    ///
    /// A list therefore never expires first. After a list is issued, certificates are issued for at
    /// most [`list_rhythm`](Self::list_rhythm), each for at most `duration`, so each expires when
    /// the list does, or before. If the operator stops at any moment, every certificate expires
    /// before the list that covers it.
    pub(crate) fn list(&self) -> Duration {
        let rhythm = (self.duration - self.renew_before).max(self.duration / 3_i32);
        (self.duration + rhythm).max(SHORTEST_LIST)
    }

    /// Renewal interval of lists, the same as that of certificates.
    fn list_rhythm(&self) -> Duration {
        self.list() - self.duration
    }

    /// When a list is renewed: early enough to cover certificates that are issued from then on.
    pub(crate) fn renew_list_at(
        &self,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> OffsetDateTime {
        (this_update + self.list_rhythm()).min(next_update - self.duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_outlives_what_it_signs() {
        for (hours, years) in [(2160, 9), (87_600, 19)] {
            let duration = Duration::hours(hours);
            let schedule = Schedule { duration, renew_before: duration / 3 };
            assert!(schedule.authority() > Duration::days(365 * years));
        }
        let duration = Duration::minutes(2);
        let schedule = Schedule { duration, renew_before: Duration::seconds(30) };
        assert_eq!(schedule.authority(), Duration::days(1));
        assert_eq!(schedule.list(), Duration::hours(1));
        assert_eq!(schedule.skew(), Duration::seconds(12));
    }

    #[test]
    fn a_list_outlives_every_certificate_that_is_issued_until_it_is_renewed() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (duration, renew_before) in
            [("2160h", "720h"), ("87600h", "1h"), ("24h", "8h"), ("2m", "30s"), ("1h", "59m59s")]
        {
            let read = |text| crate::duration::parse(text).unwrap();
            let schedule = Schedule { duration: read(duration), renew_before: read(renew_before) };
            let end = now + schedule.list();
            let renewed = schedule.renew_list_at(now, end);
            assert_eq!(renewed + schedule.duration, end, "{duration}");
            // The list is not renewed all the time.
            assert!(renewed - now >= schedule.duration / 3_i32, "{duration}");
        }
    }
}
