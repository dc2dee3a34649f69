//! Calls of a coordinator to a shard, independent of the transport.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opaque_pir::geometry::Geometry;
use opaque_store::Manifest;
use thiserror::Error;

/// The replicas of each shard, in the order in which to call them.
pub type Replicas = BTreeMap<u32, Vec<Replica>>;

/// A node as one replica of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The node's unique name.
    pub node: String,
    /// The shard that it serves.
    pub shard: u32,
    /// Address for peers.
    pub address: String,
}

/// One slice of a query for one shard.
#[derive(Debug, Clone)]
pub struct EvaluateCall {
    /// Shard-map version by which the slice was cut.
    pub generation: u64,
    /// The table's name.
    pub table: Arc<str>,
    /// Position of the searched column.
    pub column: u32,
    /// The table's epoch.
    pub epoch: u64,
    /// Lookups in the slice.
    pub lookups: u16,
    /// Partitions of the slice. The replica's certificate must cover them.
    pub partitions: Arc<[u32]>,
    /// Planes of the slice. The replica's certificate must cover them.
    pub planes: Arc<[u16]>,
    /// The encoded slice.
    pub body: Bytes,
    /// Largest size of the partial result.
    pub reply_bytes: usize,
}

/// One shard's encoded partial result and its costs.
#[derive(Debug, Clone)]
pub struct EvaluateReply {
    /// The encoded partial result.
    pub body: Bytes,
    /// Time of the scan.
    pub scan: Duration,
    /// Time of the hint products.
    pub hint: Duration,
}

/// Buckets of one partition to read in the clear.
#[derive(Debug, Clone)]
pub struct RowsCall {
    /// Shard-map version by which the owner was found.
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
    /// Rows with this number or a higher one are omitted.
    pub below: Option<u64>,
    /// The most that a valid reply contains.
    pub most: RowsLimit,
}

/// Limits on the rows of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowsLimit {
    /// Number of rows that may still arrive.
    pub rows: u64,
    /// Number of bytes that may still arrive.
    pub bytes: usize,
}

impl RowsLimit {
    /// The limits for a partition of a table with `table_rows` rows. A row takes at least two bytes
    /// of a bucket.
    pub fn of(geometry: &Geometry, table_rows: u64) -> Self {
        let bytes = geometry.partition_bytes();
        Self { rows: table_rows.min(bytes as u64 / 2), bytes }
    }

    /// Counts a row. Returns `false` if it exceeds the limits.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = (self.rows.checked_sub(1), self.bytes.checked_sub(bytes));
        let (Some(rows), Some(bytes)) = left else { return false };
        *self = Self { rows, bytes };
        true
    }
}

/// A row's number in its load, and its encoding.
pub type NumberedRow = (u64, Vec<u8>);

/// The data that a node needs to coordinate queries of a table that it cannot load.
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
    /// Another replica may succeed: this one is unreachable, busy, draining, or at another
    /// generation.
    #[error("{0}")]
    TryAnother(String),
    /// The evaluation keys are not stored. Every replica would report the same.
    #[error("the evaluation keys named by the query are not registered")]
    UnknownKeys,
    /// The request itself is wrong. Every replica would report the same.
    #[error("malformed request")]
    Malformed,
}

/// Calls replicas, over mutual TLS or within this process.
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

    /// Requests the description of a table's epoch from `replica`.
    async fn describe(
        &self,
        replica: &Replica,
        table: &str,
        epoch: u64,
    ) -> Result<Description, CallError>;
}

/// A replica's answer to a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The generation from which the replica answers clients; 0 before the first.
    pub active_generation: u64,
    /// Whether the replica holds the generation that the caller named.
    pub holds: bool,
}

/// Checks whether a replica answers, on the path that queries take.
#[async_trait]
pub trait Greeter: Send + Sync {
    /// Sends the `generation` from which this node answers clients, and returns the replica's
    /// answer.
    async fn hello(&self, replica: &Replica, generation: u64) -> Result<Hello, CallError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_with_those_of_the_partition() {
        let geometry = Geometry::new(512, 2 << 10, 1).unwrap();
        assert_eq!(RowsLimit::of(&geometry, 9), RowsLimit { rows: 9, bytes: 512 << 10 });
        assert_eq!(RowsLimit::of(&geometry, u64::MAX).rows, 256 << 10);
        let mut most = RowsLimit { rows: 2, bytes: 10 };
        assert!(most.take(4) && !most.take(7) && most.take(6));
        assert!(!most.take(0), "a third row");
    }
}
