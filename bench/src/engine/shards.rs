//! The server's half of a batch of lookups: shards one after another, then their coordinator.

use std::time::{Duration, Instant};

use opaque_pir::{
    inline::{self, InlineQuery, PlaneTables},
    kernels::Kernels,
    params::{PARTITION_BUCKETS, PLANE_ROWS},
    scan::{Partition, scan},
};
use rayon::{ThreadPool, prelude::*};

use super::Subject;
use crate::{
    error::BenchError,
    host::{Scratch, processor_time},
};

/// What one lookup sends.
pub(crate) struct Query {
    /// One number per bucket.
    pub(crate) lwe: Vec<u32>,
    /// Bits of each of those numbers that travel.
    pub(crate) bits: u32,
    /// The scan's secret, encrypted, with the key that rotates it.
    pub(crate) inline: Vec<u8>,
}

impl Query {
    /// Bytes that travel, headers aside.
    pub(crate) fn bytes(&self) -> usize {
        self.lwe.len() * self.bits as usize / 8 + self.inline.len()
    }
}

/// What one lookup gets.
pub(crate) struct Answer {
    pub(crate) planes: Vec<Vec<u8>>,
}

impl Answer {
    /// Bytes that travel, headers aside.
    pub(crate) fn bytes(&self) -> usize {
        self.planes.iter().map(Vec::len).sum()
    }
}

/// Time by the clock, and time of processors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lap {
    pub(crate) clock: Duration,
    pub(crate) processor: Duration,
}

impl Lap {
    /// Runs `work` on the pool.
    pub(crate) fn of<T: Send>(pool: &ThreadPool, work: impl FnOnce() -> T + Send) -> (T, Self) {
        let (clock, processor) = (Instant::now(), processor_time());
        let done = pool.install(work);
        let clock = clock.elapsed();
        (done, Self { clock, processor: processor_time().saturating_sub(processor) })
    }
}

/// What one shard's share of a batch took.
#[derive(Debug, Clone, Copy, Default)]
struct ShardLaps {
    scan: Lap,
    /// Reading the queries' keys.
    read: Lap,
    hint: Lap,
}

impl ShardLaps {
    fn laps(&self) -> [Lap; 3] {
        let Self { scan, read, hint } = *self;
        [scan, read, hint]
    }
}

/// What the servers' work on a batch took.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLaps {
    shards: Vec<ShardLaps>,
    coordinator: Vec<Lap>,
}

/// Which of a lap's times is meant.
pub(crate) type Clock = fn(&Lap) -> Duration;

impl ServerLaps {
    /// The slowest shard's scan.
    pub(crate) fn scan(&self, clock: Clock) -> Duration {
        self.shards.iter().map(|shard| clock(&shard.scan)).max().unwrap_or_default()
    }

    /// All shards' scans: the whole matrix.
    pub(crate) fn all_scans(&self, clock: Clock) -> Duration {
        self.shards.iter().map(|shard| clock(&shard.scan)).sum()
    }

    /// The slowest shard's hint product.
    pub(crate) fn hint(&self, clock: Clock) -> Duration {
        self.shards.iter().map(|shard| clock(&shard.hint)).max().unwrap_or_default()
    }

    /// All shards' hint products: every plane.
    pub(crate) fn all_hints(&self, clock: Clock) -> Duration {
        self.shards.iter().map(|shard| clock(&shard.hint)).sum()
    }

    /// The slowest shard and the coordinator: what a batch waits for where shards run side by side.
    pub(crate) fn server(&self, clock: Clock) -> Duration {
        let shard = |shard: &ShardLaps| shard.laps().iter().map(clock).sum::<Duration>();
        let slowest = self.shards.iter().map(shard).max().unwrap_or_default();
        slowest + self.coordinator.iter().map(clock).sum::<Duration>()
    }

    /// Processor time of everyone.
    pub(crate) fn processor(&self) -> Duration {
        let shards = self.shards.iter().flat_map(ShardLaps::laps);
        shards.chain(self.coordinator.iter().copied()).map(|lap| lap.processor).sum()
    }
}

/// Servers of one subject. Partitions and planes go to shards in turn.
pub(crate) struct Shards<'a> {
    rows: usize,
    subject: &'a Subject,
    shards: Vec<Shard<'a>>,
}

#[derive(Default)]
struct Shard<'a> {
    /// With their numbers.
    partitions: Vec<(usize, &'a Partition)>,
    planes: Vec<(usize, &'a PlaneTables)>,
}

/// One shard's results, `[lookup][row]`: sums less the products of its planes.
type Partial = Vec<Vec<u32>>;

impl<'a> Shards<'a> {
    pub(crate) fn new(subject: &'a Subject, count: u32) -> Self {
        let mut shards: Vec<Shard<'_>> = Vec::new();
        shards.resize_with(count as usize, Shard::default);
        let turns = |items: usize| (0..items).map(|item| item % (count as usize).max(1));
        for ((number, partition), shard) in
            subject.partitions.iter().enumerate().zip(turns(subject.partitions.len()))
        {
            if let Some(shard) = shards.get_mut(shard) {
                shard.partitions.push((number, partition));
            }
        }
        for ((number, plane), shard) in
            subject.planes.iter().enumerate().zip(turns(subject.planes.len()))
        {
            if let Some(shard) = shards.get_mut(shard) {
                shard.planes.push((number, plane));
            }
        }
        Self { rows: subject.geometry.bucket_bytes(), subject, shards }
    }

    /// Answers a batch. `scratch` is read before whatever is bound by memory, outside the laps.
    pub(crate) fn answer(
        &self,
        pool: &ThreadPool,
        kernels: Kernels,
        scratch: &Scratch,
        queries: &[Query],
    ) -> Result<(Vec<Answer>, ServerLaps), BenchError> {
        let mut laps = ServerLaps::default();
        let mut partials = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (slices, lap) = Lap::of(pool, || shard.slices(queries));
            laps.coordinator.push(lap);
            let (partial, lap) = self.shard(shard, pool, kernels, scratch, queries, &slices)?;
            laps.shards.push(lap);
            partials.push(partial);
        }
        let (answers, lap) = Lap::of(pool, || self.combine(partials, queries.len()));
        laps.coordinator.push(lap);
        Ok((answers, laps))
    }

    /// One shard's share.
    fn shard(
        &self,
        shard: &Shard<'_>,
        pool: &ThreadPool,
        kernels: Kernels,
        scratch: &Scratch,
        queries: &[Query],
        slices: &[Vec<u32>],
    ) -> Result<(Partial, ShardLaps), BenchError> {
        let partitions: Vec<&Partition> =
            shard.partitions.iter().map(|(_, bytes)| *bytes).collect();
        let slices: Vec<&[u32]> = slices.iter().map(Vec::as_slice).collect();
        pool.install(|| scratch.evict());
        let (sums, scanned) =
            Lap::of(pool, || scan(kernels.scan, &self.subject.geometry, &partitions, &slices));
        let mut laps = ShardLaps { scan: scanned, ..ShardLaps::default() };
        if shard.planes.is_empty() {
            return Ok((sums?, laps));
        }
        let read = |query: &Query| InlineQuery::from_bytes(&query.inline);
        let (keys, read) =
            Lap::of(pool, || queries.par_iter().map(read).collect::<Result<Vec<_>, _>>());
        let keys = keys?;
        let keys: Vec<&InlineQuery> = keys.iter().collect();
        pool.install(|| scratch.evict());
        let multiply = |(number, plane): &(usize, &PlaneTables)| {
            Ok((*number, inline::multiply(kernels.inline, plane, &keys)?))
        };
        let (products, hint) = Lap::of(pool, || {
            shard.planes.iter().map(multiply).collect::<Result<Vec<_>, BenchError>>()
        });
        laps = ShardLaps { read, hint, ..laps };
        let mut sums = sums?;
        for (plane, products) in products? {
            for (sums, product) in sums.iter_mut().zip(products) {
                let rows = sums.iter_mut().skip(plane * PLANE_ROWS);
                rows.zip(product).for_each(|(row, word)| *row = row.wrapping_sub(word));
            }
        }
        Ok((sums, laps))
    }

    /// The coordinator's work: sums of all shards, rounded.
    fn combine(&self, partials: Vec<Partial>, lookups: usize) -> Vec<Answer> {
        let mut sums = vec![vec![0u32; self.rows]; lookups];
        for partial in partials {
            for (sums, partial) in sums.iter_mut().zip(partial) {
                for (sum, c) in sums.iter_mut().zip(partial) {
                    *sum = sum.wrapping_add(c);
                }
            }
        }
        let bits = self.subject.geometry.rounding().row_bits;
        let plane = |sums: &[u32]| inline::answer(sums, bits);
        let answer =
            |sums: &Vec<u32>| Answer { planes: sums.chunks(PLANE_ROWS).map(plane).collect() };
        sums.par_iter().map(answer).collect()
    }
}

impl Shard<'_> {
    /// Every query's blocks for this shard's partitions.
    fn slices(&self, queries: &[Query]) -> Vec<Vec<u32>> {
        let slice = |query: &Query| {
            let blocks: Vec<&[u32]> = query.lwe.chunks(PARTITION_BUCKETS).collect();
            let own = self.partitions.iter().filter_map(|(number, _)| blocks.get(*number).copied());
            own.flatten().copied().collect()
        };
        queries.par_iter().map(slice).collect()
    }
}
