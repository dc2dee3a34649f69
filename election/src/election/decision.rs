//! What a candidate does next: a function of what it saw, when it saw it, and the time.
//!
//! Times are monotonic times of this candidate alone, since a moment of its choice. No clock is
//! compared with another's, and no time that another wrote is read.

use std::time::Duration;

use thiserror::Error;

/// How long a lead lasts. `lease_duration > renew_deadline > 1.2 · retry`.
///
/// A holder that could not renew stops after `renew_deadline`, others take over after
/// `lease_duration`: at most one holds, as long as no clock runs faster than another by the ratio
/// of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

impl Policy {
    /// Checks the order of the times; the lease's duration is in whole seconds, as the API has it.
    ///
    /// # Errors
    /// When one is not above the next.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry: Duration,
    ) -> Result<Self, PolicyError> {
        let whole = lease_duration.subsec_nanos() == 0 && lease_duration.as_secs() <= MAX_SECONDS;
        let ordered = lease_duration > renew_deadline && renew_deadline > retry.mul_f32(1.2);
        if !whole || !ordered || retry.is_zero() {
            return Err(PolicyError { lease_duration, renew_deadline, retry });
        }
        Ok(Self { lease_duration, renew_deadline, retry })
    }

    /// How long others wait after they saw the last renewal.
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// How long a holder holds after it sent its last successful renewal.
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// Pause between two renewals, and between two attempts.
    pub fn retry(&self) -> Duration {
        self.retry
    }
}

impl Default for Policy {
    /// 15 s, 10 s, 2 s, as Kubernetes' own controllers.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// An hour: a longer lead is a mistake.
const MAX_SECONDS: u64 = 3600;

/// Times that would let two hold at once, or none for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a lease of {lease_duration:?} (whole seconds, at most an hour) must outlast the renewal deadline {renew_deadline:?}, and that 1.2 times the retry {retry:?}"
)]
pub struct PolicyError {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; none after a release.
    pub holder: Option<String>,
    /// For how long after a renewal, as the holder says.
    pub duration: Duration,
    /// How often it was acquired.
    pub transitions: u64,
    /// The object's `resourceVersion`; every write changes it.
    pub version: String,
    /// The object's `uid`: a Lease that was deleted and made again is another.
    pub uid: String,
}

/// What this candidate knows of the Lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum View {
    /// It has not looked, or what it saw is known to be old.
    #[default]
    Unknown,
    /// There is none.
    Absent {
        /// When that was first seen.
        since: Duration,
    },
    /// It is there.
    Present {
        /// What it says.
        record: Record,
        /// When this version was first seen.
        seen: Duration,
    },
}

impl View {
    /// Notes a look that ended at `now`. What was seen before keeps its time.
    pub fn observe(&mut self, found: Option<Record>, now: Duration) {
        let seen = match (&*self, &found) {
            (Self::Absent { since }, None) => *since,
            (Self::Present { record, seen }, Some(found)) if record.version == found.version => {
                *seen
            }
            _ => now,
        };
        *self = match found {
            None => Self::Absent { since: seen },
            Some(record) => Self::Present { record, seen },
        };
    }
}

/// What a candidate remembers of earlier leads, whatever becomes of the Lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// The highest token that it saw or was told of; 0 if there was none.
    pub token: u64,
    /// For how long its holder may hold, as the last Lease said.
    pub duration: Duration,
}

impl Past {
    /// Notes a Lease.
    pub fn note(&mut self, record: &Record) {
        self.token = self.token.max(record.transitions);
        self.duration = record.duration;
    }
}

/// A lead as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The fencing token: `leaseTransitions` of the acquisition.
    pub token: u64,
    /// The Lease that was acquired.
    pub uid: String,
    /// When the last write that succeeded was sent.
    pub renewed: Duration,
    /// When the last write was sent.
    pub tried: Duration,
}

impl Lead {
    /// When it ends unless it is renewed.
    pub fn deadline(&self, policy: &Policy) -> Duration {
        self.renewed + policy.renew_deadline
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Read the Lease.
    Look,
    /// Write oneself as the holder with this token, over the version that was seen.
    Acquire {
        /// The token of the new lead.
        token: u64,
    },
    /// Write a later renewal, over the version that was seen.
    Renew,
    /// Do nothing until then, or until the Lease changes.
    Wait {
        /// When to decide again.
        until: Duration,
    },
    /// Stop leading.
    Lost,
}

/// What `own` does at `now`. Its lead's token is above all that it knows of.
pub fn decide(
    own: &str,
    view: &View,
    lead: Option<&Lead>,
    past: &Past,
    now: Duration,
    policy: &Policy,
) -> Decision {
    match lead {
        Some(lead) => keep(own, view, lead, now, policy),
        None => stand(own, view, past, now, policy),
    }
}

fn keep(own: &str, view: &View, lead: &Lead, now: Duration, policy: &Policy) -> Decision {
    let deadline = lead.deadline(policy);
    if now >= deadline {
        return Decision::Lost;
    }
    match view {
        View::Unknown => Decision::Look,
        View::Present { record, .. }
            if record.holder.as_deref() == Some(own)
                && record.transitions == lead.token
                && record.uid == lead.uid =>
        {
            let next = lead.tried + policy.retry;
            if now >= next { Decision::Renew } else { Decision::Wait { until: next.min(deadline) } }
        }
        // Another holds it, or may at any moment.
        View::Present { .. } | View::Absent { .. } => Decision::Lost,
    }
}

fn stand(own: &str, view: &View, past: &Past, now: Duration, policy: &Policy) -> Decision {
    let (record, seen) = match view {
        View::Unknown => return Decision::Look,
        View::Absent { since } => {
            // Where there was a lead before, its holder may not know yet that its Lease is gone.
            let free = match past.token {
                0 => *since,
                _ => since.saturating_add(past.duration.max(policy.lease_duration)),
            };
            let token = past.token.saturating_add(1);
            return if now >= free {
                Decision::Acquire { token }
            } else {
                Decision::Wait { until: free }
            };
        }
        View::Present { record, seen } => (record, *seen),
    };
    let token = record.transitions.max(past.token).saturating_add(1);
    match &record.holder {
        // Its own name is there after an attempt whose answer was lost, and after a lead that
        // ended.
        Some(holder) if holder != own => {
            let free = seen.saturating_add(record.duration.max(policy.lease_duration));
            if now >= free { Decision::Acquire { token } } else { Decision::Wait { until: free } }
        }
        Some(_) | None => Decision::Acquire { token },
    }
}
