//! Errors of a node, and their conversion to a gRPC status, which happens only here.
//!
//! The set of codes is closed. Texts name tables, shards and sizes but never query bytes. Details
//! go to the log. Clients branch on the [`REASON`] metadata, never on text.

use std::fmt;
use thiserror::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key for a stable reason on which clients branch.
pub const REASON: &str = "opaque-reason";

/// A request that a node could not answer.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The active generation has no such table.
    #[error("no table {0:?} in this cluster: `opaque tables` lists them")]
    UnknownTable(String),
    /// The table is in the active generation, but this node could not load it.
    #[error("table {table:?} cannot be loaded: {reason}")]
    TableMissing {
        /// The table's name.
        table: String,
        /// Why it could not be loaded.
        reason: String,
    },
    /// The column has no matrix.
    #[error("column {column} of table {table:?} is not searchable")]
    UnknownColumn {
        /// The table's name.
        table: String,
        /// Position in the schema.
        column: u32,
    },
    /// The request is malformed in a way that reveals nothing new to its sender.
    #[error("{0}")]
    Malformed(String),
    /// The request was made for a parameter set or geometry that this table does not have.
    #[error("the request does not match the parameters of this table: fetch its description again")]
    Params,
    /// The request was made for an epoch that is no longer served.
    #[error("table {table:?} is not served at epoch {epoch} any more")]
    StaleEpoch {
        /// The table's name.
        table: String,
        /// The requested epoch.
        epoch: u64,
    },
    /// A peer requested a generation that this node does not hold.
    #[error("generation {0} is not loaded here")]
    UnknownGeneration(u64),
    /// A peer's slice names other partitions than this shard serves.
    #[error("the slice names other partitions than this shard serves in generation {0}")]
    WrongPartitions(u64),
    /// The evaluation keys that the query names are not stored.
    #[error("the evaluation keys named by the query are not registered")]
    UnknownKeys,
    /// The caller is not authenticated.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is authenticated but lacks the permission.
    #[error("{0}")]
    Forbidden(String),
    /// The call does not exist, or this version assigns no permission to it.
    #[error("this node does not know this call: use an `opaque` of the cluster's version")]
    UnknownCall,
    /// The caller has too many requests in progress, or sends them too fast.
    #[error("too many requests of {0}: send fewer concurrently")]
    TooMany(String),
    /// Memory or CPU permits are used up.
    #[error("the node is busy: try again")]
    Busy,
    /// The request needs more memory than this node grants to any single one.
    #[error("{0}")]
    TooLarge(String),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
    /// The node has no active generation yet.
    #[error("the cluster is not serving yet: {0}")]
    NotReady(String),
    /// A shard could not contribute. The whole query fails, and the error names the shard.
    #[error("shard {shard} did not answer: {reason}")]
    ShardUnavailable {
        /// The shard.
        shard: u32,
        /// The replicas that were tried with their errors, without request bytes.
        reason: String,
    },
    /// The deadline of the request passed.
    #[error("the deadline passed while {0}")]
    Deadline(&'static str),
    /// A load or rollback was refused. The old epoch is still served.
    #[error("{0}")]
    Refused(String),
    /// The object store failed.
    #[error("object store: {0}")]
    Store(String),
    /// The object store was unreachable or failed. The same request may succeed later.
    #[error("object store: {0}")]
    StoreAway(String),
    /// The node's memory does not suffice. Waiting does not help.
    #[error("{0}")]
    Memory(String),
    /// An error that should not happen. The text goes only to the log.
    #[error("internal error")]
    Internal(String),
}

impl NodeError {
    /// A bug or a broken invariant. `detail` goes only to the log.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        Self::Internal(detail.to_string())
    }

    /// Tables do not fit into memory.
    pub fn memory(shortage: impl fmt::Display) -> Self {
        Self::Memory(shortage.to_string())
    }

    /// Rows of a load do not fit into memory.
    pub fn rows_memory(shortage: impl fmt::Display) -> Self {
        Self::Refused(format!(
            "the rows do not fit into memory in addition to the tables that this node serves: {shortage}; or load the table as an OpaqueTable, whose Job has separate memory"
        ))
    }

    /// Tables for registered keys do not fit into memory. Queries with inline keys do not need
    /// them.
    pub fn registered_memory(shortage: impl fmt::Display) -> Self {
        Self::Memory(format!("registered keys: {shortage}; or query with --keys inline"))
    }

    /// The gRPC code and the stable reason of this error. Clients retry `Unavailable` and
    /// `ResourceExhausted`, except with reason `too-large`: a final refusal needs another code.
    pub fn class(&self) -> (Code, &'static str) {
        match self {
            Self::UnknownTable(_) => (Code::NotFound, "unknown-table"),
            Self::TableMissing { .. } => (Code::Unavailable, "table-missing"),
            Self::UnknownColumn { .. } => (Code::InvalidArgument, "unknown-column"),
            Self::Malformed(_) => (Code::InvalidArgument, "malformed"),
            Self::Params => (Code::FailedPrecondition, "params"),
            Self::StaleEpoch { .. } => (Code::FailedPrecondition, "stale-epoch"),
            Self::UnknownGeneration(_) => (Code::FailedPrecondition, "unknown-generation"),
            Self::WrongPartitions(_) => (Code::FailedPrecondition, "wrong-partitions"),
            Self::UnknownKeys => (Code::FailedPrecondition, "unknown-keys"),
            Self::Unauthenticated(_) => (Code::Unauthenticated, "unauthenticated"),
            Self::Forbidden(_) => (Code::PermissionDenied, "forbidden"),
            Self::UnknownCall => (Code::Unimplemented, "unknown-call"),
            Self::TooMany(_) => (Code::ResourceExhausted, "limit"),
            Self::Busy => (Code::ResourceExhausted, "busy"),
            Self::TooLarge(_) => (Code::ResourceExhausted, "too-large"),
            Self::Draining => (Code::Unavailable, "draining"),
            Self::NotReady(_) => (Code::Unavailable, "not-ready"),
            Self::ShardUnavailable { .. } => (Code::Unavailable, "shard-unavailable"),
            Self::Deadline(_) => (Code::DeadlineExceeded, "deadline"),
            Self::Refused(_) => (Code::Aborted, "refused"),
            Self::Store(_) | Self::StoreAway(_) => (Code::Unavailable, "store"),
            Self::Memory(_) => (Code::ResourceExhausted, "memory"),
            Self::Internal(_) => (Code::Internal, "internal"),
        }
    }
}

impl From<NodeError> for Status {
    fn from(error: NodeError) -> Self {
        let (code, reason) = error.class();
        if let NodeError::Internal(detail) = &error {
            tracing::error!(%detail, "internal error");
        } else {
            tracing::debug!(reason, "request refused");
        }
        let mut status = Self::new(code, error.to_string());
        status.metadata_mut().insert(REASON, MetadataValue::from_static(reason));
        status
    }
}

/// The stable reason of a status, if a node set one.
pub fn reason(status: &Status) -> Option<&str> {
    status.metadata().get(REASON).and_then(|value| value.to_str().ok())
}
