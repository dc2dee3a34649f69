//! Coordination through the Kubernetes API. docs/decisions/009-on-kubernetes.md describes the
//! objects.
//!
//! ```text
//! Lease <node>                 a member: its record, renewed every 2 s
//! Lease <cluster>-leader       who leads; leaseTransitions is the fencing token
//! OpaqueShardMap <cluster>     spec.map: the newest map; spec.withdrawn: proposals that were
//!                              withdrawn; status: the active map, and rejections
//! ```
//!
//! **Guarantees.** Every change of the map is one compare-and-swap on its `resourceVersion`. A new
//! leader writes its name and token into the status. A leader is refused if the status has a higher
//! token, or the same token of another leader.
//!
//! **A lost or restored map.** `status.uid` names the object in which a map became active. A status
//! that was copied from another object is not trusted, and neither is one below the generation that
//! members serve ([`written`](super::written)). A map that belongs to another OpaqueCluster of the
//! same name is ignored.
//!
//! **Outages.** Queries only need the last [`Snapshot`]. While the API is unreachable, the snapshot
//! does not change, and no member ages ([`member::Hearing`]).
//!
//! **Time.** A record's `heartbeat` is replaced by the local time at which this node saw it change.
//! Wall clocks of two machines are never compared.
//!
//! **Permissions.** Leases: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
//! OpaqueShardMaps: `get`, `list`, `watch`, `update`; their status: `update`.

mod cluster;
mod lead;
mod map;
mod member;
mod watching;
mod writing;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DeserializeGuard;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff};
use kube::runtime::{WatchStreamExt, watcher as watch_all};
use kube::{Api, Client, Config};
use opaque_crds::OpaqueShardMap;
use opaque_election::without_retries;
use opaque_store::UnixMillis;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::cluster::Origin;
use self::lead::Candidate;
use self::map::{Maps, Verdict, judged, withdraw, write_map};
use self::writing::Part;
use super::heard::Heard;
use super::map::replaced_by;
use super::written::{Reading, Served, Written};
use super::{
    Change, Coordination, CoordinationError, Leader, Leadership, Map, MemberRecord, Outcome,
    Rhythm, Snapshot, Standing, Waited,
};
use crate::map::placement::Shards;

const LABEL_CLUSTER: &str = "opaque.dev/cluster";
const LABEL_LEASE: &str = "opaque.dev/lease";
const MEMBER: &str = "member";
const LEADER: &str = "leader";

/// Interval at which a member renews its Lease.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a member may be silent: five renewals.
const MEMBER_TTL: Duration = Duration::from_secs(10);
/// Interval at which the outcome of a proposal is read.
const LOOK: Duration = Duration::from_millis(200);
/// Timeout of one request.
const REQUEST: Duration = Duration::from_secs(5);
/// Seconds after which the API server ends a watch. A dead watch is noticed shortly after that.
const WATCH_SECONDS: u32 = 20;
/// Longest pause between two attempts to watch.
const WATCH_PAUSE: Duration = Duration::from_secs(2);
/// Attempts at a change while others keep changing the object.
const ATTEMPTS: usize = 8;

/// The pod that owns a member Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: String,
}

/// Coordination through the Kubernetes API. See the module's documentation.
pub struct KubernetesCoordination {
    namespace: String,
    cluster: String,
    owner: Option<OwnerReference>,
    /// The OpaqueCluster to which this node belongs.
    origin: Arc<Origin>,
    /// Distinguishes this process from others of the same name.
    process: u64,
    leases: Api<Lease>,
    maps: Api<OpaqueShardMap>,
    /// A client only for elections, so that no other request delays them.
    electors: Client,
    election: Mutex<Option<Candidate>>,
    /// The token of this node's last lead.
    token: AtomicU64,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    heard: Heard,
    following: AbortHandle,
}

impl KubernetesCoordination {
    /// Watches a cluster from now on. Does not wait for the API. `process` is random.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The configuration does not make a client.
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
        // Every renewal by a member is an event, including those of this node.
        let heard = Heard::new();
        let hearing = heard.clone();
        let lease_events = lease_events.inspect_ok(move |_| hearing.note());
        let map_events = watching::one(guarded, cluster, WATCH_SECONDS).backoff(Pauses::default());
        let (sender, snapshots) = watch::channel(Arc::default());
        let origin = Arc::new(Origin::default());
        let following = watching::follow(lease_events, map_events, Arc::clone(&origin), sender);
        Ok(Self {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            owner: pod.map(owned_by_pod),
            origin,
            process,
            leases,
            maps,
            electors: client()?,
            election: Mutex::default(),
            token: AtomicU64::new(0),
            snapshots,
            heard,
            following: tokio::spawn(following).abort_handle(),
        })
    }

    /// The map's object, if the operator has created it.
    async fn object(&self) -> Result<Option<OpaqueShardMap>, CoordinationError> {
        let name = || format!("OpaqueShardMap {}/{}", self.namespace, self.cluster);
        let object = bounded(name, self.maps.get_opt(&self.cluster)).await?;
        Ok(object.filter(|object| self.origin.is_ours(&object.metadata)))
    }

    /// The present effective maps, and the outcomes of generations.
    async fn read(&self) -> Result<(Reading, Option<Maps>), CoordinationError> {
        let known = self.known();
        let maps = self.object().await?.as_ref().map(Maps::read).transpose()?;
        let written = maps.as_ref().map_or(Written::nothing(), Maps::written);
        Ok((written.read(&Served::new(&known, &known.members)), maps))
    }

    /// The last state that this node has seen. It must be taken before the object is read, so that
    /// a map below it is truly an older one.
    fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
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
        let origin = self.origin.get();
        let (origin, owner) = (origin.as_deref(), self.owner.as_ref());
        let renewal = member::renewal(member, origin, owner, MEMBER_TTL).map_err(unwritable)?;
        let params = PatchParams::default();
        let patch = Patch::Merge(&renewal);
        let answer = timeout(REQUEST, self.leases.patch(&member.node, &params, &patch)).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                let cluster = &self.cluster;
                let lease = member::lease(member, cluster, origin, owner, MEMBER_TTL)
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
        Ok(watching::records(&leases.items, &self.origin, &snapshot))
    }

    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError> {
        check_name(node)?;
        self.campaign(node).await
    }

    async fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        Ok(self.lead().await?.as_ref().and_then(lead::leader))
    }

    async fn active(&self) -> Result<Option<Map>, CoordinationError> {
        Ok(self.read().await?.0.active)
    }

    async fn proposed(&self) -> Result<Option<Map>, CoordinationError> {
        Ok(self.read().await?.0.proposed)
    }

    /// The operator creates the first map, with the shards of its cluster. This method makes it
    /// active.
    async fn initialize(&self, _shards: Shards) -> Result<Map, CoordinationError> {
        let own = self.token.load(Ordering::Relaxed);
        let known = self.known();
        let served = Served::new(&known, &known.members);
        // The token in a status belongs to the node that the status names.
        let leader = self.election.lock().await.as_ref().map(|candidate| candidate.node.clone());
        let leader = leader.unwrap_or_default();
        let maps = self
            .swap(Part::Status, |object, maps| {
                let reading = maps.written().read(&served);
                if reading.active.is_some() {
                    return Ok(None);
                }
                if reading.standing != Standing::First || !maps.newest.tables.is_empty() {
                    return Err(CoordinationError::NotInitialized);
                }
                maps.admit(&leader, own)?;
                let status = judged(object, &leader, own, Verdict::Active);
                Ok(Some(OpaqueShardMap { status: Some(status), ..object.clone() }))
            })
            .await?;
        maps.written().read(&served).active.ok_or(CoordinationError::NotInitialized)
    }

    async fn restore(
        &self,
        leadership: &Leadership,
        shards: Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError> {
        self.write_what_is_served(leadership, &shards, now).await
    }

    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let known = self.known();
        let served = Served::new(&known, &known.members);
        let maps = self
            .swap(Part::Spec, |object, maps| {
                let map = maps.propose(&served, change.clone(), expected, now)?;
                if map == maps.newest {
                    return Ok(None);
                }
                let mut changed = object.clone();
                if let Some(waiting) = maps.written().proposal(&served) {
                    withdraw(&mut changed, waiting.generation, &replaced_by(map.generation))?;
                }
                changed.spec.map = write_map(&map)?;
                Ok(Some(changed))
            })
            .await;
        match maps {
            Ok(maps) => Ok(maps.newest),
            // The map is about to be created again.
            Err(CoordinationError::NotInitialized) if known.active.is_some() => {
                Err(Written::nothing().read(&served).conflict(expected))
            }
            Err(error) => Err(error),
        }
    }

    async fn withdraw(&self, generation: u64, reason: &str) -> Result<(), CoordinationError> {
        let known = self.known();
        let served = Served::new(&known, &known.members);
        self.swap(Part::Spec, |object, maps| {
            if maps.rejects(generation) {
                return Ok(None);
            }
            maps.decide(&served, generation)?;
            let mut changed = object.clone();
            withdraw(&mut changed, generation, reason)?;
            Ok(Some(changed))
        })
        .await
        .map(|_| ())
    }

    async fn note_wait(
        &self,
        leadership: &Leadership,
        waited: Waited,
    ) -> Result<(), CoordinationError> {
        let known = self.known();
        let served = Served::new(&known, &known.members);
        let done = |maps: &Maps| maps.decide(&served, waited.generation).map(|_| false);
        self.judge(leadership, Verdict::Waits(waited.seconds), done).await.map(|_| ())
    }

    async fn activate(
        &self,
        leadership: &Leadership,
        generation: u64,
    ) -> Result<Map, CoordinationError> {
        let known = self.known();
        let served = Served::new(&known, &known.members);
        // The verdict may already be written if the answer to an earlier attempt was lost.
        let done = |maps: &Maps| {
            let active = maps.active.as_ref().map(|map| map.generation);
            if active == Some(generation) && maps.fence == leadership.token() {
                return Ok(true);
            }
            maps.decide(&served, generation).map(|_| false)
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
        let known = self.known();
        let served = Served::new(&known, &known.members);
        let done = |maps: &Maps| {
            if maps.rejects(generation) && maps.fence == leadership.token() {
                return Ok(true);
            }
            maps.decide(&served, generation).map(|_| false)
        };
        self.judge(leadership, Verdict::Rejected(reason), done).await.map(|_| ())
    }

    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError> {
        let (reading, maps) = self.read().await?;
        Ok(maps.map_or(Outcome::Unknown, |maps| maps.outcome(&reading, generation)))
    }

    fn silence(&self) -> Duration {
        self.heard.silence()
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }
}

/// kube's pauses with their jitter, but shorter, since a node without a watch misses changes.
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

/// Refuses names that cannot be the name of an object.
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
