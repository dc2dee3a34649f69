//! Elections: one of several processes leads, by a Lease of the Kubernetes API.
//!
//! **Flow.** A candidate watches the Lease. It takes over when the Lease has no holder, or when it
//! has itself seen the same version of it for the lease's duration, on its monotonic clock. It
//! writes over the version that it saw (`resourceVersion`), so of several candidates one succeeds.
//! The holder renews and stops leading when it could not for the renewal deadline, which is
//! shorter.
//!
//! **Guarantees.** At most one holds at a time, as long as clocks run at similar speeds and no
//! process is stopped ([`Policy`]). Each lead's [`token`](Held::token) is higher than all that its
//! holder saw or was told of ([`acquire_above`](Election::acquire_above)).
//!
//! **A deleted Lease.** Its holder stops as soon as it looks, and in any case by its renewal
//! deadline. A candidate that knows of an earlier lead waits for the lease's duration before it
//! makes the Lease anew. One that knows of none cannot tell it from the first, nor can one that has
//! seen it absent, was told nothing of the Lease that was then made, and finds that deleted a
//! lease's duration later: two may hold until the older one's renewal deadline. So what must not be
//! decided twice is fenced by token *and* holder, of which the first to write a token owns it.
//! A caller that knows of an earlier lead from elsewhere says so by a floor above zero
//! ([`acquire_above`](Election::acquire_above)). Only where there was none is the first Lease made
//! at once.
//!
//! **Assumptions.** An identity belongs to one process: add something random to a pod's name.
//!
//! **Rights.** `get`, `list`, `watch`, `create` and `update` of the Lease.

mod decision;
mod held;
mod lease;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use decision::{Decision, Lead, Past, Policy, PolicyError, Record, View, decide};
pub use held::Held;
pub use lease::Holder;
use lease::{Identity, holder, record};

/// A process that stands for election; see the module.
#[derive(Debug)]
pub struct Election {
    candidate: Candidate,
    /// What it has seen stays between two attempts.
    sight: Mutex<Sight>,
    holder: watch::Sender<Option<Holder>>,
}

impl Election {
    /// Stands for Lease `namespace/name` as `identity`. `labels` are given to a Lease that this
    /// makes. The client must not repeat requests by itself: [`crate::without_retries`].
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        labels: BTreeMap<String, String>,
        policy: Policy,
    ) -> Self {
        let identity = Identity {
            name: name.to_owned(),
            holder: identity,
            labels,
            annotations: BTreeMap::new(),
            owner: None,
        };
        let candidate = Candidate {
            api: Api::namespaced(client, namespace),
            namespace: namespace.into(),
            identity,
            policy,
            start: Instant::now(),
        };
        Self { candidate, sight: Mutex::default(), holder: watch::Sender::new(None) }
    }

    /// A Lease that this makes is deleted with `owner`.
    #[must_use]
    pub fn owned_by(mut self, owner: OwnerReference) -> Self {
        self.candidate.identity.owner = Some(owner);
        self
    }

    /// Writes annotations with each acquisition: what others shall know of the holder.
    #[must_use]
    pub fn annotated(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.candidate.identity.annotations = annotations;
        self
    }

    /// Who else holds the Lease while [`acquire`](Self::acquire) waits for it; none while it is
    /// free, and once this leads.
    pub fn holder(&self) -> watch::Receiver<Option<Holder>> {
        self.holder.subscribe()
    }

    /// Waits for the lead, for as long as it takes. Failures of the API are logged and waited out.
    /// Safe to drop at any moment; what was seen of the Lease is kept for the next call.
    pub async fn acquire(&self) -> Held {
        self.acquire_above(0).await
    }

    /// As [`acquire`](Self::acquire), with a token above `floor`: a caller that remembers the
    /// tokens that it has seen gives the highest, so that a deleted Lease does not start again
    /// below it.
    pub async fn acquire_above(&self, floor: u64) -> Held {
        let candidate = &self.candidate;
        let mut sight = self.sight.lock().await;
        sight.past.token = sight.past.token.max(floor);
        let mut changes = pin!(candidate.changes());
        let mut failures = 0;
        loop {
            let own = candidate.identity.holder.as_str();
            self.tell(&sight);
            let now = candidate.now();
            let decision = decide(own, &sight.view, None, &sight.past, now, &candidate.policy);
            let failed = match decision {
                Decision::Acquire { token } => match candidate.take(&sight, token).await {
                    Ok(lease) => {
                        let uid = lease.metadata.uid.clone().unwrap_or_default();
                        let mut held = Sight::default();
                        held.see(Some(lease), candidate.now());
                        sight.past.token = token;
                        sight.forget();
                        self.tell(&sight);
                        let lead = Lead { token, uid, renewed: now, tried: now };
                        return Held::keep(candidate.clone(), held, lead);
                    }
                    // Another was faster.
                    Err(error) if error.is_stale() => candidate.look(&mut sight).await.err(),
                    Err(error) => Some(error),
                },
                Decision::Look | Decision::Renew | Decision::Lost => {
                    candidate.look(&mut sight).await.err()
                }
                Decision::Wait { until } => tokio::select! {
                    Some(change) = changes.next() => match change {
                        Ok(lease) => {
                            sight.see(lease, candidate.now());
                            None
                        }
                        Err(source) => Some(candidate.failed(source)),
                    },
                    () = sleep_until(candidate.instant(until)) => None,
                },
            };
            if let Some(error) = &failed {
                if failures == 0 {
                    tracing::warn!(%error, "standing for election");
                }
                // Without a watch, look; after a lost answer, see what became of the write.
                sleep(pause(&candidate.policy, failures)).await;
                if let Err(error) = candidate.look(&mut sight).await {
                    tracing::debug!(%error, "standing for election");
                }
            }
            failures = if failed.is_some() { failures.saturating_add(1) } else { 0 };
        }
    }

    fn tell(&self, sight: &Sight) {
        let own = &self.candidate.identity.holder;
        let other = sight.lease.as_ref().and_then(holder).filter(|it| it.identity != *own);
        self.holder.send_if_modified(|known| {
            let changed = *known != other;
            *known = other;
            changed
        });
    }
}

/// First polling interval while the watch is down.
const LOOK: Duration = Duration::from_secs(1);

/// Pause before the next look, after so many failures before this one. It doubles up to a quarter
/// of the pause between renewals: a candidate for a long lead is in no hurry, and may be refused
/// for good.
fn pause(policy: &Policy, failures: u32) -> Duration {
    let first = policy.retry().min(LOOK);
    let longest = first.max(policy.retry() / 4);
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

/// The Lease as it was last seen.
#[derive(Debug, Default)]
struct Sight {
    view: View,
    lease: Option<Lease>,
    past: Past,
}

impl Sight {
    fn see(&mut self, lease: Option<Lease>, now: Duration) {
        let record = lease.as_ref().map(record);
        record.iter().for_each(|record| self.past.note(record));
        self.view.observe(record, now);
        self.lease = lease;
    }

    /// The Lease has changed since.
    fn forget(&mut self) {
        (self.view, self.lease) = (View::default(), None);
    }
}

/// The requests of a candidate, each bounded in time.
#[derive(Debug, Clone)]
struct Candidate {
    api: Api<Lease>,
    namespace: Arc<str>,
    identity: Identity,
    policy: Policy,
    /// When its clock started.
    start: Instant,
}

impl Candidate {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn instant(&self, time: Duration) -> Instant {
        self.start + time
    }

    fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.identity.name)
    }

    fn request_timeout(&self) -> Duration {
        self.policy.renew_deadline() / 2
    }

    fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> ElectionError {
        ElectionError::Watch { lease: self.name(), source: Box::new(source) }
    }

    /// The Lease whenever it changes; fails more and more slowly while it cannot be watched.
    fn changes(&self) -> impl Stream<Item = Result<Option<Lease>, watcher::Error>> + use<> {
        watcher::watch_object(self.api.clone(), &self.identity.name).default_backoff()
    }

    async fn look(&self, sight: &mut Sight) -> Result<(), ElectionError> {
        let lease = self.read(self.request_timeout()).await?;
        sight.see(lease, self.now());
        Ok(())
    }

    /// Writes this candidate into the Lease, over the version that was seen.
    async fn take(&self, sight: &Sight, token: u64) -> Result<Lease, ElectionError> {
        let exists = sight.lease.is_some();
        let lease = sight.lease.clone().unwrap_or_else(|| self.identity.blank());
        let seconds = self.policy.lease_duration().as_secs();
        let lease = self
            .identity
            .acquired(lease, token, seconds)
            .ok_or_else(|| ElectionError::Exhausted { lease: self.name() })?;
        if exists {
            return self.replace(lease, self.request_timeout()).await;
        }
        let params = PostParams::default();
        self.bounded(self.api.create(&params, &lease), self.request_timeout()).await
    }

    async fn read(&self, limit: Duration) -> Result<Option<Lease>, ElectionError> {
        self.bounded(self.api.get_opt(&self.identity.name), limit).await
    }

    async fn replace(&self, lease: Lease, limit: Duration) -> Result<Lease, ElectionError> {
        let params = PostParams::default();
        self.bounded(self.api.replace(&self.identity.name, &params, &lease), limit).await
    }

    async fn bounded<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
        limit: Duration,
    ) -> Result<T, ElectionError> {
        match timeout(limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(ElectionError::Api { lease: self.name(), source }),
            Err(_) => Err(ElectionError::Timeout { lease: self.name() }),
        }
    }
}

/// Why the Lease could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ElectionError {
    /// The API refused, or cannot be reached.
    #[error("Lease {lease}: {source}")]
    Api {
        /// Namespace and name.
        lease: String,
        /// What failed.
        source: kube::Error,
    },
    /// The Lease cannot be watched.
    #[error("Lease {lease} cannot be watched: {source}")]
    Watch {
        /// Namespace and name.
        lease: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API did not answer in time.
    #[error("Lease {lease}: the API server did not answer in time")]
    Timeout {
        /// Namespace and name.
        lease: String,
    },
    /// The highest token is in use.
    #[error("Lease {lease} has changed hands 2^31 times: delete it")]
    Exhausted {
        /// Namespace and name.
        lease: String,
    },
    /// The runtime is shutting down.
    #[error("the release was interrupted")]
    Interrupted,
}

impl ElectionError {
    /// Whether another wrote, made or deleted the Lease since it was seen.
    fn is_stale(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. }
            if matches!(status.code, 404 | 409))
    }
}

#[cfg(test)]
mod tests;
