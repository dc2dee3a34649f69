//! Why nothing was measured.

use std::{io, path::PathBuf};

use opaque_client::lookup::LookupError;
use opaque_node::error::NodeError;
use opaque_pir::{
    codec::{CodecError, CombineError},
    geometry::GeometryError,
    hint::HintError,
    inline::InlineError,
    params::MAX_BUCKETS,
    scan::ScanError,
    table::{RowError, SchemaError},
};
use rayon::ThreadPoolBuildError;
use thiserror::Error;

use crate::size::Size;

/// Why a benchmark stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// A plan without a size, batch, number of shards or round.
    #[error("nothing to measure: sizes, batches, shards and rounds must be one or more")]
    Nothing,
    /// A matrix with more buckets than a lookup may have.
    #[error(
        "a matrix of {size} bytes in buckets of {bucket_bytes} has more than {MAX_BUCKETS} buckets"
    )]
    Buckets {
        /// Bytes of the matrix.
        size: u64,
        /// Bytes of a bucket.
        bucket_bytes: u32,
    },
    /// No such matrix.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// More shards than there are partitions to spread.
    #[error("{shards} shards cannot share a matrix of {partitions} partitions")]
    Shards {
        /// As asked.
        shards: u32,
        /// Partitions of the smallest matrix.
        partitions: u32,
    },
    /// The machine has too little memory.
    #[error("{} MiB of memory are needed and {} MiB are free", needed >> 20, available >> 20)]
    Memory {
        /// Bytes that the run takes.
        needed: u64,
        /// Bytes that the system gives.
        available: u64,
    },
    /// No threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] ThreadPoolBuildError),
    /// The scan was refused.
    #[error("scan: {0}")]
    Scan(#[from] ScanError),
    /// The hint was refused.
    #[error("hint: {0}")]
    Hint(#[from] HintError),
    /// The hint's tables were refused.
    #[error("hint product: {0}")]
    Inline(#[from] InlineError),
    /// A message of the lookup was refused.
    #[error("query or answer: {0}")]
    Codec(#[from] CodecError),
    /// The shards' results do not fit together.
    #[error("results of shards: {0}")]
    Combine(#[from] CombineError),
    /// The client refused to encrypt or to open.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A node's pass failed.
    #[error("a shard: {0}")]
    Node(#[from] NodeError),
    /// A lookup gave something else than what the matrix holds.
    #[error(
        "wrong answer: byte {row} of bucket {bucket} opened to {found}, the matrix holds {expected}"
    )]
    Wrong {
        /// The bucket looked up.
        bucket: u32,
        /// The byte's place in it.
        row: usize,
        /// The matrix's byte.
        expected: u8,
        /// The lookup's.
        found: u8,
    },
    /// A table that is too large for a cluster on one machine.
    #[error("a cluster is measured with tables of up to {most}, not {size}")]
    Table {
        /// As asked.
        size: Size,
        /// The largest.
        most: Size,
    },
    /// A row of the loaded table came back different, or not at all.
    #[error("wrong answer: row {id} is not the one that was loaded")]
    WrongRow {
        /// Its key.
        id: i64,
    },
    /// A row of the table could not be made.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The table could not be made.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A cluster did not start, or stopped.
    #[error(transparent)]
    Dev(#[from] opaque_cli::dev::DevError),
    /// A cluster was not loaded or did not answer.
    #[error(transparent)]
    Client(#[from] opaque_client::Error),
    /// Standard output, or a directory for a cluster.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The chart could not be drawn.
    #[error("cannot draw the chart: {0}")]
    Plot(String),
    /// The chart could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BenchError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Client(error) => return error.hint(),
            Self::Dev(error) => return error.hint(),
            Self::Buckets { .. } => "use a larger --bucket-bytes or none, or a smaller --size",
            Self::Shards { .. } => "use fewer --shards, or a larger --size",
            Self::Memory { .. } | Self::Table { .. } => "use a smaller --size",
            Self::Wrong { .. } | Self::WrongRow { .. } => {
                "nothing was measured: either this machine's memory is faulty or this is a bug; try \
                 --kernel scalar and report what differs"
            }
            Self::Nothing
            | Self::Geometry(_)
            | Self::Threads(_)
            | Self::Scan(_)
            | Self::Hint(_)
            | Self::Inline(_)
            | Self::Codec(_)
            | Self::Combine(_)
            | Self::Lookup(_)
            | Self::Node(_)
            | Self::Row(_)
            | Self::Schema(_)
            | Self::Io(_)
            | Self::Plot(_)
            | Self::Write { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
