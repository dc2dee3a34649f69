//! Why the state could not be read or changed.

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
    /// Another table has this name but for its case.
    #[error("table {existing:?} exists, and names do not differ by case: load it under that name")]
    NameTaken {
        /// The table that is there.
        existing: String,
    },
    /// The table is an OpaqueTable's.
    #[error(
        "table {table:?} belongs to OpaqueTable {owner}, which alone decides what is served: change its spec.source to load it, its spec.epoch to roll it back, or load under another name"
    )]
    Owned {
        /// The table.
        table: String,
        /// Name of its OpaqueTable.
        owner: String,
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

impl CoordinationError {
    /// Whether the state was merely out of reach, so that the same may work a moment later. A change
    /// that failed so may have been written all the same.
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
