//! What a node holds in memory: per generation, its shard's partitions and planes of every index.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opaque_pir::codec::{Partial, Slice, SliceMaterial};
use opaque_pir::geometry::Geometry;
use opaque_pir::hint::multiply_plane;
use opaque_pir::index::read_buckets;
use opaque_pir::layout::{Salt, decode_bucket, mask};
use opaque_pir::scan::{Kernel, Partition, scan};
use opaque_seal::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, hint_product};
use rayon::prelude::*;

use crate::assignment::Assignment;
use crate::coordination::Map;
use crate::error::NodeError;
use crate::store::Manifest;

/// One generation as this node serves it.
#[derive(Debug)]
pub struct Serving {
    /// The shard map.
    pub map: Map,
    /// Tables by name. A table that two generations share at one epoch is loaded once.
    pub tables: BTreeMap<String, Arc<ServedTable>>,
    /// Tables of the map that could not be loaded, and why.
    pub missing: BTreeMap<String, String>,
}

impl Serving {
    /// Whether every table of the map is here.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
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
    /// Bytes of memory that the table holds here.
    pub fn resident_bytes(&self) -> u64 {
        self.indexes.values().map(|index| index.resident_bytes()).sum()
    }
}

/// This shard's part of one index.
///
/// Invariant: `partitions` is sorted by number and `planes` by plane, and both are exactly what
/// placement gives this shard; [`ServedIndex::evaluate`] refuses slices for anything else.
#[derive(Debug)]
pub struct ServedIndex {
    /// Position of the column in the schema.
    pub column: u32,
    /// Shape of the whole index.
    pub geometry: Geometry,
    /// Public randomness of the epoch.
    pub salt: Salt,
    /// Which shard has which part.
    pub assignment: Assignment,
    /// Partition numbers and their bytes.
    pub partitions: Vec<(u32, Partition)>,
    /// Planes of the hint that this shard multiplies.
    pub planes: Vec<ServedPlane>,
}

/// One plane of the hint, twice: ready for encrypted products, and plain for the self-test.
pub struct ServedPlane {
    /// Number of the plane in its index.
    pub plane: u16,
    /// 4096 × 1024 values of H, row-major.
    pub hint: Vec<u32>,
    /// Its diagonals, encoded for BFV.
    pub table: PlaneTable,
}

impl std::fmt::Debug for ServedPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedPlane").field("plane", &self.plane).finish_non_exhaustive()
    }
}

/// One shard's contribution and what it cost.
#[derive(Debug)]
pub struct Evaluated {
    /// Sums over this shard's partitions, products of this shard's planes.
    pub partial: Partial,
    /// Time of the scan.
    pub scan: Duration,
    /// Time of the hint products.
    pub hint: Duration,
}

impl ServedIndex {
    /// Partition numbers, sorted.
    pub fn partition_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.partitions.iter().map(|(number, _)| *number)
    }

    /// Bytes of memory: matrix, tables, plain hint.
    pub fn resident_bytes(&self) -> u64 {
        let matrix: usize = self.partitions.iter().map(|(_, data)| data.bytes().len()).sum();
        let plane = |plane: &ServedPlane| plane.table.bytes() + plane.hint.len() * 4;
        (matrix + self.planes.iter().map(plane).sum::<usize>()) as u64
    }

    /// Scans every partition for every lookup of the slice in one pass, and multiplies every plane.
    ///
    /// The work depends on the geometry and the number of lookups alone. CPU-bound: runs on the
    /// current rayon pool.
    ///
    /// # Errors
    /// When the slice names other partitions than these, or its ciphertexts are not of this
    /// parameter set. `keys` is required unless the slice is a probe.
    pub fn evaluate(
        &self,
        generation: u64,
        epoch: u64,
        slice: &Slice,
        kernel: Kernel,
        bfv: &Bfv,
        keys: Option<&EvaluationKeys>,
    ) -> Result<Evaluated, NodeError> {
        if !self.partition_numbers().eq(slice.partitions().iter().copied()) {
            return Err(NodeError::WrongPartitions(generation));
        }
        let started = Instant::now();
        let queries = slice.scan_queries(&self.salt, self.column);
        let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
        let partitions: Vec<&Partition> = self.partitions.iter().map(|(_, data)| data).collect();
        let scans =
            scan(kernel, &self.geometry, &partitions, &queries).map_err(NodeError::internal)?;
        let scan_time = started.elapsed();

        let started = Instant::now();
        let planes = match slice.material() {
            SliceMaterial::Probe(probe) => self
                .planes
                .iter()
                .map(|plane| {
                    let product = |secret| le_bytes(&multiply_plane(&plane.hint, secret));
                    (plane.plane, probe.secrets().iter().map(product).collect())
                })
                .collect(),
            _ => self.hint_products(slice, bfv, keys)?,
        };
        let partitions = self.partition_numbers().collect();
        let partial = Partial { generation, epoch, partitions, scans, planes };
        Ok(Evaluated { partial, scan: scan_time, hint: started.elapsed() })
    }

    /// One ciphertext per plane and lookup.
    fn hint_products(
        &self,
        slice: &Slice,
        bfv: &Bfv,
        keys: Option<&EvaluationKeys>,
    ) -> Result<PlaneProducts, NodeError> {
        if self.planes.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.ok_or(NodeError::UnknownKeys)?;
        let tables: Vec<&PlaneTable> = self.planes.iter().map(|plane| &plane.table).collect();
        let malformed = || NodeError::Malformed("malformed encrypted secret".into());
        let per_lookup: Vec<Vec<Vec<u8>>> = (0..slice.lookups())
            .into_par_iter()
            .map(|lookup| {
                let bytes = slice.encrypted_secret(lookup).ok_or_else(malformed)?;
                let secret = EncryptedSecret::from_bytes(bfv, bytes).map_err(|_| malformed())?;
                hint_product(bfv, keys, &secret, &tables).map_err(|_| malformed())
            })
            .collect::<Result<_, NodeError>>()?;
        let mut columns: Vec<_> = per_lookup.into_iter().map(Vec::into_iter).collect();
        let of_plane = |plane: &ServedPlane| {
            (plane.plane, columns.iter_mut().filter_map(Iterator::next).collect())
        };
        Ok(self.planes.iter().map(of_plane).collect())
    }

    /// The rows of buckets `first..end`, which must lie in one partition of this shard.
    ///
    /// # Errors
    /// When the partition is not served here, or a bucket fails its check.
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

/// Per plane, one ciphertext per lookup.
type PlaneProducts = Vec<(u16, Vec<Vec<u8>>)>;

fn le_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
