//! Paths of an epoch's objects in the store.

use object_store::path::Path;

pub(crate) fn folder(table: &str, epoch: u64) -> Path {
    Path::from_iter(["tables", table, "epochs", &folder_name(epoch)])
}

pub(crate) fn folder_name(epoch: u64) -> String {
    format!("{epoch:020}")
}

pub(crate) fn within(table: &str, epoch: u64, object: &str) -> Path {
    object.split('/').fold(folder(table, epoch), |path, part| path.join(part))
}

pub(crate) fn manifest_path(table: &str, epoch: u64) -> Path {
    within(table, epoch, "manifest.json")
}

pub(crate) fn claim_path(table: &str, epoch: u64) -> Path {
    within(table, epoch, "claim.json")
}

/// Path of a partition's segment in its epoch's folder.
pub(crate) fn partition_object(column: u32, partition: u32) -> String {
    format!("index-{column}/partition-{partition:06}")
}

/// Path of a plane's segment in its epoch's folder.
pub(crate) fn plane_object(column: u32, plane: usize) -> String {
    format!("index-{column}/plane-{plane}")
}

/// Path of a plane's public part in its epoch's folder.
pub(crate) fn public_part_object(column: u32, plane: usize) -> String {
    format!("index-{column}/public-{plane}")
}
