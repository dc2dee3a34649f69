//! Leader election: one of several processes leads, determined by a Lease of the Kubernetes API.
//!
//! **Flow.** A candidate watches the Lease. It takes over if the Lease has no holder, or if it has
//! observed the same version for the lease's duration on its own monotonic clock. It writes on top
//! of the version that it observed (`resourceVersion`), so that only one of several candidates
//! succeeds. The holder renews the Lease, and stops leading if it could not renew within the
//! renewal deadline, which is shorter.
//!
//! **Guarantees.** At most one process leads at a time, as long as clocks run at similar speeds and
//! no process is suspended ([`Policy`]). The [`token`](Held::token) of each lead is higher than all
//! tokens that its holder observed or received ([`acquire_above`](Election::acquire_above)).
//!
//! **A deleted Lease.** The holder of a deleted Lease stops at its next read, and at the latest at
//! its renewal deadline. A candidate that knows of an earlier lead waits for the lease's duration
//! before it creates the Lease again. A candidate that knows of no earlier lead creates the Lease
//! at once, because it cannot distinguish a deleted Lease from one that never existed. The same
//! holds for a candidate that observed that the Lease was absent, missed that it was created in
//! between, and finds it deleted one lease duration later. In both cases two processes may lead
//! until the older one's renewal deadline. A decision that must not be made twice is therefore
//! fenced by token *and* holder: the first holder that writes a token owns it. A caller that knows
//! of an earlier lead from another source passes a floor above zero
//! ([`acquire_above`](Election::acquire_above)).
//!
//! **Assumptions.** An identity belongs to one process, so it needs a random part in addition to a
//! pod's name.
//!
//! **RBAC.** `get`, `list`, `watch`, `create` and `update` of the Lease.

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

/// A candidate in an election; see the module's documentation.
#[derive(Debug)]
pub struct Election {
    candidate: Candidate,
    /// The candidate's observations, kept between two attempts.
    sight: Mutex<Sight>,
    holder: watch::Sender<Option<Holder>>,
}

impl Election {
    /// A candidate for Lease `namespace/name` with this `identity`. A Lease that it creates gets
    /// `labels`. The client must not retry requests by itself: [`crate::without_retries`].
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

    /// Makes `owner` the owner of a Lease that this candidate creates, so that the Lease is deleted
    /// with it.
    #[must_use]
    pub fn owned_by(mut self, owner: OwnerReference) -> Self {
        self.candidate.identity.owner = Some(owner);
        self
    }

    /// Adds annotations to each acquisition: information about the holder for others.
    #[must_use]
    pub fn annotated(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.candidate.identity.annotations = annotations;
        self
    }

    /// The other holder of the Lease while [`acquire`](Self::acquire) waits. It is `None` while the
    /// Lease is free and while this candidate leads.
    pub fn holder(&self) -> watch::Receiver<Option<Holder>> {
        self.holder.subscribe()
    }

    /// Waits until this candidate leads, without a time limit. Failures of the API are logged and
    /// retried. The future may be dropped at any time: observations of the Lease are kept for the
    /// next call.
    pub async fn acquire(&self) -> Held {
        self.acquire_above(0).await
    }

    /// Like [`acquire`](Self::acquire), with a token above `floor`. A caller that remembers tokens
    /// passes the highest, so that the tokens of a Lease that was deleted and created again do not
    /// restart below it.
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
                    // Another candidate was faster.
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
                // Reads the Lease after the pause, because the watch may be down, and because the
                // answer to a write may have been lost.
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

/// Pause before the next read, after `failures` earlier failures. It doubles up to a quarter of the
/// pause between renewals: a candidate for a long lead need not hurry, and the API may refuse it
/// permanently.
fn pause(policy: &Policy, failures: u32) -> Duration {
    let first = policy.retry().min(LOOK);
    let longest = first.max(policy.retry() / 4);
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

/// The Lease as last observed.
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

    /// Marks the observation as outdated, because the Lease has changed.
    fn forget(&mut self) {
        (self.view, self.lease) = (View::default(), None);
    }
}

/// The requests of a candidate, each with a timeout.
#[derive(Debug, Clone)]
struct Candidate {
    api: Api<Lease>,
    namespace: Arc<str>,
    identity: Identity,
    policy: Policy,
    /// Start of the candidate's clock.
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

    /// Yields the Lease whenever it changes. While the watch is down, it yields errors at
    /// increasing intervals.
    fn changes(&self) -> impl Stream<Item = Result<Option<Lease>, watcher::Error>> + use<> {
        watcher::watch_object(self.api.clone(), &self.identity.name).default_backoff()
    }

    async fn look(&self, sight: &mut Sight) -> Result<(), ElectionError> {
        let lease = self.read(self.request_timeout()).await?;
        sight.see(lease, self.now());
        Ok(())
    }

    /// Writes this candidate into the Lease, on top of the observed version.
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
    /// The API refused the request or cannot be reached.
    #[error("Lease {lease}: {source}")]
    Api {
        /// Namespace and name.
        lease: String,
        /// The API client's error.
        source: kube::Error,
    },
    /// The Lease cannot be watched.
    #[error("Lease {lease} cannot be watched: {source}")]
    Watch {
        /// Namespace and name.
        lease: String,
        /// The watch's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API did not answer in time.
    #[error("Lease {lease}: the API server did not answer in time")]
    Timeout {
        /// Namespace and name.
        lease: String,
    },
    /// The highest possible token is in use.
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
    /// Whether another process wrote, created or deleted the Lease since it was observed.
    fn is_stale(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. }
            if matches!(status.code, 404 | 409))
    }
}

#[cfg(test)]
mod tests;
