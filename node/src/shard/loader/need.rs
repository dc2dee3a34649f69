//! Memory that a load needs, computed only from manifests.

use opaque_pir::inline;
use opaque_pir::params::RING_DEGREE;
use opaque_pir::probe::SECRETS;
use opaque_store::{IndexManifest, Manifest};

use super::assign;
use crate::map::placement::Shards;
use crate::shard::memory::Need;

/// Factors of an index's public elements, for the tables of its planes.
const CHAIN: u64 = 192 << 10;
/// Memory for building the tables of a ring, in addition to the tables: the sums from which its
/// diagonals are read, 16 MiB however few rows it has, and the steps in progress.
const RING: u64 = 18 << 20;

/// Adds up the memory of a load: all tables, segments of all of them in progress, and one plane at
/// a time being built.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    resident: u64,
    /// Number of segments to fetch, and the size of the largest.
    segments: u64,
    largest: u64,
    /// Number of indexes whose planes are built.
    chains: u64,
    /// Memory for building the largest of these planes.
    plane: u64,
}

impl Sum {
    /// Adds one shard's part of a table.
    pub(super) fn with(mut self, shards: &Shards, shard: u32, manifest: &Manifest) -> Self {
        for index in &manifest.indexes {
            self.add(shards, shard, manifest.schema.table(), index);
        }
        self
    }

    fn add(&mut self, shards: &Shards, shard: u32, table: &str, index: &IndexManifest) {
        let geometry = &index.geometry;
        let assignment = assign(shards, table, index);
        let count = |length: usize| length as u64;
        let partitions = count(assignment.partitions(shard).len());
        let planes = assignment.planes(shard);
        let rows: Vec<usize> =
            planes.iter().map(|plane| geometry.plane_rows((*plane).into())).collect();
        let partition = count(geometry.partition_bytes());
        let hint_of = |rows: usize| count(rows * RING_DEGREE * size_of::<u32>());
        let probed = |rows: usize| count(rows * SECRETS * size_of::<u32>());
        let of_planes: u64 =
            rows.iter().map(|rows| probed(*rows) + count(inline::table_bytes(*rows))).sum();
        // Every shard keeps the public parts of all planes, for clients.
        self.resident += partitions * partition + of_planes + geometry.public_bytes();
        let (planes, hint) =
            (count(rows.len()), rows.iter().max().map_or(0, |rows| hint_of(*rows)));
        self.segments += partitions + planes;
        for (there, bytes) in [(partitions, partition), (planes, hint)] {
            self.largest = self.largest.max(if there > 0 { bytes } else { 0 });
        }
        self.chains += u64::from(planes > 0);
        // One plane of the hint is being built while the next is already in memory.
        let build = |rows: &usize| {
            inline::rings_of(*rows).map_or(0, |(rings, _)| rings as u64 * RING + 2 * hint_of(*rows))
        };
        self.plane = self.plane.max(rows.iter().map(build).max().unwrap_or_default());
    }

    /// The total if `side_by_side` segments are in progress at a time.
    pub(super) fn need(self, side_by_side: usize) -> Need {
        let Self { resident, segments, largest, chains, plane } = self;
        let fetched = segments.min(side_by_side as u64) * largest;
        let planes = chains * CHAIN + plane;
        Need { resident, building: fetched + planes }
    }
}
