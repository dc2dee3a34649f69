//! The data in a node's memory: for each generation, its shard's partitions and planes of every
//! index.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opaque_pir::geometry::Geometry;
use opaque_pir::index::read_buckets;
use opaque_pir::inline::PlaneTables;
use opaque_pir::layout::{decode_bucket, mask};
use opaque_pir::probe::{Probe, SECRETS};
use opaque_pir::scan::Partition;
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_seal::{Bfv, PlaneTable};
use opaque_store::{Manifest, Store};
use tokio::sync::OnceCell;

use crate::coordination::Map;
use crate::error::NodeError;
use crate::map::assignment::Assignment;
use crate::map::call::EvaluateReply;
use crate::shard::batch::Batcher;
use crate::shard::memory::{Need, Reservation};
use crate::shard::pass::{IndexPart, PlanePart, Request};
use crate::shard::pool::CpuPool;
use crate::shard::registry::store_error;

/// Memory for building one plane for registered keys, in addition to its table: the plane as it is
/// stored, and as numbers.
const REGISTERED: u64 = 32 << 20;

/// One generation in memory.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The shard map.
    pub map: Map,
    /// Tables by name. If two generations share a table at one epoch, it is loaded once.
    pub tables: BTreeMap<String, Arc<ServedTable>>,
    /// Tables of the map that could not be loaded, and why.
    pub missing: BTreeMap<String, String>,
    /// Those missing tables whose queries this node can coordinate. They have no partitions and
    /// planes.
    pub described: BTreeMap<String, Arc<ServedTable>>,
}

impl Serving {
    /// Whether every table of the map is loaded.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// Takes over tables that are missing here from the generations in memory.
    pub fn share(&mut self, held: &[Arc<Self>]) {
        for (name, epoch) in &self.map.tables {
            if self.missing.contains_key(name)
                && let Some(table) = find_held(held, &self.map, name, *epoch)
            {
                self.missing.remove(name);
                self.described.remove(name);
                self.tables.insert(name.clone(), table);
            }
        }
    }

    /// Whether any query could be answered: a table of the map is loaded, or the map has none.
    pub fn has_answers(&self) -> bool {
        self.map.tables.is_empty() || !self.tables.is_empty()
    }

    /// A table, whether this node holds it or only other replicas do. SQL folds case. Names of
    /// tables differ in more than case, which is checked when they are proposed.
    ///
    /// # Errors
    /// [`NodeError::TableMissing`] for a table of the map, [`NodeError::UnknownTable`] for any
    /// other.
    pub fn table(&self, name: &str) -> Result<&Arc<ServedTable>, NodeError> {
        let mut tables = self.tables.iter().chain(&self.described);
        if let Some((_, table)) = tables.find(|(table, _)| table.eq_ignore_ascii_case(name)) {
            return Ok(table);
        }
        let mut missing = self.missing.iter();
        match missing.find(|(table, _)| table.eq_ignore_ascii_case(name)) {
            Some((table, reason)) => {
                Err(NodeError::TableMissing { table: table.clone(), reason: reason.clone() })
            }
            None => Err(NodeError::UnknownTable(name.to_owned())),
        }
    }
}

/// A table of a map, if a generation in memory has it with the same shards.
pub fn find_held(
    held: &[Arc<Serving>],
    map: &Map,
    name: &str,
    epoch: u64,
) -> Option<Arc<ServedTable>> {
    held.iter()
        .filter(|serving| serving.map.shards == map.shards)
        .filter_map(|serving| serving.tables.get(name))
        .find(|table| table.manifest.epoch == epoch)
        .cloned()
}

/// Bytes of memory that generations use. Shared tables count once.
pub fn resident_bytes<'s>(held: impl IntoIterator<Item = &'s Arc<Serving>>) -> u64 {
    tables_of(held).iter().map(|table| table.resident_bytes()).sum()
}

/// The tables of generations. Shared ones are listed once.
pub fn tables_of<'s>(held: impl IntoIterator<Item = &'s Arc<Serving>>) -> Vec<Arc<ServedTable>> {
    let tables = held.into_iter().flat_map(|serving| serving.tables.values().cloned());
    let mut tables: Vec<_> = tables.collect();
    tables.sort_by_key(Arc::as_ptr);
    tables.dedup_by_key(|table| Arc::as_ptr(table));
    tables
}

/// One epoch of a table: its public description, and this shard's part of every index.
#[derive(Debug)]
pub struct ServedTable {
    /// Everything public about the epoch.
    pub manifest: Arc<Manifest>,
    /// This shard's part of each index, by column.
    pub indexes: BTreeMap<u32, Arc<ServedIndex>>,
}

impl ServedTable {
    /// Bytes of memory that the table uses.
    pub fn resident_bytes(&self) -> u64 {
        self.indexes.values().map(|index| index.resident_bytes()).sum()
    }

    /// The part of [`resident_bytes`](Self::resident_bytes) that is in large pages, as far as the
    /// system accepted the request.
    pub fn large_page_bytes(&self) -> u64 {
        self.indexes.values().map(|index| index.large_page_bytes()).sum()
    }
}

/// This shard's part of one index.
///
/// Invariant: `partitions` is sorted by number and `planes` by plane, and both are exactly what
/// placement assigns to this shard. [`LocalShard`](crate::shard::local::LocalShard) refuses slices
/// for anything else.
#[derive(Debug)]
pub struct ServedIndex {
    /// Position of the column in the schema.
    pub column: u32,
    /// Shape of the whole index.
    pub geometry: Geometry,
    /// Public randomness of the epoch.
    pub salt: Salt,
    /// Seed of the index's public elements.
    pub seed: IndexSeed,
    /// The index's self-test.
    pub probe: Probe,
    /// The part of each shard.
    pub assignment: Assignment,
    /// Partition numbers and their bytes.
    pub partitions: Vec<(u32, Partition)>,
    /// Planes of the hint that this shard multiplies.
    pub planes: Vec<ServedPlane>,
    /// The public parts of every plane of the index, for clients.
    pub public_parts: Vec<Bytes>,
    /// Requests that share passes.
    pub batcher: Batcher<Request, Result<EvaluateReply, NodeError>>,
    /// The same for requests with registered keys. Their products take tens of times as long and
    /// cannot be shared, so other requests must not wait for them.
    pub registered_batcher: Batcher<Request, Result<EvaluateReply, NodeError>>,
}

/// One plane of the hint, ready for products with inline keys and for the self-test. The plane
/// itself stays in the store, since only registered keys need it again.
pub struct ServedPlane {
    /// Number of the plane in its index.
    pub plane: u16,
    /// The result of the offline chain for this plane.
    pub tables: PlaneTables,
    /// Products of the plane with each secret of the self-test: one word for each of its rows.
    pub probed: [Vec<u32>; SECRETS],
    /// The plane in the store.
    pub stored: StoredPlane,
    /// Diagonals of the plane, encoded for BFV with registered keys. Built for the first such
    /// request.
    pub registered: OnceCell<PlaneTable>,
}

/// One plane of the hint in the store.
#[derive(Debug)]
pub struct StoredPlane {
    store: Store,
    manifest: Arc<Manifest>,
    column: u32,
    plane: u16,
}

impl StoredPlane {
    /// Plane number `plane` of the epoch's index.
    pub(crate) fn new(store: &Store, manifest: &Arc<Manifest>, column: u32, plane: u16) -> Self {
        Self { store: store.clone(), manifest: Arc::clone(manifest), column, plane }
    }

    /// The plane's values of H, row-major, with 1024 values per row.
    ///
    /// # Errors
    /// The store does not have the plane as the manifest describes it.
    pub async fn read(&self) -> Result<Vec<u32>, NodeError> {
        let read = self.store.plane(&self.manifest, self.column, self.plane.into()).await;
        read.map_err(store_error)
    }
}

impl ServedPlane {
    fn part(&self) -> PlanePart<'_> {
        let Self { plane, tables, probed, stored: _, registered } = self;
        PlanePart { plane: *plane, tables, probed, registered: registered.get() }
    }
}

impl std::fmt::Debug for ServedPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedPlane").field("plane", &self.plane).finish_non_exhaustive()
    }
}

impl ServedIndex {
    /// Partition numbers, sorted.
    pub fn partition_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.partitions.iter().map(|(number, _)| *number)
    }

    /// The data that a pass reads.
    pub fn part(&self) -> IndexPart<'_> {
        let Self { geometry, seed, probe, partitions, planes, .. } = self;
        let partitions = partitions.iter().map(|(number, data)| (*number, data)).collect();
        let planes = planes.iter().map(ServedPlane::part).collect();
        IndexPart { geometry, seed, probe, partitions, planes }
    }

    /// Bytes of memory: matrix, tables, products of the self-test, public parts.
    pub fn resident_bytes(&self) -> u64 {
        let matrix: usize = self.partitions.iter().map(|(_, data)| data.bytes().len()).sum();
        let plane = |plane: &ServedPlane| {
            let registered = plane.registered.get().map_or(0, PlaneTable::bytes);
            let probed = plane.probed.iter().map(|product| size_of_val(product.as_slice()));
            plane.tables.bytes() + registered + probed.sum::<usize>()
        };
        let public_parts = self.public_parts.iter().map(Bytes::len).sum::<usize>();
        (matrix + self.planes.iter().map(plane).sum::<usize>() + public_parts) as u64
    }

    fn large_page_bytes(&self) -> u64 {
        let partitions = self.partitions.iter().map(|(_, data)| data);
        let matrix = partitions.filter(|data| data.large_pages()).map(|data| data.bytes().len());
        let tables = self.planes.iter().map(|plane| &plane.tables);
        let tables = tables.filter(|tables| tables.large_pages()).map(PlaneTables::bytes);
        matrix.chain(tables).sum::<usize>() as u64
    }

    /// Builds the tables for registered keys, once. They use 64 MiB per plane, and only nodes that
    /// receive such keys build them.
    ///
    /// # Errors
    /// Too many jobs wait for `pool`, a plane cannot be read from the store, or `admit` refuses the
    /// memory for a plane.
    pub async fn serve_registered(
        &self,
        bfv: &Arc<Bfv>,
        pool: &CpuPool,
        admit: impl Fn(Need) -> Result<Reservation, NodeError>,
    ) -> Result<(), NodeError> {
        for plane in &self.planes {
            let make = async || {
                let need = Need { resident: PlaneTable::BYTES as u64, building: REGISTERED };
                let _reserved = admit(need)?;
                let (hint, bfv) = (plane.stored.read().await?, Arc::clone(bfv));
                let build = move || PlaneTable::build(&bfv, &hint);
                pool.run(build).await?.map_err(NodeError::internal)
            };
            plane.registered.get_or_try_init(make).await?;
        }
        Ok(())
    }

    /// The rows of buckets `first..end`, which must lie in one partition of this shard.
    ///
    /// # Errors
    /// The partition is not served here, or a bucket fails its check.
    pub fn rows(&self, first: u32, end: u32) -> Result<Vec<(u64, Vec<u8>)>, NodeError> {
        let number = Geometry::partition_of(first);
        let whole = Geometry::buckets_of(number);
        let found = self.partitions.iter().find(|(partition, _)| *partition == number);
        let (_, data) = found.ok_or_else(|| NodeError::internal("partition of another shard"))?;
        if end <= first || end > whole.end {
            return Err(NodeError::Malformed("a range of buckets crosses a partition".into()));
        }
        let (offset, count) = ((first - whole.start) as usize, (end - first) as usize);
        let buckets = read_buckets(&self.geometry, data.bytes(), offset, count)
            .map_err(NodeError::internal)?;
        let mut rows = Vec::new();
        for (bucket, mut bytes) in (first..end).zip(buckets) {
            mask(&self.salt, self.column, bucket, &mut bytes);
            let pages = decode_bucket(&self.salt, self.column, bucket, &bytes)
                .map_err(NodeError::internal)?;
            rows.extend(pages.into_iter().flat_map(|page| page.rows));
        }
        Ok(rows)
    }
}
