//! The description of a table that clients receive.

use opaque_pir::index::{RowSizes, Shorter, TableCost};
use opaque_proto::v1;
use opaque_store::Manifest;

/// Lengths of rows, as sent to clients.
fn row_sizes(sizes: &RowSizes) -> v1::RowSizes {
    let RowSizes { total_bytes, longest_row, longest_bytes, shorter } = sizes;
    let shorter = shorter.iter().map(|Shorter { limit, longer_rows, cost }| {
        let TableCost { matrix_bytes, memory_bytes, lookup_micros } = *cost;
        let (limit, longer_rows) = (*limit, *longer_rows);
        v1::ShorterRows { limit, longer_rows, matrix_bytes, memory_bytes, lookup_micros }
    });
    v1::RowSizes {
        total_bytes: *total_bytes,
        longest_row: *longest_row,
        longest_bytes: *longest_bytes,
        shorter: shorter.collect(),
    }
}

/// A manifest, as sent to clients.
pub fn description(manifest: &Manifest, generation: u64) -> v1::TableDescription {
    let index = |index: &opaque_store::IndexManifest| v1::Index {
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
        row_sizes: manifest.sizes.as_ref().map(row_sizes),
        link_mbits: manifest.link.mbits(),
    }
}
