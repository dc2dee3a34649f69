//! A lead in progress: it is renewed in the background, ends in time if renewal fails, and is
//! released on request.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::decision::{Decision, Lead, Past, decide};
use super::lease::{record, released, renewed};
use super::{Candidate, ElectionError, Sight};

/// Time limit of a release, over all attempts.
const RELEASE: Duration = Duration::from_secs(2);
/// Number of attempts to release. The first may conflict with a renewal in flight.
const RELEASES: usize = 3;

/// The lead. Dropping it stops the renewals, and other candidates then wait for the lease's
/// duration. Call [`release`](Self::release) if there is time for it.
#[derive(Debug)]
pub struct Held {
    token: u64,
    /// The time at which the lead ends. The channel closes when the lead is lost.
    until: watch::Receiver<Instant>,
    release: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<Result<(), ElectionError>>>,
}

impl Held {
    /// Keeps a lead that was acquired by a write sent at `lead.renewed`.
    pub(super) fn keep(candidate: Candidate, sight: Sight, lead: Lead) -> Self {
        let deadline = candidate.instant(lead.deadline(&candidate.policy));
        let (extend, until) = watch::channel(deadline);
        let (release, released) = oneshot::channel();
        let token = lead.token;
        let keeper = Keeper { candidate, sight, lead, extend };
        let keeper = Some(tokio::spawn(keeper.run(released)));
        Self { token, until, release: Some(release), keeper }
    }

    /// The fencing token. Each later acquisition of the Lease, by any process, has a higher one.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether the lead is held at this moment. The answer may be outdated a moment later, so an
    /// action that must not happen twice must be guarded by the [`token`](Self::token).
    pub fn is_held(&self) -> bool {
        self.until.has_changed().is_ok() && Instant::now() < *self.until.borrow()
    }

    /// Resolves when the lead is lost, because another process leads or because it could not be
    /// renewed in time. It resolves before another process can acquire the lead.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        // An error means that the background task has stopped.
        while until.changed().await.is_ok() {}
    }

    /// Gives up the lead, so that another candidate can acquire it at once. The lead ends when this
    /// call begins.
    ///
    /// # Errors
    /// The API did not accept the release within 2 s. The lead then expires by itself.
    pub async fn release(mut self) -> Result<(), ElectionError> {
        if let Some(release) = self.release.take() {
            // If the lead was lost, the background task has stopped already.
            let _ = release.send(());
        }
        match self.keeper.take() {
            Some(keeper) => keeper.await.map_err(|_| ElectionError::Interrupted)?,
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// The background task of a [`Held`].
struct Keeper {
    candidate: Candidate,
    sight: Sight,
    lead: Lead,
    extend: watch::Sender<Instant>,
}

impl Keeper {
    async fn run(mut self, mut release: oneshot::Receiver<()>) -> Result<(), ElectionError> {
        loop {
            tokio::select! {
                biased;
                asked = &mut release => match asked {
                    Ok(()) => break,
                    // The `Held` was dropped, which also aborts this task.
                    Err(_) => return Ok(()),
                },
                lost = self.step() => if lost { return Ok(()) },
            }
        }
        let Self { candidate, sight, lead, extend } = self;
        drop(extend);
        match timeout(RELEASE, give_up(&candidate, sight, &lead)).await {
            Ok(released) => released,
            Err(_) => Err(ElectionError::Timeout { lease: candidate.name() }),
        }
    }

    /// Performs one decision. Returns true if the lead is lost.
    async fn step(&mut self) -> bool {
        let Candidate { policy, identity, .. } = &self.candidate;
        let now = self.candidate.now();
        let own = identity.holder.as_str();
        match decide(own, &self.sight.view, Some(&self.lead), &Past::default(), now, policy) {
            Decision::Wait { until } => sleep_until(self.candidate.instant(until)).await,
            Decision::Renew => self.renew(now).await,
            Decision::Look => self.look().await,
            Decision::Lost | Decision::Acquire { .. } => {
                let (lease, token) = (self.candidate.name(), self.lead.token);
                tracing::warn!(lease, token, "lead lost");
                return true;
            }
        }
        false
    }

    async fn renew(&mut self, sent: Duration) {
        self.lead.tried = sent;
        let limit = self.limit(sent);
        let Some(lease) = self.sight.lease.clone() else { return self.sight.forget() };
        match self.candidate.replace(renewed(lease), limit).await {
            Ok(lease) => {
                self.sight.see(Some(lease), self.candidate.now());
                self.lead.renewed = sent;
                self.extend.send_replace(
                    self.candidate.instant(self.lead.deadline(&self.candidate.policy)),
                );
            }
            Err(error) if error.is_stale() => self.sight.forget(),
            Err(error) => tracing::warn!(%error, "could not renew the lead"),
        }
    }

    /// Reads the Lease after another process wrote it.
    async fn look(&mut self) {
        let now = self.candidate.now();
        match self.candidate.read(self.limit(now)).await {
            Ok(lease) => self.sight.see(lease, self.candidate.now()),
            Err(error) => {
                tracing::warn!(%error, "could not read the Lease of the lead");
                let retry = now + self.candidate.policy.retry();
                let until = retry.min(self.lead.deadline(&self.candidate.policy));
                sleep_until(self.candidate.instant(until)).await;
            }
        }
    }

    /// The timeout of a request, chosen so that the request ends before the lead does.
    fn limit(&self, now: Duration) -> Duration {
        let left = self.lead.deadline(&self.candidate.policy).saturating_sub(now);
        left.min(self.candidate.request_timeout())
    }
}

/// Writes a Lease without a holder, unless another process holds it already.
async fn give_up(
    candidate: &Candidate,
    mut sight: Sight,
    lead: &Lead,
) -> Result<(), ElectionError> {
    let mut last = Ok(());
    for _ in 0..RELEASES {
        let lease = match sight.lease.take() {
            Some(lease) => Some(lease),
            None => candidate.read(RELEASE).await?,
        };
        let ours = lease.filter(|lease| {
            let record = record(lease);
            record.holder.as_ref() == Some(&candidate.identity.holder)
                && record.transitions == lead.token
                && record.uid == lead.uid
        });
        let Some(lease) = ours else { return Ok(()) };
        last = candidate.replace(released(lease), RELEASE).await.map(|_| ());
        match &last {
            Err(error) if error.is_stale() => {}
            Ok(()) | Err(_) => break,
        }
    }
    last
}
