//! Why a benchmark failed.

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

/// Why a benchmark failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// A plan without any size, batch, number of shards or round.
    #[error("nothing to measure: sizes, batches, shards and rounds must be one or more")]
    Nothing,
    /// The matrix has more buckets than a lookup may have.
    #[error(
        "a matrix of {size} bytes in buckets of {bucket_bytes} has more than {MAX_BUCKETS} buckets"
    )]
    Buckets {
        /// Bytes of the matrix.
        size: u64,
        /// Bytes of a bucket.
        bucket_bytes: u32,
    },
    /// The geometry is invalid.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// There are more shards than partitions.
    #[error("{shards} shards cannot share a matrix of {partitions} partitions")]
    Shards {
        /// The requested number of shards.
        shards: u32,
        /// Number of partitions of the smallest matrix.
        partitions: u32,
    },
    /// The machine has too little memory for the run.
    #[error("{} MiB of memory are needed and {} MiB are free", needed >> 20, available >> 20)]
    Memory {
        /// Bytes that the run needs.
        needed: u64,
        /// Bytes that are available.
        available: u64,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] ThreadPoolBuildError),
    /// The scan failed.
    #[error("scan: {0}")]
    Scan(#[from] ScanError),
    /// The hint could not be computed.
    #[error("hint: {0}")]
    Hint(#[from] HintError),
    /// The hint's tables could not be built.
    #[error("hint product: {0}")]
    Inline(#[from] InlineError),
    /// A message of the lookup is invalid.
    #[error("query or answer: {0}")]
    Codec(#[from] CodecError),
    /// The shards' results are inconsistent.
    #[error("results of shards: {0}")]
    Combine(#[from] CombineError),
    /// The client could not encrypt or decrypt.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A node's pass failed.
    #[error("a shard: {0}")]
    Node(#[from] NodeError),
    /// A lookup returned a byte that differs from the matrix.
    #[error(
        "wrong answer: byte {row} of bucket {bucket} opened to {found}, the matrix holds {expected}"
    )]
    Wrong {
        /// The bucket looked up.
        bucket: u32,
        /// The byte's position in the bucket.
        row: usize,
        /// The byte in the matrix.
        expected: u8,
        /// The byte that the lookup returned.
        found: u8,
    },
    /// The table is too large for a cluster on one machine.
    #[error("a cluster is measured with tables of up to {most}, not {size}")]
    Table {
        /// The requested size.
        size: Size,
        /// The largest size.
        most: Size,
    },
    /// A row of the loaded table differs or is missing in an answer.
    #[error("wrong answer: row {id} is not the one that was loaded")]
    WrongRow {
        /// Its key.
        id: i64,
    },
    /// A row of the table could not be encoded.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The table's schema is invalid.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A cluster could not be started, or stopped.
    #[error(transparent)]
    Dev(#[from] opaque_cli::dev::DevError),
    /// A cluster could not be loaded or queried.
    #[error(transparent)]
    Client(#[from] opaque_client::Error),
    /// An error of standard output, or of a cluster's directory.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The chart could not be drawn.
    #[error("cannot draw the chart: {0}")]
    Plot(String),
    /// The chart could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

impl BenchError {
    /// What to do about the error, if anything can be done.
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
