//! A lead while it is held: renewed in the background, lost in time, released on request.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::decision::{Decision, Lead, Past, decide};
use super::lease::{record, released, renewed};
use super::{Candidate, ElectionError, Sight};

/// How long a release may take, attempts together.
const RELEASE: Duration = Duration::from_secs(2);
/// Attempts to release: a renewal of ours may be on its way.
const RELEASES: usize = 3;

/// The lead. Dropping it stops the renewals; others then wait for the lease's duration, so
/// [`release`](Self::release) it when there is time.
#[derive(Debug)]
pub struct Held {
    token: u64,
    /// Until when it is held; closed when it is no more.
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

    /// The fencing token. Each acquisition of the Lease, by whomever, has a higher one.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether it is held at this moment. True may be false a moment later: what must not be done
    /// twice is to be guarded by the [`token`](Self::token), not by this.
    pub fn is_held(&self) -> bool {
        self.until.has_changed().is_ok() && Instant::now() < *self.until.borrow()
    }

    /// Resolves when the lead is lost: another has it, or it could not be renewed in time. It
    /// resolves before another may acquire it.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        // An error means that the keeper has stopped.
        while until.changed().await.is_ok() {}
    }

    /// Gives the lead up, so that another can acquire it at once. No longer held when this begins.
    ///
    /// # Errors
    /// When the API did not take it within 2 s; the lead then ends by itself.
    pub async fn release(mut self) -> Result<(), ElectionError> {
        if let Some(release) = self.release.take() {
            // The keeper is gone when the lead was lost.
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

/// The task behind a [`Held`].
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

    /// One decision and what follows; true when the lead is lost.
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

    /// Reads what another write has left.
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

    /// A request ends before the lead does.
    fn limit(&self, now: Duration) -> Duration {
        let left = self.lead.deadline(&self.candidate.policy).saturating_sub(now);
        left.min(self.candidate.request_timeout())
    }
}

/// Writes a Lease without holder, unless another holds it already.
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
