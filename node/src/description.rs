//! What clients are told about a table.

use opaque_proto::v1;

use crate::store::Manifest;

/// A manifest as clients see it.
pub fn description(manifest: &Manifest, generation: u64) -> v1::TableDescription {
    let index = |index: &crate::store::IndexManifest| v1::Index {
        column: index.column,
        bucket_bytes: u32::try_from(index.geometry.bucket_bytes()).unwrap_or(u32::MAX),
        buckets: index.geometry.buckets(),
        page_rows: index.geometry.page_rows(),
        non_null_rows: index.non_null_rows,
        params_id: index.geometry.params_id().as_bytes().to_vec().into(),
        variant: index.variant.name().to_owned(),
        public_parts: index.public_parts.iter().map(|digest| digest.0.to_vec().into()).collect(),
    };
    v1::TableDescription {
        schema: Some((&manifest.schema).into()),
        epoch: manifest.epoch,
        generation,
        rows: manifest.rows,
        salt: manifest.salt.0.to_vec().into(),
        indexes: manifest.indexes.iter().map(index).collect(),
    }
}
