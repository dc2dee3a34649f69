//! What the nodes of a cluster agree on: who is alive, who leads, and which shard map is active.
//!
//! **Life of a map.** Somebody [proposes](Coordination::propose) a change to the active map: a new
//! epoch of a table, or other shards. Every node prepares the proposed generation while it serves
//! the active one, and reports it in its [`MemberRecord`]. The leader watches ([`next_step`]), runs
//! the self-test against the proposed generation, and activates or rejects it. There is at most one
//! proposal at a time, and generations only grow: a rejected number is never used again.
//!
//! **Why a trait.** Without Kubernetes the state is a directory ([`FileCoordination`]); with it, the
//! state is Leases and a custom resource. Both give the same guarantees: compare-and-swap on the
//! generation, and a fencing token, so that a leader that lost its lead cannot activate.

mod decision;
mod file;
mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use crate::placement::{ShardId, Shards};

pub use decision::{Policy, Step, alive, next_step, serving};
pub use file::FileCoordination;

/// Agreement of a cluster's nodes.
///
/// **Guarantees.** Reads see whole records. [`propose`](Self::propose), [`activate`](Self::activate)
/// and [`reject`](Self::reject) are linearizable and survive a crash of the caller at any moment.
///
/// **Caveats.** [`leader`](Self::leader) may name a node that has just died, until another acquires
/// the lead. A [`watch`](Self::watch) may skip states between two looks; it never goes back.
#[async_trait]
pub trait Coordination: Send + Sync + 'static {
    /// Publishes this node's record: joins the cluster, or renews its life there.
    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError>;

    /// Removes a node's record, after it has drained.
    async fn leave(&self, node: &str) -> Result<(), CoordinationError>;

    /// Every record, also of nodes that no longer renew theirs (see [`alive`]), ordered by name.
    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError>;

    /// Acquires the lead if nobody holds it.
    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError>;

    /// The last node that acquired the lead.
    async fn leader(&self) -> Result<Option<Leader>, CoordinationError>;

    /// The map that queries use; none before [`initialize`](Self::initialize).
    async fn active(&self) -> Result<Option<Map>, CoordinationError>;

    /// The map that waits to become active.
    async fn proposed(&self) -> Result<Option<Map>, CoordinationError>;

    /// Makes a first map without tables active if there is none, and gives the active one.
    async fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError>;

    /// Proposes a change to the active map of generation `expected`.
    ///
    /// # Errors
    /// [`CoordinationError::Conflict`] when another generation is active, or a proposal waits.
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

    /// What became of a generation.
    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError>;

    /// The whole state, whenever it changes.
    fn watch(&self) -> watch::Receiver<Arc<Snapshot>>;
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Time passed since `earlier`; zero if that lies ahead, as another machine's clock may.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// Who serves which tables; one generation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Version of the map.
    pub generation: u64,
    /// Version of the placement rule, [`crate::placement::VERSION`].
    pub placement: u32,
    /// The shards and their weights.
    pub shards: Shards,
    /// The epoch of each table, by the table's name.
    pub tables: BTreeMap<String, u64>,
    /// When it was proposed.
    pub proposed_at: UnixMillis,
}

/// A change to the active map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Serves `epoch` of a table; none drops the table.
    Table {
        /// The table's name.
        table: String,
        /// Its epoch from now on.
        epoch: Option<u64>,
    },
    /// Other shards, or other weights.
    Shards(Shards),
}

impl Change {
    /// The map after this change.
    fn apply(self, map: &Map, generation: u64, proposed_at: UnixMillis) -> Map {
        let Map { generation: _, placement: _, shards, tables, proposed_at: _ } = map.clone();
        let placement = crate::placement::VERSION;
        let mut changed = Map { generation, placement, shards, tables, proposed_at };
        match self {
            Self::Table { table, epoch: Some(epoch) } => {
                changed.tables.insert(table, epoch);
            }
            Self::Table { table, epoch: None } => {
                changed.tables.remove(&table);
            }
            Self::Shards(shards) => changed.shards = shards,
        }
        changed
    }
}

/// What one node tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The newest generation that it could not prepare, and why.
    pub failed: Option<Failure>,
    /// What it is doing or why it waits; empty when it serves.
    pub message: String,
    /// Bytes of partitions and hint tables in its memory.
    pub resident_bytes: u64,
    /// When the record was written.
    pub heartbeat: UnixMillis,
}

/// Why a node cannot serve a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The generation that failed.
    pub generation: u64,
    /// Why.
    pub reason: String,
}

/// The lead, held until this value is dropped or its process dies.
pub struct Leadership {
    node: String,
    token: u64,
    /// Whatever keeps the lead in this backend.
    _hold: Box<dyn Send + Sync>,
}

impl Leadership {
    /// A lead that lasts as long as `hold`.
    pub(crate) fn new(node: String, token: u64, hold: Box<dyn Send + Sync>) -> Self {
        Self { node, token, _hold: hold }
    }

    /// The node that leads.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Grows with each acquisition.
    pub fn token(&self) -> u64 {
        self.token
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
}

/// Why the state could not be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CoordinationError {
    /// The backend failed.
    #[error("coordination: {object}: {source}")]
    Io {
        /// The file or resource.
        object: String,
        /// What failed.
        source: std::io::Error,
    },
    /// A record is damaged, or of a version that this node does not know.
    #[error("coordination: {object} is damaged: {reason}")]
    Corrupt {
        /// The file or resource.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No first map was made yet.
    #[error("the cluster has no shard map yet")]
    NotInitialized,
    /// Somebody else was faster.
    #[error(
        "generation {expected} is not the active one, or a change waits: active {active}, proposed {proposed:?}"
    )]
    Conflict {
        /// The caller's belief.
        expected: u64,
        /// The active generation.
        active: u64,
        /// The proposed generation.
        proposed: Option<u64>,
    },
    /// The proposal to decide on is not there.
    #[error("generation {generation} is not proposed (proposed: {proposed:?})")]
    NotProposed {
        /// The generation to decide on.
        generation: u64,
        /// What is proposed.
        proposed: Option<u64>,
    },
    /// Another node leads now.
    #[error("lead {token} has been followed by lead {current}")]
    Fenced {
        /// The caller's token.
        token: u64,
        /// The newest token.
        current: u64,
    },
    /// A node's name cannot be part of a file name or resource name.
    #[error("{0:?} is no name for a node: use letters, digits, -, _ and .")]
    NodeName(String),
    /// The lock on the state was held for too long.
    #[error("coordination: the state has been locked for {0:?}")]
    Busy(Duration),
    /// The worker that ran the operation panicked, or its runtime is shutting down.
    #[error("coordination: the operation was interrupted")]
    Interrupted,
}

#[cfg(test)]
mod tests;
