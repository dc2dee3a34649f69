//! The servers' half of a batch of lookups: a node's pass on one shard after another, with the
//! coordinator's work before and after.

use std::time::{Duration, Instant};

use opaque_node::shard::pass::{IndexPart, PlanePart, Request, Step};
use opaque_pir::{
    codec::{self, CombineError, Combiner, Kind, Partial, QueryView, Slice},
    geometry::Geometry,
    machine::Kernels,
    probe::SECRETS,
};
use rayon::ThreadPool;

use super::{Subject, subject::EPOCH};
use crate::{
    error::BenchError,
    host::{Scratch, processor_time},
};

/// Elapsed time and processor time of one step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lap {
    pub(crate) clock: Duration,
    pub(crate) processor: Duration,
}

impl Lap {
    /// Runs `work` on the pool and times it.
    pub(crate) fn of<T: Send>(pool: &ThreadPool, work: impl FnOnce() -> T + Send) -> (T, Self) {
        let begun = Begun::now();
        let done = pool.install(work);
        (done, begun.lap())
    }
}

/// The start of a lap.
#[derive(Clone, Copy)]
struct Begun {
    clock: Instant,
    processor: Duration,
}

impl Begun {
    fn now() -> Self {
        Self { clock: Instant::now(), processor: processor_time() }
    }

    fn lap(self) -> Lap {
        let clock = self.clock.elapsed();
        Lap { clock, processor: processor_time().saturating_sub(self.processor) }
    }
}

/// Times of one shard's share of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct ShardLaps {
    scan: Lap,
    /// Decoding the queries' keys.
    read: Lap,
    hint: Lap,
}

impl ShardLaps {
    fn laps(&self) -> [Lap; 3] {
        let Self { scan, read, hint } = *self;
        [scan, read, hint]
    }
}

/// Times the steps of a pass. Caches are emptied before memory-bound steps.
struct Watch<'a> {
    scratch: &'a Scratch,
    laps: ShardLaps,
    step: Option<(Step, Begun)>,
}

impl Watch<'_> {
    fn step(&mut self, next: Step) {
        if let Some((step, begun)) = self.step {
            let lap = begun.lap();
            match step {
                Step::Scan => self.laps.scan = lap,
                Step::Keys => self.laps.read = lap,
                Step::Products => self.laps.hint = lap,
                Step::Results => {}
            }
        }
        if matches!(next, Step::Scan | Step::Products) {
            self.scratch.evict();
        }
        self.step = Some((next, Begun::now()));
    }
}

/// Times of the servers' work on a batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLaps {
    shards: Vec<ShardLaps>,
    coordinator: Vec<Lap>,
}

/// Selects one of a lap's two times.
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

    /// The slowest shard plus the coordinator: the latency of a batch if shards run in parallel.
    pub(crate) fn server(&self, clock: Clock) -> Duration {
        let shard = |shard: &ShardLaps| shard.laps().iter().map(clock).sum::<Duration>();
        let slowest = self.shards.iter().map(shard).max().unwrap_or_default();
        slowest + self.coordinator.iter().map(clock).sum::<Duration>()
    }

    /// Processor time of all shards and the coordinator.
    pub(crate) fn processor(&self) -> Duration {
        let shards = self.shards.iter().flat_map(ShardLaps::laps);
        shards.chain(self.coordinator.iter().copied()).map(|lap| lap.processor).sum()
    }
}

/// Generation of the shard map.
const GENERATION: u64 = 1;
/// Products of a self-test, which no client requests.
static UNPROBED: [Vec<u32>; SECRETS] = [const { Vec::new() }; SECRETS];

/// The servers of one subject. Partitions and planes are assigned to shards in turn.
pub(crate) struct Shards<'a> {
    geometry: &'a Geometry,
    shards: Vec<IndexPart<'a>>,
}

impl<'a> Shards<'a> {
    pub(crate) fn new(subject: &'a Subject, count: u32) -> Self {
        let Subject { geometry, seed, probe, partitions, planes, keys: _ } = subject;
        let mut shards = Vec::new();
        for shard in 0..count as usize {
            let partitions = (0..).zip(partitions).skip(shard).step_by(count as usize).collect();
            let planes = (0..).zip(planes).skip(shard).step_by(count as usize);
            let planes = planes.map(|(plane, tables)| PlanePart {
                plane,
                tables,
                probed: &UNPROBED,
                registered: None,
            });
            let planes = planes.collect();
            shards.push(IndexPart { geometry, seed, probe, partitions, planes });
        }
        Self { geometry, shards }
    }

    /// Answers a query. To empty caches, `scratch` is read before each memory-bound step, outside
    /// the timed steps.
    pub(crate) fn answer(
        &self,
        pool: &ThreadPool,
        kernels: Kernels,
        scratch: &Scratch,
        query: &[u8],
    ) -> Result<(Vec<u8>, ServerLaps), BenchError> {
        let query = QueryView::decode(query, self.geometry, EPOCH)?;
        let mut laps = ServerLaps::default();
        let mut partials = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let numbers: Vec<u32> = shard.partitions.iter().map(|(number, _)| *number).collect();
            let with_secret = !shard.planes.is_empty();
            let (slice, lap) = Lap::of(pool, || codec::slice(&query, &numbers, with_secret));
            laps.coordinator.push(lap);
            let slice = Slice::decode(&slice?, self.geometry, EPOCH)?;
            let request = Request { generation: GENERATION, epoch: EPOCH, slice, keys: None };
            let mut watch = Watch { scratch, laps: ShardLaps::default(), step: None };
            let pass = || shard.pass(&[request], kernels, &mut |step| watch.step(step));
            for evaluated in pool.install(pass) {
                partials.push(evaluated?.partial);
            }
            laps.shards.push(watch.laps);
        }
        let (answer, lap) = Lap::of(pool, || self.combine(partials, query.lookups()));
        laps.coordinator.push(lap);
        Ok((answer?, laps))
    }

    /// The coordinator's work on the shards' results.
    fn combine(&self, partials: Vec<Partial>, lookups: u16) -> Result<Vec<u8>, CombineError> {
        let kind = Kind::Inline;
        let mut combiner = Combiner::new(self.geometry, kind, GENERATION, EPOCH, lookups)?;
        partials.into_iter().try_for_each(|partial| combiner.add(partial))?;
        combiner.finish()
    }
}
