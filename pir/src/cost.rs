//! The costs of a geometry: memory, bytes to transfer, and time.
//!
//! The costs are for inline keys, the default (decision 010).

mod explain;
mod link;
#[cfg(test)]
mod tests;

use std::fmt;

pub use explain::Explanation;
pub use link::{Link, LinkError};

use crate::geometry::{BUCKET_SIZES, BUCKETS_PER_PARTITION, Geometry};
use crate::inline::{self, QUERY_BYTES};
use crate::params::PARTITION_BUCKETS;

/// Bytes of the matrix that one core scans per second (AVX-512 on memory that reads at 17.2 GB/s;
/// docs/performance.md has the ratio on other machines).
pub const SCAN_BYTES_PER_SECOND: u64 = 15_000_000_000;
/// Bytes of the hint's tables that one core multiplies per second: 1.15 times the time of reading
/// them.
pub const TABLE_BYTES_PER_SECOND: u64 = 13_000_000_000;

/// Costs of an index for the cluster, and of one lookup of one page.
///
/// Times are estimates for one core of the servers, from the constants of this module. A cluster
/// divides them over its cores and shards. Bytes are exact, except for message headers of less than
/// 100 bytes and for the public parts ([`Geometry::public_bytes`]), which a client downloads once
/// per epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of the matrix, which every lookup reads, summed over all shards.
    pub matrix_bytes: u64,
    /// Memory of one replica of the whole index: the matrix and the hint's tables.
    pub server_ram_bytes: u64,
    /// Time of the scan.
    pub scan_micros: u64,
    /// Time of the hint product.
    pub hint_micros: u64,
    /// Bytes that one lookup sends.
    pub upload_bytes: u64,
    /// Bytes that one lookup receives.
    pub download_bytes: u64,
    /// The link for the transfers.
    pub link: Link,
}

impl Cost {
    /// Time of both transfers on the link.
    pub fn transfer_micros(&self) -> u64 {
        (self.upload_bytes + self.download_bytes) * 8 / u64::from(self.link.mbits())
    }

    /// Estimated time of one lookup of one page.
    pub fn lookup_micros(&self) -> u64 {
        self.scan_micros + self.hint_micros + self.transfer_micros()
    }
}

impl Geometry {
    /// Memory of the tables for the hint products of all planes.
    pub fn table_bytes(&self) -> u64 {
        self.planes_sum(inline::table_bytes)
    }

    /// Bytes of the public parts of all planes.
    pub fn public_bytes(&self) -> u64 {
        self.planes_sum(inline::public_bytes)
    }

    /// The sum over all planes of `bytes`, a function of the number of rows.
    fn planes_sum(&self, bytes: impl Fn(usize) -> usize) -> u64 {
        (0..self.planes()).map(|plane| bytes(self.plane_rows(plane)) as u64).sum()
    }

    /// The geometry with the shortest estimated lookup over `link`, among those with at least this
    /// many bytes and partitions. Its pages have one row, because it describes bytes and not a
    /// table.
    pub fn fastest(bytes: u64, partitions: u32, link: Link) -> Option<Self> {
        let shape = |bucket_bytes: u32| {
            let partition = u64::from(bucket_bytes) * PARTITION_BUCKETS as u64;
            let count = u32::try_from(bytes.div_ceil(partition)).ok()?.max(partitions);
            Self::new(bucket_bytes, count.checked_mul(BUCKETS_PER_PARTITION)?, 1).ok()
        };
        let shapes = BUCKET_SIZES.into_iter().filter_map(shape);
        shapes.min_by_key(|shape| shape.cost(link).lookup_micros())
    }

    /// Costs of an index with this geometry, and of a lookup over `link`.
    pub fn cost(&self, link: Link) -> Cost {
        let (matrix_bytes, table_bytes) = (self.matrix_bytes(), self.table_bytes());
        let rounding = self.rounding();
        let bucket_bits = u64::from(self.buckets()) * u64::from(rounding.bucket_bits);
        let row_bits = self.bucket_bytes() as u64 * u64::from(rounding.row_bits);
        Cost {
            matrix_bytes,
            server_ram_bytes: matrix_bytes + table_bytes,
            scan_micros: matrix_bytes / (SCAN_BYTES_PER_SECOND / 1_000_000),
            hint_micros: table_bytes / (TABLE_BYTES_PER_SECOND / 1_000_000),
            upload_bytes: bucket_bits / 8 + QUERY_BYTES as u64,
            download_bytes: row_bits / 8,
            link,
        }
    }
}

impl fmt::Display for Cost {
    /// Three lines: memory, traffic, time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "memory  {} matrix, {} with the hint's tables (one replica of every shard)",
            Bytes(self.matrix_bytes),
            Bytes(self.server_ram_bytes)
        )?;
        writeln!(
            f,
            "lookup  {} up, {} down",
            Bytes(self.upload_bytes),
            Bytes(self.download_bytes)
        )?;
        write!(
            f,
            "time    {:.1} ms scan + {:.1} ms hint on one core, {:.0} ms transfer at {} (estimated)",
            millis(self.scan_micros),
            millis(self.hint_micros),
            millis(self.transfer_micros()),
            self.link,
        )
    }
}

pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// A size for people, in binary units with three digits.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 10 => write!(f, "{bytes} B"),
            bytes if bytes < 1 << 20 => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            bytes if bytes < 1 << 30 => {
                write!(f, "{:.1} MiB", bytes as f64 / f64::from(1u32 << 20))
            }
            bytes => write!(f, "{:.2} GiB", bytes as f64 / f64::from(1u32 << 30)),
        }
    }
}
