//! What the nodes of a cluster agree on: who is alive, who leads, and which shard map is active.
//!
//! **Life of a map.** Somebody [proposes](Coordination::propose) a change to the active map: a new
//! epoch of a table, or other shards. Every node prepares the proposed generation while it serves
//! the active one, and reports it in its [`MemberRecord`]. The leader watches ([`next_step`]), runs
//! the self-test against the proposed generation, and activates or rejects it. There is at most one
//! proposal at a time, and generations only grow: a rejected number is never used again. Until it
//! is activated, anybody can [withdraw](Coordination::withdraw) a proposal: of activation and
//! withdrawal one happens, decided by compare-and-swap.
//!
//! **What the nodes serve is the truth.** The map is written down in a file or an object, which can be
//! lost or restored from a backup. A written map that is not the one that is served takes nothing away:
//! the active map never goes back, and the leader writes it again ([`restore`](Coordination::restore)).
//!
//! **Why a trait.** Without Kubernetes the state is a directory ([`FileCoordination`]); with it, the
//! state is Leases and a custom resource. Both give the same guarantees: compare-and-swap on the
//! generation, and a fencing token, so that a leader that lost its lead cannot activate.

mod decision;
mod directory;
mod error;
mod file;
mod files;
mod heard;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod map;
mod metrics;
mod replicas;
mod standing;
mod vanished;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opaque_store::UnixMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::map::placement::{ShardId, Shards};

pub use decision::{Elapsed, Policy, Step, alive, covered, next_step, serving, waits_for_store};
pub use error::CoordinationError;
pub use file::FileCoordination;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{KubernetesCoordination, Pod};
pub use map::{Change, Map};
pub use metrics::MapMetrics;
pub use replicas::{Asked, ReplicaOrder, describers, holders, prepared, replica};
pub use standing::{Loss, Losses, Standing};

/// Agreement of a cluster's nodes.
///
/// **Guarantees.** Reads see whole records. [`propose`](Self::propose), [`activate`](Self::activate)
/// and [`reject`](Self::reject) are linearizable and survive a crash of the caller at any moment.
///
/// **Caveats.** [`leader`](Self::leader) may name a node that has just died, until another acquires
/// the lead. A [`watch`](Self::watch) may skip states between two looks; its active map never goes back,
/// whatever happens to where it is written down.
#[async_trait]
pub trait Coordination: Send + Sync + 'static {
    /// How often nodes renew their records here.
    fn rhythm(&self) -> Rhythm {
        Rhythm::default()
    }

    /// Publishes this node's record: joins the cluster, or renews its life there.
    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError>;

    /// Removes a node's record, after it has drained.
    async fn leave(&self, node: &str) -> Result<(), CoordinationError>;

    /// Every record, also of nodes that no longer renew theirs (see [`alive`]), ordered by name. On
    /// Kubernetes damaged ones are passed over.
    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError>;

    /// Acquires the lead if nobody holds it; may wait for it for a while. None when another holds it.
    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError>;

    /// The last node that acquired the lead.
    async fn leader(&self) -> Result<Option<Leader>, CoordinationError>;

    /// The map that queries use; none before [`initialize`](Self::initialize).
    async fn active(&self) -> Result<Option<Map>, CoordinationError>;

    /// The map that waits to become active.
    async fn proposed(&self) -> Result<Option<Map>, CoordinationError>;

    /// Makes a first map active if none is and no member serves one, and gives the active one. A first
    /// map has no tables; where nobody else makes it, it has these shards.
    ///
    /// # Errors
    /// [`CoordinationError::NotInitialized`] while somebody else has yet to make the first map, and for
    /// a map with tables, which is a proposal.
    async fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError>;

    /// Writes the map that is served where the written one is another, or is gone
    /// ([`Standing::Lost`]): marks it as active again, or proposes it above every generation in use.
    /// Does nothing where a fresh look shows that all is well. `shards` are used where nothing else
    /// tells them.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] when another node has acquired the lead since;
    /// [`CoordinationError::NotInitialized`] while somebody else has yet to make the map.
    async fn restore(
        &self,
        leadership: &Leadership,
        shards: Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError>;

    /// Proposes a change to the active map of generation `expected`. A proposal that waits and
    /// concerns nothing but what this change decides is withdrawn by the same write. One that is
    /// this very change stays, and is the answer.
    ///
    /// # Errors
    /// [`CoordinationError::Conflict`] when another generation is active, another proposal waits, or the
    /// written map is not the one that is served.
    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError>;

    /// Makes the proposed map active.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] when another node has acquired the lead since;
    /// [`CoordinationError::NotProposed`] when another generation, or none, is proposed.
    async fn activate(
        &self,
        leadership: &Leadership,
        generation: u64,
    ) -> Result<Map, CoordinationError>;

    /// Drops the proposed map, for a reason that [`outcome`](Self::outcome) will give.
    ///
    /// # Errors
    /// As [`activate`](Self::activate).
    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), CoordinationError>;

    /// Withdraws the proposed map, so that it never becomes active; [`outcome`](Self::outcome) then
    /// says that it was rejected, and gives the reason. Needs no lead. Withdrawing twice is no
    /// error.
    ///
    /// # Errors
    /// [`CoordinationError::NotProposed`] when another generation, or none, is proposed: this one
    /// may have become active meanwhile.
    async fn withdraw(&self, generation: u64, reason: &str) -> Result<(), CoordinationError>;

    /// Notes how long the proposed map has waited, for the leader after this one.
    ///
    /// # Errors
    /// As [`activate`](Self::activate).
    async fn note_wait(
        &self,
        leadership: &Leadership,
        waited: Waited,
    ) -> Result<(), CoordinationError>;

    /// What became of a generation.
    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError>;

    /// How long nothing has been heard of the state; a few seconds at most while all is well.
    fn silence(&self) -> Duration {
        Duration::ZERO
    }

    /// The whole state, whenever it changes.
    fn watch(&self) -> watch::Receiver<Arc<Snapshot>>;
}

/// How often nodes renew their records, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Pause between two renewals.
    pub heartbeat: Duration,
    /// A member whose record is older counts as dead: at least four heartbeats.
    pub member_ttl: Duration,
    /// Pause between two looks at what became of a proposal.
    pub look: Duration,
}

impl Default for Rhythm {
    /// 1 s, 5 s, 50 ms.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            member_ttl: Duration::from_secs(5),
            look: Duration::from_millis(50),
        }
    }
}

/// What one node tells the others. Unknown fields are passed over, so that nodes of two versions
/// understand each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its name, unique in the cluster: letters, digits, `-`, `_` and `.`.
    pub node: String,
    /// The shard that it is a replica of.
    pub shard: ShardId,
    /// Where clients reach it.
    pub client_address: String,
    /// Where peers reach it.
    pub peer_address: String,
    /// The generation that it serves; 0 before the first.
    pub active_generation: u64,
    /// The newest generation that it is ready to serve; 0 before the first.
    pub prepared_generation: u64,
    /// The generation that it is loading to prepare it. A node that ended meanwhile keeps it, so
    /// that it and its peers know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparing: Option<u64>,
    /// The newest generation that it could not prepare, and why.
    pub failed: Option<Failure>,
    /// What it is doing or why it waits; empty when it serves.
    pub message: String,
    /// Bytes of partitions and hint tables in its memory.
    pub resident_bytes: u64,
    /// When the record was written; on Kubernetes, when the reader saw it change.
    pub heartbeat: UnixMillis,
    /// Digest of the peer authorities that the node trusts, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Serial number of the certificate that it shows to its peers, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// UID of the OpaqueShardMap that the served generation comes from; none without Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// Tables that it serves, with their epochs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, u64>,
    /// Tables of the active map that it cannot serve, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    /// Shards of which it reaches no replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<ShardId>,
    /// Why it cannot read the store at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Tables whose probes fail; of the leader alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, FailedProbe>,
}

/// Why a table's probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedProbe {
    /// What happened.
    pub reason: String,
    /// Whether every shard answered and the sums were wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wrong: bool,
}

/// How long a proposal has waited for the nodes, counted by those that led, each with its own
/// clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waited {
    /// The proposed generation.
    pub generation: u64,
    /// Whole seconds.
    pub seconds: u64,
}

/// Why a node cannot serve a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The generation that failed.
    pub generation: u64,
    /// Why.
    pub reason: String,
}

/// Whatever keeps the lead in a backend, until it is dropped.
#[async_trait]
pub trait Hold: Send + Sync + 'static {
    /// Resolves when the lead is lost, before another may acquire it; never where it cannot be lost.
    async fn lost(&self);

    /// Lets another acquire the lead at once.
    async fn release(self: Box<Self>);
}

/// The lead, held until this value is dropped, its process dies, or it is [lost](Self::lost).
pub struct Leadership {
    node: String,
    token: u64,
    hold: Box<dyn Hold>,
}

impl Leadership {
    /// A lead that lasts as long as `hold`.
    pub(crate) fn new(node: String, token: u64, hold: Box<dyn Hold>) -> Self {
        Self { node, token, hold }
    }

    /// Resolves when the lead is lost.
    pub async fn lost(&self) {
        self.hold.lost().await;
    }

    /// Lets another acquire the lead at once.
    pub async fn release(self) {
        self.hold.release().await;
    }

    /// The node that leads.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Grows with each acquisition.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The node and its token.
    pub fn leader(&self) -> Leader {
        Leader { node: self.node.clone(), token: self.token }
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("node", &self.node)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Who acquired the lead last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// The node's name.
    pub node: String,
    /// Its fencing token.
    pub token: u64,
}

/// What became of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is proposed.
    Pending,
    /// It is active, or was and has been followed by another.
    Activated,
    /// It was rejected and never becomes active.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Nobody has proposed it yet.
    Unknown,
}

/// The whole state at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// As [`Coordination::active`].
    pub active: Option<Map>,
    /// As [`Coordination::proposed`].
    pub proposed: Option<Map>,
    /// As [`Coordination::leader`].
    pub leader: Option<Leader>,
    /// As [`Coordination::members`].
    pub members: Vec<MemberRecord>,
    /// UID of the OpaqueShardMap that `active` was read from; none without Kubernetes.
    pub map_uid: Option<String>,
    /// How the written map compares with the one that is served.
    pub standing: Standing,
    /// The highest generation that this node has ever heard of.
    pub highest: u64,
    /// What was noted last of how long a proposal has waited; perhaps of another than the present
    /// one.
    pub waited: Option<Waited>,
}

#[cfg(test)]
mod tests;
