//! Decides a candidate's next step, from its observations, their times, and the current time.
//!
//! All times are monotonic times of this candidate, counted from an arbitrary moment. Clocks of
//! different processes are never compared, and times that other processes wrote are never read.

use std::time::Duration;

use thiserror::Error;

/// The times of a lead. `lease_duration > renew_deadline > 1.2 · retry`.
///
/// A holder that could not renew stops after `renew_deadline`; others take over after
/// `lease_duration`. At most one process leads, as long as no clock runs faster than another by the
/// ratio of the two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

impl Policy {
    /// Checks the order of the times. The lease's duration must be whole seconds, as in the API.
    ///
    /// # Errors
    /// The times do not have the required order.
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

    /// How long other candidates wait after they observed the last renewal.
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// How long a holder leads after it sent its last successful renewal.
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// Pause between two renewals, and between two attempts.
    pub fn retry(&self) -> Duration {
        self.retry
    }
}

impl Default for Policy {
    /// 15 s, 10 s and 2 s, the values of Kubernetes' own controllers.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Upper limit of one hour, because a longer lead is a mistake.
const MAX_SECONDS: u64 = 3600;

/// The times would let two processes lead at once, or would leave the lead vacant for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a lease of {lease_duration:?} (whole seconds, at most an hour) must outlast the renewal deadline {renew_deadline:?}, and that 1.2 times the retry {retry:?}"
)]
pub struct PolicyError {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// The content of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The holder; `None` after a release.
    pub holder: Option<String>,
    /// How long the holder leads after a renewal, as the holder wrote it.
    pub duration: Duration,
    /// How often it was acquired.
    pub transitions: u64,
    /// The object's `resourceVersion`; every write changes it.
    pub version: String,
    /// The object's `uid`. A Lease that was deleted and created again has another one.
    pub uid: String,
}

/// What this candidate knows about the Lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum View {
    /// The candidate has not read the Lease, or knows that its observation is outdated.
    #[default]
    Unknown,
    /// The Lease does not exist.
    Absent {
        /// When its absence was first observed.
        since: Duration,
    },
    /// The Lease exists.
    Present {
        /// Its content.
        record: Record,
        /// When this version was first observed.
        seen: Duration,
    },
}

impl View {
    /// Records a read that ended at `now`. An unchanged observation keeps its time.
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

/// What a candidate remembers of earlier leads, even if the Lease is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// The highest token that it observed or received; 0 if none.
    pub token: u64,
    /// How long that holder may lead, according to the last Lease.
    pub duration: Duration,
}

impl Past {
    /// Records a Lease.
    pub fn note(&mut self, record: &Record) {
        self.token = self.token.max(record.transitions);
        self.duration = record.duration;
    }
}

/// A lead, from its holder's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The fencing token: `leaseTransitions` of the acquisition.
    pub token: u64,
    /// The `uid` of the acquired Lease.
    pub uid: String,
    /// When the last successful write was sent.
    pub renewed: Duration,
    /// When the last write was sent.
    pub tried: Duration,
}

impl Lead {
    /// When the lead ends if it is not renewed.
    pub fn deadline(&self, policy: &Policy) -> Duration {
        self.renewed + policy.renew_deadline
    }
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Read the Lease.
    Look,
    /// Write this candidate as the holder with this token, on top of the observed version.
    Acquire {
        /// The token of the new lead.
        token: u64,
    },
    /// Write a renewal on top of the observed version.
    Renew,
    /// Do nothing until the given time, or until the Lease changes.
    Wait {
        /// When to decide again.
        until: Duration,
    },
    /// Stop leading.
    Lost,
}

/// The next step of candidate `own` at `now`. A new lead's token is above all tokens that the
/// candidate knows.
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
        // Another process leads, or may lead at any moment.
        View::Present { .. } | View::Absent { .. } => Decision::Lost,
    }
}

fn stand(own: &str, view: &View, past: &Past, now: Duration, policy: &Policy) -> Decision {
    let (record, seen) = match view {
        View::Unknown => return Decision::Look,
        View::Absent { since } => {
            // If there was a lead before, its holder may not know yet that its Lease has been
            // deleted.
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
        // The candidate's own name is there after a write whose answer was lost, and after a lead
        // that has ended.
        Some(holder) if holder != own => {
            let free = seen.saturating_add(record.duration.max(policy.lease_duration));
            if now >= free { Decision::Acquire { token } } else { Decision::Wait { until: free } }
        }
        Some(_) | None => Decision::Acquire { token },
    }
}
