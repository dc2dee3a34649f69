//! The description of a table in transit between two nodes: sent whole, and checked while it is
//! received.

use std::fmt::Display;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use opaque_pir::inline::{PublicPart, public_bytes};
use opaque_proto::v1::{DescribeResponse, describe_response};
use opaque_store::{IndexManifest, MAX_MANIFEST_BYTES, Manifest};

use crate::map::call::{CallError, Description};
use crate::shard::served::ServedTable;
use crate::stream::chunks::{Collector, cut};

/// A table as the messages of an answer. `manifest` is its encoded manifest.
pub(crate) fn messages(
    manifest: Bytes,
    table: &ServedTable,
) -> impl Iterator<Item = DescribeResponse> + use<> {
    let size = describe_response::Part::ManifestBytes(manifest.len() as u64);
    let public_parts = table.indexes.values().flat_map(|index| index.public_parts.clone());
    let bytes: Vec<Bytes> = std::iter::once(manifest).chain(public_parts).collect();
    let chunks = bytes.into_iter().flat_map(cut).map(describe_response::Part::Chunk);
    std::iter::once(size).chain(chunks).map(|part| DescribeResponse { part: Some(part) })
}

/// Reads the description of a table's epoch. Its size is limited to that of the largest valid
/// description, and every public part must match the digest in the manifest.
///
/// # Errors
/// [`CallError::TryAnother`] if anything is wrong with it.
pub(crate) async fn receive(
    messages: impl Stream<Item = Result<DescribeResponse, CallError>>,
    table: &str,
    epoch: u64,
) -> Result<Description, CallError> {
    let mut messages = std::pin::pin!(messages);
    let first = messages.next().await.transpose()?;
    let Some(describe_response::Part::ManifestBytes(size)) = first.and_then(|first| first.part)
    else {
        return Err(malformed("it does not begin with a size"));
    };
    if size > MAX_MANIFEST_BYTES {
        return Err(malformed(format!("a manifest of {size} bytes")));
    }
    let size = usize::try_from(size).map_err(malformed)?;
    let bytes = collect(&mut messages, size).await?;
    let manifest = Manifest::read(&bytes, table, epoch).map_err(malformed)?;
    let mut public_parts = Vec::with_capacity(manifest.indexes.len());
    for index in &manifest.indexes {
        public_parts.push(parts(&mut messages, index).await?);
    }
    match messages.next().await {
        None => Ok(Description { manifest, public_parts }),
        Some(_) => Err(malformed("it goes on after its end")),
    }
}

/// The public parts of one index.
async fn parts(
    messages: &mut (impl Stream<Item = Result<DescribeResponse, CallError>> + Unpin),
    index: &IndexManifest,
) -> Result<Vec<Bytes>, CallError> {
    let mut parts = Vec::with_capacity(index.public_parts.len());
    for (plane, digest) in index.public_parts.iter().enumerate() {
        let size = public_bytes(index.geometry.plane_rows(plane));
        let part = collect(messages, size).await?;
        if PublicPart::digest(&part) != digest.0 {
            return Err(malformed("a public part that the manifest does not name"));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The next `size` bytes.
async fn collect(
    messages: &mut (impl Stream<Item = Result<DescribeResponse, CallError>> + Unpin),
    size: usize,
) -> Result<Bytes, CallError> {
    let mut collector = Collector::new(size);
    while !collector.is_full() {
        let message = messages.next().await.ok_or_else(|| malformed("it ends early"))?;
        match message?.part {
            Some(describe_response::Part::Chunk(chunk)) if !chunk.is_empty() => {
                collector.push(&chunk).map_err(malformed)?;
            }
            _ => return Err(malformed("bytes were expected")),
        }
    }
    collector.finish().map_err(malformed)
}

fn malformed(what: impl Display) -> CallError {
    CallError::TryAnother(format!("a malformed description: {what}"))
}

#[cfg(test)]
mod tests;
