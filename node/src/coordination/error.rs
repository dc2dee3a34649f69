//! Errors of coordination.

use std::time::Duration;

use thiserror::Error;

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
    /// A record is damaged, or has a version that this node does not know.
    #[error("coordination: {object} is damaged: {reason}")]
    Corrupt {
        /// The file or resource.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The first map has not been created yet.
    #[error("the cluster has no shard map yet")]
    NotInitialized,
    /// Another change came first.
    #[error(
        "generation {expected} is not the active one, or a change waits: active {active}, proposed {proposed:?}"
    )]
    Conflict {
        /// The generation that the caller expected.
        expected: u64,
        /// The active generation.
        active: u64,
        /// The proposed generation.
        proposed: Option<u64>,
    },
    /// Another table has this name with different case.
    #[error(
        "table {existing:?} exists, and names must not differ only by case: load it under that name"
    )]
    NameTaken {
        /// The existing table.
        existing: String,
    },
    /// An OpaqueTable owns the table.
    #[error(
        "table {table:?} belongs to OpaqueTable {owner}, and only that decides which epoch is served: change its spec.source to load it, its spec.epoch to roll it back, or load under another name"
    )]
    Owned {
        /// The table.
        table: String,
        /// Name of its OpaqueTable.
        owner: String,
    },
    /// The proposal to decide on does not exist.
    #[error("generation {generation} is not proposed (proposed: {proposed:?})")]
    NotProposed {
        /// The generation to decide on.
        generation: u64,
        /// The proposed generation.
        proposed: Option<u64>,
    },
    /// Another node leads now.
    #[error("lead {token} was superseded by lead {current}")]
    Fenced {
        /// The caller's token.
        token: u64,
        /// The newest token.
        current: u64,
    },
    /// A node's name cannot be part of a file name or resource name.
    #[error("{0:?} is not a valid node name: use letters, digits, -, _ and .")]
    NodeName(String),
    /// The lock on the state was held for too long.
    #[error("coordination: the state has been locked for {0:?}")]
    Busy(Duration),
    /// The worker that ran the operation panicked, or its runtime is shutting down.
    #[error("coordination: the operation was interrupted")]
    Interrupted,
}

impl CoordinationError {
    /// Whether the state was merely unreachable, so that the same operation may succeed a moment
    /// later. A change that failed this way may nevertheless have been written.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Busy(_) | Self::Interrupted => true,
            Self::Corrupt { .. }
            | Self::NotInitialized
            | Self::Conflict { .. }
            | Self::NameTaken { .. }
            | Self::Owned { .. }
            | Self::NotProposed { .. }
            | Self::Fenced { .. }
            | Self::NodeName(_) => false,
        }
    }
}
