//! Loads this shard's part of every table of a map from the store into memory.
//!
//! The steps overlap: while some segments are fetched, others are checked and placed in large
//! pages, and the pool builds the tables of the hint's planes, which take longest. The number of
//! segments in progress is bounded, so that a load needs little more memory than its result. Planes
//! are built one at a time, so that queries, which run on the same pool, wait for at most one of
//! them.
//!
//! **Admission.** The memory that a load needs follows from manifests (`need`). A [`Plan`] that
//! does not fit is refused before anything is fetched ([`crate::shard::memory`]).

mod describe;
mod need;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::{join_all, try_join, try_join_all};
use opaque_pir::inline::{Chain, InlineError, PlaneTables, PublicElements, PublicPart};
use opaque_pir::probe::{Probe, SECRETS};
use opaque_pir::scan::Partition;
use opaque_store::{IndexManifest, Manifest, Store};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;

use self::describe::describe_index;
pub use self::describe::described;
use self::plan::Found;
pub use self::plan::{Plan, Refusal};
use crate::coordination::Map;
use crate::error::NodeError;
use crate::map::assignment::Assignment;
use crate::map::placement::{Key, Kind, Shards, place};
use crate::shard::memory::Memory;
use crate::shard::pool::CpuPool;
use crate::shard::registry::store_error;
use crate::shard::served::{
    ServedIndex, ServedPlane, ServedTable, Serving, StoredPlane, find_held, resident_bytes,
};

/// Segments in progress in addition to one per thread: these are fetched while others are checked
/// and placed.
const FETCHED_AHEAD: usize = 2;
/// Segments in progress in a second loader: one is fetched while one is placed.
const ASIDE: usize = 2;
/// Planes of the hint that are in memory at the same time during a load.
const HINTS: usize = 2;

/// Loads one shard's part of whole generations.
pub struct Loader {
    shard: u32,
    store: Store,
    pool: CpuPool,
    memory: Arc<Memory>,
    /// Largest number of segments in progress.
    side_by_side: usize,
    /// One permit per segment that is fetched, checked or placed.
    segments: Semaphore,
    /// One permit per plane of the hint in memory: one is being built while the next is fetched.
    hints: Semaphore,
    /// The permit for the plane whose tables are being built.
    building: Arc<Semaphore>,
}

/// How much of a load is in memory. Tables that were already held do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of matrices and of the hint that are loaded.
    pub done: u64,
    /// Bytes to load.
    pub total: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} MiB", self.done >> 20, self.total.div_ceil(1 << 20))
    }
}

/// Receives progress. Called often, and must not block.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Adds up what has been loaded.
struct Tally<'a> {
    done: AtomicU64,
    total: u64,
    listener: Listener<'a>,
}

impl Tally<'_> {
    fn add(&self, bytes: usize) {
        let bytes = bytes as u64;
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.listener)(Progress { done, total: self.total });
    }
}

impl Loader {
    /// Loads the part of `shard` from `store`, with `threads` threads in addition to those of the
    /// pool, without a memory limit.
    pub fn new(shard: u32, store: Store, pool: CpuPool, threads: usize) -> Self {
        let side_by_side = threads.max(1) + FETCHED_AHEAD;
        let (segments, building) = (Semaphore::new(side_by_side), Arc::new(Semaphore::new(1)));
        let memory = Memory::unlimited();
        let hints = Semaphore::new(HINTS);
        Self { shard, store, pool, memory, side_by_side, segments, hints, building }
    }

    /// Loads only what `memory` admits.
    pub fn admitted_by(self, memory: Arc<Memory>) -> Self {
        Self { memory, ..self }
    }

    /// A second loader of the same shard. It delays this one only while it builds a plane.
    pub fn aside(&self) -> Self {
        let Self { shard, store, pool, memory, side_by_side: _, segments: _, hints: _, building } =
            self;
        Self {
            shard: *shard,
            store: store.clone(),
            pool: pool.clone(),
            memory: Arc::clone(memory),
            side_by_side: ASIDE,
            segments: Semaphore::new(ASIDE),
            hints: Semaphore::new(HINTS),
            building: Arc::clone(building),
        }
    }

    /// The store from which this loader reads.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Plans, admits and loads every table of a map.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan), [`admit`](Self::admit) and [`carry_out`](Self::carry_out).
    pub async fn load(
        &self,
        map: &Map,
        active: Option<&Serving>,
        held: &[Arc<Serving>],
        listener: Listener<'_>,
    ) -> Result<Serving, NodeError> {
        let plan = self.plan(map, active, held).await?;
        let _reserved = self.admit(&plan, held, 0).map_err(|refusal| match refusal {
            Refusal::Later(shortage) | Refusal::Never(shortage) => NodeError::memory(shortage),
        })?;
        self.carry_out(plan, listener).await
    }

    /// Loads a plan.
    ///
    /// # Errors
    /// The first table that cannot be loaded, with the missing or damaged object of the store.
    pub async fn carry_out(
        &self,
        plan: Plan,
        listener: Listener<'_>,
    ) -> Result<Serving, NodeError> {
        let Plan { mut serving, found, .. } = plan;
        let map = &serving.map;
        let tally = self.tally(map, found.iter().map(|(_, found)| found), listener);
        let tables = found.into_iter().map(async |(name, found)| {
            Ok::<_, NodeError>((name, self.table(map, found, &tally).await?))
        });
        let tables = try_join_all(tables).await?;
        serving.tables.extend(tables);
        Ok(serving)
    }

    /// Like [`Loader::load`], for a map that is already active. A table that cannot be loaded is
    /// left out and named, so that one damaged table does not affect the others. If memory does not
    /// suffice for all, the tables with the smallest matrices are loaded, in the same order on
    /// every shard.
    pub async fn load_what_can_be(
        &self,
        map: &Map,
        held: &[Arc<Serving>],
        listener: Listener<'_>,
    ) -> Serving {
        let found = map.tables.iter().map(async |(name, epoch)| {
            let found = match find_held(held, map, name, *epoch) {
                Some(table) => Ok(Found::Held(table)),
                None => self.manifest(name, *epoch).await.map(Found::Stored),
            };
            (name, found)
        });
        let mut found = join_all(found).await;
        let need = self.leave_out(map, &mut found, resident_bytes(held));
        let reserved = self.memory.admit(resident_bytes(held), need);
        if let Err(shortage) = &reserved {
            // Other work has reserved the memory. These tables are tried again when it is done.
            let stored = found.iter_mut().filter(|(_, f)| matches!(f, Ok(Found::Stored(_))));
            stored.for_each(|(_, found)| *found = Err(NodeError::memory(*shortage)));
        }
        let tally = self.tally(map, found.iter().filter_map(|(_, f)| f.as_ref().ok()), listener);
        let loaded = found.into_iter().map(async |(name, found)| match found {
            Ok(found) => (name, self.table(map, found, &tally).await),
            Err(error) => (name, Err(error)),
        });
        let (mut tables, mut missing) = (BTreeMap::new(), BTreeMap::new());
        for (name, table) in join_all(loaded).await {
            match table {
                Ok(table) => drop(tables.insert(name.clone(), table)),
                Err(error) => drop(missing.insert(name.clone(), error.to_string())),
            }
        }
        Serving { map: map.clone(), tables, missing, described: BTreeMap::new() }
    }

    /// The manifest of an epoch.
    ///
    /// # Errors
    /// The manifest is missing or damaged.
    pub async fn manifest(&self, table: &str, epoch: u64) -> Result<Arc<Manifest>, NodeError> {
        let _turn = self.segments.acquire().await.map_err(NodeError::internal)?;
        self.store.manifest(table, epoch).await.map(Arc::new).map_err(store_error)
    }

    /// Counts from zero to the bytes of this shard that are not yet held.
    fn tally<'a, 'f>(
        &self,
        map: &Map,
        found: impl Iterator<Item = &'f Found>,
        listener: Listener<'a>,
    ) -> Tally<'a> {
        let manifests = found.filter_map(|found| match found {
            Found::Held(_) => None,
            Found::Stored(manifest) => Some(manifest),
        });
        let indexes = manifests.flat_map(|manifest| {
            manifest.indexes.iter().map(|index| (manifest.schema.table(), index))
        });
        let bytes = indexes.map(|(table, index)| {
            let assignment = assign(&map.shards, table, index);
            let partitions = assignment.partitions(self.shard).len();
            let planes = assignment.planes(self.shard);
            partitions * index.geometry.partition_bytes()
                + planes
                    .iter()
                    .map(|plane| index.geometry.plane_words((*plane).into()))
                    .sum::<usize>()
                    * size_of::<u32>()
        });
        Tally { done: AtomicU64::new(0), total: bytes.sum::<usize>() as u64, listener }
    }

    async fn table(
        &self,
        map: &Map,
        found: Found,
        tally: &Tally<'_>,
    ) -> Result<Arc<ServedTable>, NodeError> {
        let manifest = match found {
            Found::Held(table) => return Ok(table),
            Found::Stored(manifest) => manifest,
        };
        let indexes = manifest.indexes.iter().map(async |index| {
            let served = self.index(&map.shards, &manifest, index, tally).await?;
            Ok::<_, NodeError>((index.column, Arc::new(served)))
        });
        let indexes = try_join_all(indexes).await?.into_iter().collect();
        Ok(Arc::new(ServedTable { manifest: Arc::clone(&manifest), indexes }))
    }

    async fn index(
        &self,
        shards: &Shards,
        manifest: &Arc<Manifest>,
        index: &IndexManifest,
        tally: &Tally<'_>,
    ) -> Result<ServedIndex, NodeError> {
        let assignment = assign(shards, manifest.schema.table(), index);
        let partitions = assignment.partitions(self.shard).iter().copied();
        let partitions = partitions.map(|number| self.partition(manifest, index, number, tally));
        // Planes first, since they take longest.
        let ((public_parts, planes), partitions) = try_join(
            self.planes(manifest, index, assignment.planes(self.shard), tally),
            try_join_all(partitions),
        )
        .await?;
        let described = describe_index(manifest, index, assignment, public_parts);
        Ok(ServedIndex { partitions, planes, ..described })
    }

    /// One partition, with its number.
    async fn partition(
        &self,
        manifest: &Manifest,
        index: &IndexManifest,
        number: u32,
        tally: &Tally<'_>,
    ) -> Result<(u32, Partition), NodeError> {
        let _turn = self.segments.acquire().await.map_err(NodeError::internal)?;
        let bytes = self.store.partition(manifest, index.column, number).await;
        let (bytes, geometry) = (bytes.map_err(store_error)?, index.geometry);
        let placed = spawn_blocking(move || Partition::try_from((&bytes[..], &geometry)));
        let placed = placed.await.map_err(NodeError::internal)?.map_err(NodeError::internal)?;
        tally.add(geometry.partition_bytes());
        Ok((number, placed))
    }

    /// The public parts of all planes of an index, and the planes in `own`, ready for products.
    async fn planes(
        &self,
        manifest: &Arc<Manifest>,
        index: &IndexManifest,
        own: &[u16],
        tally: &Tally<'_>,
    ) -> Result<(Vec<Bytes>, Vec<ServedPlane>), NodeError> {
        let public_parts = self.public_parts(manifest, index).await?;
        if own.is_empty() {
            // This avoids computing 192 KiB of factors that a shard without planes does not need.
            return Ok((public_parts, Vec::new()));
        }
        let seed = manifest.seed(index);
        let chain = move || Chain::new(&PublicElements::new(&seed));
        let chain = Arc::new(self.build(chain).await?);
        let probe = Arc::new(manifest.probe(index));
        let planes = own.iter().map(async |&number| {
            let part = public_parts.get(usize::from(number)).cloned().unwrap_or_default();
            let encoder =
                Encoder { chain: Arc::clone(&chain), probe: Arc::clone(&probe), public_part: part };
            self.plane(manifest, index, number, encoder, tally).await
        });
        let planes = try_join_all(planes).await?;
        Ok((public_parts, planes))
    }

    async fn plane(
        &self,
        manifest: &Arc<Manifest>,
        index: &IndexManifest,
        number: u16,
        encoder: Encoder,
        tally: &Tally<'_>,
    ) -> Result<ServedPlane, NodeError> {
        let plane = usize::from(number);
        let _held = self.hints.acquire().await.map_err(NodeError::internal)?;
        let turn = self.segments.acquire().await.map_err(NodeError::internal)?;
        let hint = self.store.plane(manifest, index.column, plane).await.map_err(store_error)?;
        // The plane may have to wait for others to be built. Partitions continue in the meantime.
        drop(turn);
        let bytes = size_of_val(hint.as_slice());
        let encoded = self.build(move || encoder.encode(&hint)).await?;
        let encoded = encoded.map_err(NodeError::internal)?;
        let Encoded { tables, probed } = encoded.ok_or_else(|| {
            let column = index.column;
            NodeError::Store(format!(
                "plane {plane} of column {column} does not match its public part"
            ))
        })?;
        tally.add(bytes);
        let stored = StoredPlane::new(&self.store, manifest, index.column, number);
        Ok(ServedPlane { plane: number, tables, probed, stored, registered: OnceCell::new() })
    }

    /// Runs one job at a time on the pool.
    async fn build<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let _turn = self.building.acquire().await.map_err(NodeError::internal)?;
        self.pool.run_in_turn(job).await
    }
}

/// The parts of a plane that stay in memory.
struct Encoded {
    tables: PlaneTables,
    probed: [Vec<u32>; SECRETS],
}

/// Converts a plane of the hint into its [`Encoded`] form.
struct Encoder {
    chain: Arc<Chain>,
    probe: Arc<Probe>,
    public_part: Bytes,
}

impl Encoder {
    /// A plane's tables and its products for the self-test. `None` if the tables do not match the
    /// public part that clients receive, since clients could not decrypt the answers.
    fn encode(&self, hint: &[u32]) -> Result<Option<Encoded>, InlineError> {
        let tables = self.chain.tables(hint)?;
        let fits = *tables.public() == PublicPart::from_bytes(&self.public_part, tables.rows())?;
        Ok(fits.then(|| Encoded { tables, probed: self.probe.multiply(hint) }))
    }
}

/// Placement of one index's partitions and planes.
fn assign(shards: &Shards, table: &str, index: &IndexManifest) -> Assignment {
    let owners = |kind, count: usize| {
        // There are at most 1024 partitions and 16 planes.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let key = Key { table, column: index.column, kind };
        place(&key, count, shards).into_iter().map(|shard| shard.0).collect::<Vec<u32>>()
    };
    let planes = owners(Kind::Planes, index.geometry.planes());
    Assignment::new(owners(Kind::Partitions, index.geometry.partitions() as usize), &planes)
}

#[cfg(test)]
pub(crate) mod tests;
