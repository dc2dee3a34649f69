//! What a coordinator asks of a shard, independent of how the question travels.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::store::Manifest;

/// A node as one replica of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The node's unique name.
    pub node: String,
    /// The shard that it serves.
    pub shard: u32,
    /// Where peers reach it.
    pub address: String,
}

/// One slice of a query for one shard.
#[derive(Debug, Clone)]
pub struct EvaluateCall {
    /// Shard-map version that the slice was cut by.
    pub generation: u64,
    /// The table's name.
    pub table: Arc<str>,
    /// Position of the searched column.
    pub column: u32,
    /// The table's epoch.
    pub epoch: u64,
    /// Lookups in the slice.
    pub lookups: u16,
    /// Partitions that are asked for; a certificate must cover them.
    pub partitions: Arc<[u32]>,
    /// Planes that are asked for; likewise.
    pub planes: Arc<[u16]>,
    /// The encoded slice.
    pub body: Bytes,
}

/// One shard's encoded partial and what it cost.
#[derive(Debug, Clone)]
pub struct EvaluateReply {
    /// The encoded partial.
    pub body: Bytes,
    /// Time of the scan.
    pub scan: Duration,
    /// Time of the hint products.
    pub hint: Duration,
}

/// Buckets of one partition to read in the clear.
#[derive(Debug, Clone)]
pub struct RowsCall {
    /// Shard-map version that the owner was found by.
    pub generation: u64,
    /// The table's name.
    pub table: Arc<str>,
    /// Position of the column whose index is read.
    pub column: u32,
    /// The table's epoch.
    pub epoch: u64,
    /// First bucket.
    pub first: u32,
    /// End of the buckets, exclusive.
    pub end: u32,
    /// Rows with this number or a higher one are not wanted.
    pub below: Option<u64>,
}

/// A row's number in its load, and its encoding.
pub type NumberedRow = (u64, Vec<u8>);

/// What a node needs of a table that it cannot load to coordinate its queries.
#[derive(Debug, Clone)]
pub struct Description {
    /// Everything public about the epoch.
    pub manifest: Manifest,
    /// The public part of each plane of each index, in the manifest's order.
    pub public_parts: Vec<Vec<Bytes>>,
}

/// Why one replica did not contribute.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Another replica may do better: unreachable, busy, draining, or at another generation.
    #[error("{0}")]
    TryAnother(String),
    /// Evaluation keys are stored nowhere; every replica would say the same.
    #[error("the evaluation keys named by the query are not registered")]
    UnknownKeys,
    /// The request itself is wrong; every replica would say the same.
    #[error("malformed request")]
    Malformed,
}

/// Reaches replicas: over mutual TLS, or in this very process.
#[async_trait]
pub trait ShardCaller: Send + Sync {
    /// Has `replica` evaluate a slice.
    async fn evaluate(
        &self,
        replica: &Replica,
        call: &EvaluateCall,
    ) -> Result<EvaluateReply, CallError>;

    /// Reads rows of one partition from `replica`.
    async fn read_rows(
        &self,
        replica: &Replica,
        call: &RowsCall,
    ) -> Result<Vec<NumberedRow>, CallError>;

    /// Asks `replica` for the description of an epoch of a table.
    async fn describe(
        &self,
        replica: &Replica,
        table: &str,
        epoch: u64,
    ) -> Result<Description, CallError>;
}
