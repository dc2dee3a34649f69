//! From the store into memory: this shard's part of every table of a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use opaque_pir::inline::{Chain, InlineError, PlaneTables, PublicElements, PublicPart};
use opaque_pir::scan::Partition;
use tokio::sync::OnceCell;

use crate::assignment::Assignment;
use crate::batch::Batcher;
use crate::coordination::Map;
use crate::error::NodeError;
use crate::placement::{Key, Kind, Shards, place};
use crate::pool::CpuPool;
use crate::registry::store_error;
use crate::served::{ServedIndex, ServedPlane, ServedTable, Serving};
use crate::store::{IndexManifest, Manifest, Store};

/// Loads one shard's part of whole generations.
pub struct Loader {
    /// The shard.
    pub shard: u32,
    /// Where epochs are.
    pub store: Store,
    /// Where the hint's planes are encoded.
    pub pool: CpuPool,
}

impl Loader {
    /// Every table of a map. What a generation of `held` has at the same epoch and the same shards is
    /// shared with it, so that a new epoch of one table costs nothing for the others.
    ///
    /// # Errors
    /// The first table that cannot be loaded, with the object of the store that is missing or damaged.
    pub async fn load(&self, map: &Map, held: &[Arc<Serving>]) -> Result<Serving, NodeError> {
        let mut tables = BTreeMap::new();
        for (name, epoch) in &map.tables {
            let table = match find_held(held, map, name, *epoch) {
                // An epoch that is still in memory may be gone from the store: whoever starts next
                // could not load it.
                Some(table) => self.store.manifest(name, *epoch).await.map(|_| table),
                None => Ok(Arc::new(self.load_table(&map.shards, name, *epoch).await?)),
            };
            tables.insert(name.clone(), table.map_err(store_error)?);
        }
        Ok(Serving { map: map.clone(), tables, missing: BTreeMap::new() })
    }

    /// As [`Loader::load`] for a map that is active already: a table that cannot be loaded is left
    /// out and named, so that one damaged table does not take the others with it.
    pub async fn load_what_can_be(&self, map: &Map, held: &[Arc<Serving>]) -> Serving {
        let (mut tables, mut missing) = (BTreeMap::new(), BTreeMap::new());
        for (name, epoch) in &map.tables {
            let table = match find_held(held, map, name, *epoch) {
                Some(table) => Ok(table),
                None => self.load_table(&map.shards, name, *epoch).await.map(Arc::new),
            };
            match table {
                Ok(table) => drop(tables.insert(name.clone(), table)),
                Err(error) => drop(missing.insert(name.clone(), error.to_string())),
            }
        }
        Serving { map: map.clone(), tables, missing }
    }

    async fn load_table(
        &self,
        shards: &Shards,
        name: &str,
        epoch: u64,
    ) -> Result<ServedTable, NodeError> {
        let manifest = Arc::new(self.store.manifest(name, epoch).await.map_err(store_error)?);
        let mut indexes = BTreeMap::new();
        for index in &manifest.indexes {
            let served = self.load_index(shards, &manifest, index).await?;
            indexes.insert(index.column, Arc::new(served));
        }
        Ok(ServedTable { manifest, indexes })
    }

    async fn load_index(
        &self,
        shards: &Shards,
        manifest: &Manifest,
        index: &IndexManifest,
    ) -> Result<ServedIndex, NodeError> {
        let (geometry, column) = (index.geometry, index.column);
        let assignment = assign(shards, manifest.schema.table(), index);
        let mut partitions = Vec::new();
        for &number in assignment.partitions(self.shard) {
            let bytes =
                self.store.partition(manifest, column, number).await.map_err(store_error)?;
            let partition = Partition::try_from((bytes, &geometry)).map_err(NodeError::internal)?;
            partitions.push((number, partition));
        }
        let (salt, variant) = (manifest.salt, index.variant);
        let mut public_parts = Vec::with_capacity(geometry.planes());
        for plane in 0..geometry.planes() {
            let part = self.store.public_part(manifest, column, plane).await;
            public_parts.push(part.map_err(store_error)?);
        }
        let mut planes = Vec::new();
        let own = assignment.planes(self.shard);
        // 1 MiB of factors, which a shard without planes need not compute.
        let elements = move || Chain::new(&PublicElements::new(&salt, column, variant));
        let chain = match own {
            [] => None,
            _ => Some(Arc::new(self.pool.run(elements).await?)),
        };
        for (&number, chain) in own.iter().zip(chain.iter().cycle()) {
            let plane = usize::from(number);
            let hint = self.store.plane(manifest, column, plane).await.map_err(store_error)?;
            let (chain, public_part) = (Arc::clone(chain), public_parts.get(plane).cloned());
            let encode = move || encode(&chain, hint, &public_part.unwrap_or_default());
            let (hint, tables) = self.pool.run(encode).await?.map_err(NodeError::internal)?;
            let tables = tables.ok_or_else(|| {
                NodeError::Store(format!(
                    "plane {plane} of column {column} and its public part do not belong together"
                ))
            })?;
            planes.push(ServedPlane { plane: number, hint, tables, registered: OnceCell::new() });
        }
        Ok(ServedIndex {
            column,
            geometry,
            salt,
            assignment,
            partitions,
            planes,
            variant,
            public_parts,
            batcher: Batcher::default(),
            registered_batcher: Batcher::default(),
        })
    }
}

/// A plane's tables, unless they belong to another public part than the one that clients get: their
/// answers would not open.
fn encode(
    chain: &Chain,
    hint: Vec<u32>,
    public_part: &[u8],
) -> Result<(Vec<u32>, Option<PlaneTables>), InlineError> {
    let tables = chain.tables(&hint)?;
    let fits = *tables.public() == PublicPart::from_bytes(public_part)?;
    Ok((hint, fits.then_some(tables)))
}

fn find_held(held: &[Arc<Serving>], map: &Map, name: &str, epoch: u64) -> Option<Arc<ServedTable>> {
    held.iter()
        .filter(|serving| serving.map.shards == map.shards)
        .filter_map(|serving| serving.tables.get(name))
        .find(|table| table.manifest.epoch == epoch)
        .cloned()
}

/// Placement of one index's partitions and planes.
fn assign(shards: &Shards, table: &str, index: &IndexManifest) -> Assignment {
    let owners = |kind, count: usize| {
        // At most 1024 partitions and four planes.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let key = Key { table, column: index.column, kind };
        place(&key, count, shards).into_iter().map(|shard| shard.0).collect::<Vec<u32>>()
    };
    let planes = owners(Kind::Planes, index.geometry.planes());
    Assignment::new(owners(Kind::Partitions, index.geometry.partitions() as usize), &planes)
}
