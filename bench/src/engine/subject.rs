//! A random matrix with all the data that a cluster derives from it.

use std::sync::atomic::{AtomicU64, Ordering};

use opaque_client::lookup::index_keys::IndexKeys;
use opaque_pir::{
    geometry::Geometry,
    hint::HintBuilder,
    inline::{Chain, PlaneTables, PublicElements, table_bytes},
    params::{PARTITION_BUCKETS, RING_DEGREE},
    probe::Probe,
    scan::Partition,
    seed::{IndexSeed, Salt},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rayon::prelude::*;

use super::{OnProgress, Progress};
use crate::error::BenchError;

/// Position of the searched column.
const COLUMN: u32 = 0;
/// The table's epoch.
pub(super) const EPOCH: u64 = 1;

/// The data that lookups run on: a matrix of random bytes, which any table's matrix resembles after
/// whitening, and the tables of its hint.
pub(crate) struct Subject {
    pub(crate) geometry: Geometry,
    pub(crate) seed: IndexSeed,
    /// The whole matrix, in order.
    pub(crate) partitions: Vec<Partition>,
    pub(crate) probe: Probe,
    /// The keys that encrypt lookups and decrypt answers.
    pub(crate) keys: IndexKeys,
    /// Tables of every plane, in order.
    pub(crate) planes: Vec<PlaneTables>,
}

impl Subject {
    /// Draws the matrix from `rng` and computes the rest, on all threads of the machine.
    ///
    /// # Errors
    /// The system refuses to allocate memory.
    pub(crate) fn build(
        geometry: Geometry,
        rng: &mut StdRng,
        on_progress: OnProgress<'_>,
    ) -> Result<Self, BenchError> {
        let mut salt = Salt([0; 32]);
        rng.fill_bytes(&mut salt.0);
        let seed = IndexSeed::new(&salt, "bench", EPOCH, COLUMN, &geometry);
        let partitions = fill(&geometry, rng, on_progress)?;
        let (part, total) = (geometry.partition_bytes() as u64, geometry.matrix_bytes());
        let mut builder = HintBuilder::new(seed, &geometry);
        let mut bytes = 0;
        for (number, partition) in (0..).zip(&partitions) {
            on_progress(Progress::Hint { bytes, total });
            builder.add(number, partition.bytes())?;
            bytes += part;
        }
        let chain = Chain::new(&PublicElements::new(&seed));
        let (mut planes, total) = (Vec::new(), geometry.planes() as u64);
        for (plane, number) in builder.finish()?.into_planes().into_iter().zip(0..) {
            on_progress(Progress::Tables { planes: number, total });
            planes.push(chain.tables(&plane)?);
        }
        let public_parts = planes.iter().map(|plane| plane.public().clone()).collect();
        let (probe, keys) = (Probe::new(&seed, []), IndexKeys::inline(&seed, public_parts));
        Ok(Self { geometry, seed, partitions, probe, keys, planes })
    }

    /// The stored bytes of a bucket.
    pub(crate) fn bucket(&self, bucket: u32) -> impl Iterator<Item = u8> {
        let partition = self.partitions.get(Geometry::partition_of(bucket) as usize);
        let bytes = partition.map(Partition::bytes).unwrap_or_default();
        bytes.iter().skip(bucket as usize % PARTITION_BUCKETS).step_by(PARTITION_BUCKETS).copied()
    }

    /// All bytes of the matrix.
    pub(crate) fn matrix(&self) -> Vec<&[u8]> {
        self.partitions.iter().map(Partition::bytes).collect()
    }

    /// All bytes of the hint's tables.
    pub(crate) fn tables(&self) -> Vec<&[u8]> {
        self.planes.iter().flat_map(PlaneTables::as_bytes).collect()
    }

    /// Whether all of it is in 2 MiB pages, according to the system.
    pub(crate) fn large_pages(&self) -> bool {
        self.partitions.iter().all(Partition::large_pages)
            && self.planes.iter().all(PlaneTables::large_pages)
    }
}

/// Draws random partitions, each from a separate seed, so that all threads can work.
fn fill(
    geometry: &Geometry,
    rng: &mut StdRng,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Partition>, BenchError> {
    let seeds: Vec<u64> = (0..geometry.partitions()).map(|_| rng.next_u64()).collect();
    let (part, total) = (geometry.partition_bytes(), geometry.matrix_bytes());
    let filled = AtomicU64::new(0);
    let partition = |seed| {
        let mut bytes = vec![0; part];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        let before = filled.fetch_add(part as u64, Ordering::Relaxed);
        on_progress(Progress::Filling { bytes: before, total });
        Ok(Partition::try_from((bytes.as_slice(), geometry))?)
    };
    seeds.into_par_iter().map(partition).collect()
}

/// Memory for a subject and for lookups with batch size `batch`: the matrix; two and a half words
/// per matrix word while the hint is computed; tables; scratch; queries in four forms.
pub(crate) fn bytes_needed(geometry: &Geometry, batch: usize) -> u64 {
    let hint = geometry.bucket_bytes() * RING_DEGREE * size_of::<u32>();
    let tables: usize = (0..geometry.planes()).map(|i| table_bytes(geometry.plane_rows(i))).sum();
    let queries = batch * geometry.buckets() as usize * size_of::<u32>();
    geometry.matrix_bytes() + (hint * 3 + tables + (256 << 20) + queries * 4) as u64
}
