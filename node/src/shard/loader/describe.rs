//! A table without any shard's part. A node uses it to coordinate queries of a table that it cannot
//! load.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use opaque_store::{IndexManifest, Manifest};

use super::{Loader, assign};
use crate::error::NodeError;
use crate::map::assignment::Assignment;
use crate::map::call::Description;
use crate::map::placement::Shards;
use crate::shard::batch::Batcher;
use crate::shard::registry::store_error;
use crate::shard::served::{ServedIndex, ServedTable};

impl Loader {
    /// A table without this shard's part, from its description in the store.
    ///
    /// # Errors
    /// The manifest or a public part is missing or damaged.
    pub async fn describe(
        &self,
        shards: &Shards,
        table: &str,
        epoch: u64,
    ) -> Result<ServedTable, NodeError> {
        let manifest = self.manifest(table, epoch).await?;
        let public_parts = manifest.indexes.iter().map(|index| self.public_parts(&manifest, index));
        let public_parts = try_join_all(public_parts).await?;
        let manifest = Manifest::clone(&manifest);
        Ok(described(shards, Description { manifest, public_parts }))
    }

    /// The public parts of all planes of an index.
    pub(super) async fn public_parts(
        &self,
        manifest: &Manifest,
        index: &IndexManifest,
    ) -> Result<Vec<Bytes>, NodeError> {
        let public_parts = (0..index.geometry.planes()).map(async |plane| {
            let _turn = self.segments.acquire().await.map_err(NodeError::internal)?;
            let part = self.store.public_part(manifest, index.column, plane).await;
            part.map_err(store_error)
        });
        try_join_all(public_parts).await
    }
}

/// A table without any shard's part. A node can coordinate its queries.
pub fn described(shards: &Shards, description: Description) -> ServedTable {
    let Description { manifest, public_parts } = description;
    let indexes = manifest.indexes.iter().zip(public_parts).map(|(index, public_parts)| {
        let assignment = assign(shards, manifest.schema.table(), index);
        let described = describe_index(&manifest, index, assignment, public_parts);
        (index.column, Arc::new(described))
    });
    ServedTable { indexes: indexes.collect(), manifest: Arc::new(manifest) }
}

/// An index without any shard's part.
pub(super) fn describe_index(
    manifest: &Manifest,
    index: &IndexManifest,
    assignment: Assignment,
    public_parts: Vec<Bytes>,
) -> ServedIndex {
    ServedIndex {
        column: index.column,
        geometry: index.geometry,
        salt: manifest.salt,
        seed: manifest.seed(index),
        probe: manifest.probe(index),
        assignment,
        partitions: Vec::new(),
        planes: Vec::new(),
        public_parts,
        batcher: Batcher::default(),
        registered_batcher: Batcher::default(),
    }
}
