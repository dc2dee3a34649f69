//! The state that the nodes of a cluster agree on: which nodes are alive, which one leads, and
//! which shard map is active.
//!
//! **Life of a map.** A node or the operator [proposes](Coordination::propose) a change to the
//! active map: a new epoch of a table, or other shards. Every node prepares the proposed generation
//! while it serves the active one, and reports it in its [`MemberRecord`]. The leader watches
//! ([`next_step`]), runs the self-test against the proposed generation, and activates or rejects
//! it. There is at most one proposal at a time. Generations only grow, and a rejected number is
//! never used again. Until a proposal is activated, anyone may [withdraw](Coordination::withdraw)
//! it. Compare-and-swap decides between activation and withdrawal, so exactly one of them happens.
//!
//! **The served map is authoritative.** The map is stored in a file or an object, which can be lost
//! or restored from a backup. If the stored map differs from the served one, nothing is unloaded:
//! the active map never goes back, and the leader writes it again
//! ([`restore`](Coordination::restore)).
//!
//! **Why a trait.** Without Kubernetes the state is a directory ([`FileCoordination`]). With it,
//! the state is Leases and a custom resource. Both give the same guarantees: compare-and-swap on
//! the generation, and a fencing token, so that a leader that lost its lead cannot activate.

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
/// **Guarantees.** Reads see whole records. [`propose`](Self::propose),
/// [`activate`](Self::activate) and [`reject`](Self::reject) are linearizable and survive a crash
/// of the caller at any moment.
///
/// **Limits.** [`leader`](Self::leader) may name a node that has just died, until another acquires
/// the lead. A [`watch`](Self::watch) may skip states. Its active map never goes back, whatever
/// happens to the stored map.
#[async_trait]
pub trait Coordination: Send + Sync + 'static {
    /// Intervals of this backend.
    fn rhythm(&self) -> Rhythm {
        Rhythm::default()
    }

    /// Publishes this node's record: joins the cluster, or renews the membership.
    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError>;

    /// Removes a node's record, after it has drained.
    async fn leave(&self, node: &str) -> Result<(), CoordinationError>;

    /// All records ordered by name, including those of nodes that no longer renew theirs (see
    /// [`alive`]). On Kubernetes, damaged records are skipped.
    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError>;

    /// Acquires the lead if it is free, and may wait for it for a while. `None` if another node
    /// holds it.
    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError>;

    /// The last node that acquired the lead.
    async fn leader(&self) -> Result<Option<Leader>, CoordinationError>;

    /// The map that queries use; `None` before [`initialize`](Self::initialize).
    async fn active(&self) -> Result<Option<Map>, CoordinationError>;

    /// The map that waits to become active.
    async fn proposed(&self) -> Result<Option<Map>, CoordinationError>;

    /// Returns the active map. If no map is stored and no member serves one, activates a first map.
    /// A first map has no tables. It has these shards, unless the backend leaves its creation to
    /// another party.
    ///
    /// # Errors
    /// [`CoordinationError::NotInitialized`] while another party has yet to create the first map,
    /// and for a map with tables, which is a proposal.
    async fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError>;

    /// Writes the served map if the stored map differs from it or is gone ([`Standing::Lost`]):
    /// marks it as active again, or proposes it with a number above every generation in use. Does
    /// nothing if a fresh read shows that the map is correct. `shards` are used if nothing else
    /// tells them.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] if another node has acquired the lead since;
    /// [`CoordinationError::NotInitialized`] while another party has yet to create the map.
    async fn restore(
        &self,
        leadership: &Leadership,
        shards: Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError>;

    /// Proposes a change to the active map of generation `expected`. A waiting proposal that
    /// concerns only what this change decides is withdrawn by the same write. If the waiting
    /// proposal is this very change, it stays and is returned.
    ///
    /// # Errors
    /// [`CoordinationError::Conflict`] if another generation is active, another proposal waits, or
    /// the stored map is not the served one.
    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError>;

    /// Makes the proposed map active.
    ///
    /// # Errors
    /// [`CoordinationError::Fenced`] if another node has acquired the lead since;
    /// [`CoordinationError::NotProposed`] if another generation, or none, is proposed.
    async fn activate(
        &self,
        leadership: &Leadership,
        generation: u64,
    ) -> Result<Map, CoordinationError>;

    /// Drops the proposed map, for a reason that [`outcome`](Self::outcome) will return.
    ///
    /// # Errors
    /// As for [`activate`](Self::activate).
    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), CoordinationError>;

    /// Withdraws the proposed map, so that it never becomes active. [`outcome`](Self::outcome) then
    /// reports it as rejected, with the reason. This does not need the lead. Withdrawing twice is
    /// not an error.
    ///
    /// # Errors
    /// [`CoordinationError::NotProposed`] if another generation, or none, is proposed. This one may
    /// have become active in between.
    async fn withdraw(&self, generation: u64, reason: &str) -> Result<(), CoordinationError>;

    /// Records how long the proposed map has waited, for the next leader.
    ///
    /// # Errors
    /// As for [`activate`](Self::activate).
    async fn note_wait(
        &self,
        leadership: &Leadership,
        waited: Waited,
    ) -> Result<(), CoordinationError>;

    /// The outcome of a generation.
    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError>;

    /// Time since the state was last read. At most a few seconds in normal operation.
    fn silence(&self) -> Duration {
        Duration::ZERO
    }

    /// The whole state, updated whenever it changes.
    fn watch(&self) -> watch::Receiver<Arc<Snapshot>>;
}

/// Intervals of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Pause between two renewals.
    pub heartbeat: Duration,
    /// Age from which a record's member counts as dead. At least four heartbeats.
    pub member_ttl: Duration,
    /// Pause between two reads of a proposal's outcome.
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

/// The state that one node reports to the others. Unknown fields are ignored, so that nodes of two
/// versions understand each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
pub struct MemberRecord {
    /// Name of the node, unique in the cluster: letters, digits, `-`, `_` and `.`.
    pub node: String,
    /// The shard that the node is a replica of.
    pub shard: ShardId,
    /// Address for clients.
    pub client_address: String,
    /// Address for peers.
    pub peer_address: String,
    /// The generation that the node serves; 0 before the first.
    pub active_generation: u64,
    /// The newest generation that the node is ready to serve; 0 before the first.
    pub prepared_generation: u64,
    /// The generation that the node is loading in order to prepare it. The field survives the end
    /// of the process, so that the node and its peers know that it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparing: Option<u64>,
    /// The newest generation that the node could not prepare, and why.
    pub failed: Option<Failure>,
    /// What the node is doing or why it waits; empty while it serves.
    pub message: String,
    /// Bytes of partitions and hint tables in the node's memory.
    pub resident_bytes: u64,
    /// When the record was written. On Kubernetes, when the reader saw it change.
    pub heartbeat: UnixMillis,
    /// Digest of the peer authorities that the node trusts, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Serial number of the certificate that the node presents to its peers, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// UID of the OpaqueShardMap from which the served generation comes; `None` without Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// Tables that the node serves, with their epochs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, u64>,
    /// Tables of the active map that the node cannot serve, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    /// Shards of which the node reaches no replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<ShardId>,
    /// Why the node cannot read the store at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Tables whose probes fail. Only the leader sets this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, FailedProbe>,
}

/// Why a table's probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedProbe {
    /// Description of the failure.
    pub reason: String,
    /// Whether every shard answered but the sums were wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wrong: bool,
}

/// How long a proposal has waited for the nodes. Successive leaders add up the time, each with its
/// own clock.
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
    /// The reason.
    pub reason: String,
}

/// Holds the lead in a backend until it is dropped.
#[async_trait]
pub trait Hold: Send + Sync + 'static {
    /// Resolves when the lead is lost, before another node can acquire it. Never resolves if the
    /// lead cannot be lost.
    async fn lost(&self);

    /// Frees the lead immediately.
    async fn release(self: Box<Self>);
}

/// The lead. It is held until this value is dropped, its process dies, or it is [lost](Self::lost).
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

    /// Frees the lead immediately.
    pub async fn release(self) {
        self.hold.release().await;
    }

    /// The node that leads.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The fencing token, which grows with each acquisition.
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

/// The node that acquired the lead last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// The node's name.
    pub node: String,
    /// Its fencing token.
    pub token: u64,
}

/// The outcome of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The generation is proposed.
    Pending,
    /// The generation is active, or was active and has been replaced.
    Activated,
    /// The generation was rejected and never becomes active.
    Rejected {
        /// The reason.
        reason: String,
    },
    /// The generation has not been proposed yet.
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
    /// UID of the OpaqueShardMap from which `active` was read; `None` without Kubernetes.
    pub map_uid: Option<String>,
    /// How the stored map compares with the served one.
    pub standing: Standing,
    /// The highest generation that this node has ever seen.
    pub highest: u64,
    /// The last record of how long a proposal has waited. It may belong to an earlier proposal.
    pub waited: Option<Waited>,
}

#[cfg(test)]
mod tests;
