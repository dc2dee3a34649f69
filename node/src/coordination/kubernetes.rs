//! Coordination through the Kubernetes API; the objects are in docs/decisions/009-on-kubernetes.md.
//!
//! ```text
//! Lease <node>                 a member: its record, renewed every 2 s
//! Lease <cluster>-leader       who leads; leaseTransitions is the fencing token
//! OpaqueShardMap <cluster>     spec.map: the newest map; status: the active one, and rejections
//! ```
//!
//! **Guarantees.** Every change of the map is one compare-and-swap on its `resourceVersion`. A new
//! leader writes its name and token into the status; a status with a higher token than a leader's, or
//! with the same one of another leader, refuses it.
//!
//! **Outages.** Queries need the last [`Snapshot`] alone. While the API is out of reach it stays as it
//! is, and nobody grows silent ([`member::Hearing`]).
//!
//! **Time.** A record's `heartbeat` is replaced by the local time at which this node saw it change: wall
//! clocks of two machines are never compared.
//!
//! **Rights.** Leases: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`. OpaqueShardMaps:
//! `get`, `list`, `watch`, `update`; their status: `update`.

mod lead;
mod map;
mod member;
mod watching;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DeserializeGuard;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff};
use kube::runtime::{WatchStreamExt, watcher as watch_all};
use kube::{Api, Client, Config, Resource};
use opaque_crds::{OpaqueShardMap, names};
use opaque_ops::api::without_retries;
use opaque_ops::election::{self, Election};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::map::{Maps, Verdict, judged, write_map};
use super::{
    Change, Coordination, CoordinationError, Leader, Leadership, Map, MemberRecord, Outcome,
    Rhythm, Snapshot, UnixMillis,
};
use crate::placement::Shards;

const LABEL_CLUSTER: &str = "opaque.dev/cluster";
const LABEL_LEASE: &str = "opaque.dev/lease";
const MEMBER: &str = "member";
const LEADER: &str = "leader";

/// How often a member renews its Lease.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a member may be silent: five renewals.
const MEMBER_TTL: Duration = Duration::from_secs(10);
/// How often to look what became of a proposal.
const LOOK: Duration = Duration::from_millis(200);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long one call waits for the lead.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds after which the API server ends a watch, and, with a little more, after which a dead one is
/// noticed.
const WATCH_SECONDS: u32 = 20;
/// Longest pause between two attempts to watch.
const WATCH_PAUSE: Duration = Duration::from_secs(2);
/// How often a change is tried again because another changed the object.
const ATTEMPTS: usize = 8;

/// A pod: it owns its member Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Coordination through the Kubernetes API; see the module.
pub struct KubernetesCoordination {
    namespace: String,
    cluster: String,
    owner: Option<OwnerReference>,
    /// Tells this process from others of the same name.
    process: u64,
    leases: Api<Lease>,
    maps: Api<OpaqueShardMap>,
    /// For elections alone, so that no other request stands in their way.
    electors: Client,
    election: Mutex<Option<(String, Arc<Election>)>>,
    /// The token of this node's last lead.
    token: AtomicU64,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    following: AbortHandle,
}

impl KubernetesCoordination {
    /// Watches a cluster from now on; does not wait for the API. `process` is random.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the configuration makes no client.
    pub fn open(
        config: &Config,
        namespace: &str,
        cluster: &str,
        pod: Option<Pod>,
        process: u64,
    ) -> Result<Self, CoordinationError> {
        let client = || without_retries(config).map_err(|error| api_error("API client", error));
        let general = client()?;
        let leases: Api<Lease> = Api::namespaced(general.clone(), namespace);
        let maps: Api<OpaqueShardMap> = Api::namespaced(general.clone(), namespace);
        let guarded: Api<DeserializeGuard<OpaqueShardMap>> = Api::namespaced(general, namespace);

        let ours = format!("{LABEL_CLUSTER}={cluster},{LABEL_LEASE}");
        let lease_config = watcher::Config::default().labels(&ours).timeout(WATCH_SECONDS);
        let lease_events = watch_all(leases.clone(), lease_config).backoff(Pauses::default());
        let map_events = watching::one(guarded, cluster, WATCH_SECONDS).backoff(Pauses::default());
        let (sender, snapshots) = watch::channel(Arc::default());
        let following = watching::follow(lease_events, map_events, sender);
        Ok(Self {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            owner: pod.map(owned_by_pod),
            process,
            leases,
            maps,
            electors: client()?,
            election: Mutex::default(),
            token: AtomicU64::new(0),
            snapshots,
            following: tokio::spawn(following).abort_handle(),
        })
    }

    /// The map's object, if the operator has made it.
    async fn object(&self) -> Result<Option<OpaqueShardMap>, CoordinationError> {
        let name = || format!("OpaqueShardMap {}/{}", self.namespace, self.cluster);
        bounded(name, self.maps.get_opt(&self.cluster)).await
    }

    async fn maps(&self) -> Result<Option<Maps>, CoordinationError> {
        self.object().await?.as_ref().map(Maps::read).transpose()
    }

    /// Changes the object over the version that `change` saw, and again over a newer one. None when
    /// `change` finds nothing to do.
    async fn swap(
        &self,
        part: Part,
        change: impl Fn(&OpaqueShardMap, &Maps) -> Result<Option<OpaqueShardMap>, CoordinationError>
        + Send
        + Sync,
    ) -> Result<Maps, CoordinationError> {
        let name = || format!("OpaqueShardMap {}/{}", self.namespace, self.cluster);
        let params = PostParams::default();
        for _ in 0..ATTEMPTS {
            let object = self.object().await?.ok_or(CoordinationError::NotInitialized)?;
            let maps = Maps::read(&object)?;
            let Some(changed) = change(&object, &maps)? else { return Ok(maps) };
            let written = match part {
                Part::Spec => {
                    timeout(REQUEST, self.maps.replace(&self.cluster, &params, &changed)).await
                }
                Part::Status => {
                    timeout(REQUEST, self.maps.replace_status(&self.cluster, &params, &changed))
                        .await
                }
            };
            match written {
                Ok(Ok(object)) => return Maps::read(&object),
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {}
                Ok(Err(error)) => return Err(api_error(name(), error)),
                Err(_) => return Err(late(name())),
            }
        }
        Err(CoordinationError::Busy(REQUEST))
    }

    /// A leader's verdict on the proposed generation; `done` tells whether it has been given.
    async fn judge(
        &self,
        leadership: &Leadership,
        verdict: Verdict<'_>,
        done: impl Fn(&Maps) -> Result<bool, CoordinationError> + Send + Sync,
    ) -> Result<Maps, CoordinationError> {
        let (leader, token) = (leadership.node(), leadership.token());
        self.check(token, self.lead().await?.as_ref().map_or(0, lead::token))?;
        self.swap(Part::Status, |object, maps| {
            maps.admit(leader, token)?;
            if done(maps)? {
                return Ok(None);
            }
            let status = Some(judged(object, leader, token, verdict));
            Ok(Some(OpaqueShardMap { status, ..object.clone() }))
        })
        .await
    }

    fn check(&self, token: u64, current: u64) -> Result<(), CoordinationError> {
        if token == current { Ok(()) } else { Err(CoordinationError::Fenced { token, current }) }
    }

    async fn lead(&self) -> Result<Option<Lease>, CoordinationError> {
        let lease = names::leader_lease(&self.cluster);
        bounded(|| format!("Lease {}/{lease}", self.namespace), self.leases.get_opt(&lease)).await
    }

    /// This node as a candidate; what it has seen of the Lease is kept between two attempts.
    async fn candidate(&self, node: &str, map: &OpaqueShardMap) -> Arc<Election> {
        let mut election = self.election.lock().await;
        if let Some((name, election)) = election.as_ref()
            && name == node
        {
            return Arc::clone(election);
        }
        let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = [
            ("app.kubernetes.io/name", "opaque"),
            ("app.kubernetes.io/managed-by", "opaque-node"),
            (LABEL_CLUSTER, &self.cluster),
            (LABEL_LEASE, LEADER),
        ];
        let made = Election::new(
            self.electors.clone(),
            &self.namespace,
            &names::leader_lease(&self.cluster),
            lead::identity(node, self.process),
            labels.map(label).into(),
            policy(),
        );
        // Gone with the cluster, whose map it is about.
        let made = Arc::new(match map.owner_ref(&()) {
            Some(owner) => made.owned_by(owner),
            None => made,
        });
        *election = Some((node.to_owned(), Arc::clone(&made)));
        made
    }
}

impl Drop for KubernetesCoordination {
    fn drop(&mut self) {
        self.following.abort();
    }
}

#[async_trait]
impl Coordination for KubernetesCoordination {
    fn rhythm(&self) -> Rhythm {
        Rhythm { heartbeat: HEARTBEAT, member_ttl: MEMBER_TTL, look: LOOK }
    }

    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError> {
        check_name(&member.node)?;
        let object = || format!("Lease {}/{}", self.namespace, member.node);
        let unwritable =
            |error: serde_json::Error| api_error(object(), kube::Error::SerdeError(error));
        let renewal = member::renewal(member, MEMBER_TTL).map_err(unwritable)?;
        let params = PatchParams::default();
        let patch = Patch::Merge(&renewal);
        let answer = timeout(REQUEST, self.leases.patch(&member.node, &params, &patch)).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                let lease = member::lease(member, &self.cluster, self.owner.as_ref(), MEMBER_TTL)
                    .map_err(unwritable)?;
                let params = PostParams::default();
                bounded(object, self.leases.create(&params, &lease)).await.map(|_| ())
            }
            Ok(Err(error)) => Err(api_error(object(), error)),
            Err(_) => Err(late(object())),
        }
    }

    async fn leave(&self, node: &str) -> Result<(), CoordinationError> {
        check_name(node)?;
        let object = || format!("Lease {}/{node}", self.namespace);
        match timeout(REQUEST, self.leases.delete(node, &DeleteParams::default())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Ok(Err(error)) => Err(api_error(object(), error)),
            Err(_) => Err(late(object())),
        }
    }

    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError> {
        let ours = format!("{LABEL_CLUSTER}={},{LABEL_LEASE}={MEMBER}", self.cluster);
        let params = ListParams::default().labels(&ours);
        let object = || format!("Leases of {}/{}", self.namespace, self.cluster);
        let leases = bounded(object, self.leases.list(&params)).await?;
        let snapshot = self.snapshots.borrow().clone();
        watching::records(&leases.items, &snapshot)
    }

    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError> {
        check_name(node)?;
        let Some(map) = self.object().await? else {
            // There is nothing to lead yet.
            tokio::time::sleep(HEARTBEAT).await;
            return Ok(None);
        };
        let fence = Maps::read(&map)?.fence;
        let election = self.candidate(node, &map).await;
        let Ok(held) = timeout(PATIENCE, election.acquire_above(fence)).await else {
            return Ok(None);
        };
        self.token.store(held.token(), Ordering::Relaxed);
        let lead = Leadership::new(node.to_owned(), held.token(), Box::new(held));
        // Whatever the leader before still has on its way is void from here on. Not needed for anything
        // else: every verdict carries the token.
        match self.judge(&lead, Verdict::Leads, |_| Ok(false)).await {
            Ok(_) => {}
            Err(error @ CoordinationError::Fenced { .. }) => {
                tracing::warn!(%error, "the Lease was deleted and made again: another has this token");
                lead.release().await;
                return Ok(None);
            }
            Err(error) => tracing::debug!(%error, "could not announce the lead"),
        }
        Ok(Some(lead))
    }

    async fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        Ok(self.lead().await?.as_ref().and_then(lead::leader))
    }

    async fn active(&self) -> Result<Option<Map>, CoordinationError> {
        Ok(self.maps().await?.and_then(|maps| maps.active))
    }

    async fn proposed(&self) -> Result<Option<Map>, CoordinationError> {
        Ok(self.maps().await?.and_then(|maps| maps.proposed().cloned()))
    }

    /// The operator makes the first map, with the shards of its cluster; this makes it active.
    async fn initialize(&self, _shards: Shards) -> Result<Map, CoordinationError> {
        let own = self.token.load(Ordering::Relaxed);
        // A status's token belongs to the node that it names.
        let leader = self.election.lock().await.as_ref().map(|(node, _)| node.clone());
        let leader = leader.unwrap_or_default();
        let maps = self
            .swap(Part::Status, |object, maps| {
                if maps.active.is_some() {
                    return Ok(None);
                }
                maps.admit(&leader, own)?;
                let status = judged(object, &leader, own, Verdict::Active);
                Ok(Some(OpaqueShardMap { status: Some(status), ..object.clone() }))
            })
            .await?;
        maps.active.ok_or(CoordinationError::NotInitialized)
    }

    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let maps = self
            .swap(Part::Spec, |object, maps| {
                let map = maps.propose(change.clone(), expected, now)?;
                let mut changed = object.clone();
                changed.spec.map = write_map(&map)?;
                Ok(Some(changed))
            })
            .await?;
        Ok(maps.newest)
    }

    async fn activate(
        &self,
        leadership: &Leadership,
        generation: u64,
    ) -> Result<Map, CoordinationError> {
        // Given already when the answer to an attempt was lost.
        let done = |maps: &Maps| {
            let active = maps.active.as_ref().map(|map| map.generation);
            if active == Some(generation) && maps.fence == leadership.token() {
                return Ok(true);
            }
            maps.decide(generation).map(|_| false)
        };
        let maps = self.judge(leadership, Verdict::Active, done).await?;
        maps.active.ok_or(CoordinationError::NotInitialized)
    }

    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), CoordinationError> {
        let done = |maps: &Maps| {
            let rejected = matches!(maps.outcome(generation), Outcome::Rejected { .. });
            if rejected && maps.fence == leadership.token() {
                return Ok(true);
            }
            maps.decide(generation).map(|_| false)
        };
        self.judge(leadership, Verdict::Rejected(reason), done).await.map(|_| ())
    }

    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError> {
        Ok(self.maps().await?.map_or(Outcome::Unknown, |maps| maps.outcome(generation)))
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }
}

/// What of the object is written.
#[derive(Debug, Clone, Copy)]
enum Part {
    Spec,
    Status,
}

/// 8 s, 5 s, 1 s: a leader that dies is followed within 9 s.
fn policy() -> election::Policy {
    let seconds = Duration::from_secs;
    election::Policy::new(seconds(8), seconds(5), seconds(1)).unwrap_or_default()
}

/// kube's pauses with their jitter, but shorter: a node without a watch is a node behind.
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(WATCH_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

fn owned_by_pod(pod: Pod) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: pod.name,
        uid: pod.uid,
        ..OwnerReference::default()
    }
}

/// Refuses what would not be the name of an object.
fn check_name(node: &str) -> Result<(), CoordinationError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let edges = edge(node.chars().next()) && edge(node.chars().next_back());
    if edges && node.len() <= 253 && node.chars().all(good) {
        Ok(())
    } else {
        Err(CoordinationError::NodeName(node.to_owned()))
    }
}

async fn bounded<T>(
    object: impl Fn() -> String + Send,
    request: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, CoordinationError> {
    match timeout(REQUEST, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(api_error(object(), error)),
        Err(_) => Err(late(object())),
    }
}

fn api_error(object: impl Into<String>, error: kube::Error) -> CoordinationError {
    CoordinationError::Io { object: object.into(), source: io::Error::other(error) }
}

fn late(object: String) -> CoordinationError {
    let reason = format!("the API server did not answer within {} s", REQUEST.as_secs());
    CoordinationError::Io { object, source: io::Error::new(io::ErrorKind::TimedOut, reason) }
}
