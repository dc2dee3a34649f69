//! Epochs in the store: claimed, listed, read, deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use opaque_pir::inline::{self, PublicPart};
use serde::{Deserialize, Serialize};

use super::manifest::{self, Manifest, ManifestError, SegmentRef, TOMBSTONE, plane_bytes};
use super::segment::{self, Kind};
use super::{EpochWriter, Store, StoreError, leftovers};
use crate::time::UnixMillis;

/// Most bytes of a claim that is read.
const MAX_CLAIM_BYTES: u64 = 4096;
/// How many times as long as a writer may be silent a tombstone stays, against one that is alive after all.
const TOMBSTONE_TIMES: u32 = 24;

/// Who writes an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// The node's name; one process at a time has it.
    pub node: String,
    /// Drawn at random when the process starts.
    pub incarnation: String,
}

/// The first object of an epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    format: String,
    version: u32,
    writer: Writer,
    created: UnixMillis,
}

/// What the folder of an epoch holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Complete,
    Incomplete,
    Abandoned,
}

impl Store {
    /// The tables that have an epoch, complete or not, by name.
    pub async fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.folders(&Path::from("tables")).await
    }

    /// The complete epochs of a table, oldest first.
    pub async fn epochs(&self, table: &str) -> Result<Vec<u64>, StoreError> {
        let mut complete = Vec::new();
        for epoch in self.numbers(table).await? {
            if self.state(table, epoch).await? == State::Complete {
                complete.push(epoch);
            }
        }
        Ok(complete)
    }

    /// The manifest of a complete epoch.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the epoch is not complete, [`StoreError::Abandoned`] if it never
    /// will be, [`StoreError::OtherParameters`] if another version of Opaque made it,
    /// [`StoreError::Corrupt`] if a byte of the manifest is not as it was written.
    pub async fn manifest(&self, table: &str, epoch: u64) -> Result<Manifest, StoreError> {
        let path = manifest_path(table, epoch);
        let bytes = self.read(&path, manifest::MAX_BYTES).await?;
        if bytes == TOMBSTONE {
            return Err(StoreError::Abandoned { table: table.to_owned(), epoch });
        }
        Manifest::read(&bytes, table, epoch).map_err(|error| match error {
            ManifestError::Corrupt(reason) => StoreError::corrupt(&path, reason),
            ManifestError::OtherParameters(found) => {
                StoreError::OtherParameters { object: path.to_string(), found }
            }
        })
    }

    /// Who wrote an epoch; none if its claim is gone.
    pub async fn writer(&self, table: &str, epoch: u64) -> Result<Option<Writer>, StoreError> {
        match self.read(&claim_path(table, epoch), MAX_CLAIM_BYTES).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|Claim { writer, .. }| writer)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whitened bytes of a partition, row-major, `geometry.partition_bytes()` of them.
    pub async fn partition(
        &self,
        manifest: &Manifest,
        column: u32,
        partition: u32,
    ) -> Result<Bytes, StoreError> {
        let index = manifest.index(column);
        let bytes = index.map_or(0, |index| index.geometry.partition_bytes());
        let segment = index.and_then(|index| index.partitions.get(partition as usize));
        let object = manifest::partition_object(column, partition);
        self.segment(manifest, segment, object, Kind::Partition, bytes).await
    }

    /// A plane of the hint: its geometry's rows of 1024 numbers, row-major.
    pub async fn plane(
        &self,
        manifest: &Manifest,
        column: u32,
        plane: usize,
    ) -> Result<Vec<u32>, StoreError> {
        let index = manifest.index(column);
        let bytes = index.map_or(0, |index| plane_bytes(&index.geometry, plane));
        let segment = index.and_then(|index| index.planes.get(plane));
        let object = manifest::plane_object(column, plane);
        let bytes = self.segment(manifest, segment, object, Kind::Plane, bytes).await?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers.iter().copied().map(u32::from_le_bytes).collect())
    }

    /// The public part of a plane, of [`inline::public_bytes`], as its digest names it.
    pub async fn public_part(
        &self,
        manifest: &Manifest,
        column: u32,
        plane: usize,
    ) -> Result<Bytes, StoreError> {
        let object = manifest::public_part_object(column, plane);
        let path = within(manifest.schema.table(), manifest.epoch, &object);
        let index = manifest.index(column);
        let digest = index.and_then(|index| Some((index, index.public_parts.get(plane)?)));
        let Some((index, digest)) = digest else {
            return Err(StoreError::NotFound { object: path.to_string() });
        };
        let size = inline::public_bytes(index.geometry.plane_rows(plane));
        let bytes = self.read(&path, size as u64).await?;
        if PublicPart::digest(&bytes) != digest.0 {
            return Err(StoreError::corrupt(&path, "the checksum does not hold".to_owned()));
        }
        Ok(bytes)
    }

    /// Takes the table's next epoch number. Concurrent callers get different ones.
    pub async fn claim(
        &self,
        table: &str,
        writer: &Writer,
        created: UnixMillis,
    ) -> Result<EpochWriter, StoreError> {
        let mut epoch = self.numbers(table).await?.last().map_or(1, |last| last.saturating_add(1));
        let claim = Claim {
            format: "opaque-claim".to_owned(),
            version: 1,
            writer: writer.clone(),
            created,
        };
        let bytes = encode(table, epoch, serde_json::to_vec(&claim))?;
        loop {
            match self.create(&claim_path(table, epoch), bytes.clone().into()).await {
                Ok(()) => {
                    let (store, table) = (self.clone(), table.to_owned());
                    return Ok(EpochWriter::new(store, table, epoch));
                }
                Err(StoreError::Exists { .. }) => epoch = epoch.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes an epoch invisible, and then removes it. Its number stays taken.
    pub async fn delete_epoch(&self, table: &str, epoch: u64) -> Result<(), StoreError> {
        self.replace(&manifest_path(table, epoch), Bytes::from_static(TOMBSTONE)).await?;
        self.clear(table, epoch).await
    }

    /// Removes complete epochs except the newest `keep` (at least one) and those in use; gives the
    /// removed ones.
    pub async fn retain(
        &self,
        table: &str,
        keep: usize,
        in_use: &BTreeSet<u64>,
    ) -> Result<Vec<u64>, StoreError> {
        let mut old = self.epochs(table).await?;
        old.truncate(old.len().saturating_sub(keep.max(1)));
        old.retain(|epoch| !in_use.contains(epoch));
        for &epoch in &old {
            self.delete_epoch(table, epoch).await?;
            // It was complete, so that nobody is writing it, and a newer one is kept, so that its
            // number is not given again: the tombstone may go.
            self.remove(&folder(table, epoch), vec![manifest_path(table, epoch)]).await?;
            self.clear_leftovers(table, epoch).await?;
        }
        Ok(old)
    }

    /// Gives up incomplete epochs whose writer is dead and removes what they wrote; gives their
    /// numbers. Dead is an earlier process of the caller's node, and any writer that has not written
    /// for `idle`. If the latter is alive after all, its [`EpochWriter::publish`] fails.
    ///
    /// Removes old tombstones too, except where the epoch's number could be given again.
    pub async fn sweep(
        &self,
        table: &str,
        caller: &Writer,
        now: UnixMillis,
        idle: Duration,
    ) -> Result<Vec<u64>, StoreError> {
        let (mut swept, mut abandoned, mut newest) = (Vec::new(), Vec::new(), 0);
        for epoch in self.numbers(table).await? {
            match self.state(table, epoch).await? {
                State::Complete => newest = epoch,
                State::Abandoned => {
                    self.clear(table, epoch).await?;
                    abandoned.push(epoch);
                }
                State::Incomplete => {
                    if self.give_up_dead(table, epoch, caller, now, idle).await? {
                        swept.push(epoch);
                    }
                }
            }
        }
        // A newer complete epoch stays, so that these numbers are not given again.
        for epoch in abandoned.into_iter().filter(|epoch| *epoch < newest) {
            self.unbury(table, epoch, now, idle.saturating_mul(TOMBSTONE_TIMES)).await?;
        }
        Ok(swept)
    }

    /// Removes the tombstone of an epoch if it is older than `age`.
    async fn unbury(
        &self,
        table: &str,
        epoch: u64,
        now: UnixMillis,
        age: Duration,
    ) -> Result<(), StoreError> {
        let tombstone = manifest_path(table, epoch);
        let Some(meta) = self.head(&tombstone).await? else { return Ok(()) };
        let written = meta.last_modified.timestamp_millis().try_into().unwrap_or(0);
        if now.since(UnixMillis(written)) <= age {
            return Ok(());
        }
        self.remove(&folder(table, epoch), vec![tombstone]).await?;
        self.clear_leftovers(table, epoch).await
    }

    /// Gives up one incomplete epoch if its writer is dead.
    async fn give_up_dead(
        &self,
        table: &str,
        epoch: u64,
        caller: &Writer,
        now: UnixMillis,
        idle: Duration,
    ) -> Result<bool, StoreError> {
        let predecessor = self.writer(table, epoch).await?.is_some_and(|writer| {
            writer.node == caller.node && writer.incarnation != caller.incarnation
        });
        if predecessor {
            return self.give_up(table, epoch).await;
        }
        let objects = self.list(&folder(table, epoch)).await?;
        let written = objects.iter().map(|meta| meta.last_modified.timestamp_millis()).max();
        // On a disk a folder is there a moment before its first file, the claim.
        let Some(written) = written else { return Ok(false) };
        let written = UnixMillis(written.try_into().unwrap_or(0));
        if now.since(written) <= idle {
            return Ok(false);
        }
        self.bury(table, epoch).await
    }

    /// Gives up an epoch that surely nobody will publish; `false` if it is complete.
    pub(super) async fn give_up(&self, table: &str, epoch: u64) -> Result<bool, StoreError> {
        match self.bury(table, epoch).await {
            Err(StoreError::Full { .. }) => {
                // Not even the tombstone fits: make room first.
                self.clear(table, epoch).await?;
                self.bury(table, epoch).await
            }
            buried => buried,
        }
    }

    /// Writes the tombstone, from when on the epoch cannot be published, then removes the rest;
    /// `false`, and nothing is removed, if the epoch is complete.
    async fn bury(&self, table: &str, epoch: u64) -> Result<bool, StoreError> {
        match self.create(&manifest_path(table, epoch), PutPayload::from_static(TOMBSTONE)).await {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => {
                if self.state(table, epoch).await? != State::Abandoned {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
        self.clear(table, epoch).await?;
        Ok(true)
    }

    /// The numbers of all epochs, also of incomplete ones, in order.
    async fn numbers(&self, table: &str) -> Result<Vec<u64>, StoreError> {
        let names = self.folders(&Path::from_iter(["tables", table, "epochs"])).await?;
        let number = |name: &String| name.parse().ok().filter(|&epoch| folder_name(epoch) == *name);
        Ok(names.iter().filter_map(number).collect())
    }

    async fn state(&self, table: &str, epoch: u64) -> Result<State, StoreError> {
        let manifest = self.head(&manifest_path(table, epoch)).await?;
        Ok(match manifest {
            None => State::Incomplete,
            Some(meta) if meta.size == TOMBSTONE.len() as u64 => State::Abandoned,
            Some(_) => State::Complete,
        })
    }

    /// Removes everything of an epoch but its manifest or tombstone, the claim last.
    async fn clear(&self, table: &str, epoch: u64) -> Result<(), StoreError> {
        let kept = [manifest_path(table, epoch), claim_path(table, epoch)];
        let objects = self.list(&folder(table, epoch)).await?;
        let paths = objects.into_iter().map(|meta| meta.location);
        let paths = paths.filter(|path| !kept.contains(path)).collect();
        self.remove(&folder(table, epoch), paths).await?;
        if self.state(table, epoch).await? == State::Abandoned {
            self.remove(&folder(table, epoch), vec![claim_path(table, epoch)]).await?;
        }
        self.clear_leftovers(table, epoch).await
    }

    async fn clear_leftovers(&self, table: &str, epoch: u64) -> Result<(), StoreError> {
        let Some(root) = self.local.clone() else { return Ok(()) };
        let path = folder(table, epoch);
        let object = path.to_string();
        let directory = root.join(&object);
        match tokio::task::spawn_blocking(move || leftovers::remove(&directory)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => {
                let source = object_store::Error::Generic { store: "file", source: source.into() };
                Err(StoreError::of(&path, source))
            }
            Err(_) => Err(StoreError::Interrupted { object }),
        }
    }

    /// Reads and checks a segment outside the executor: hashing takes milliseconds.
    async fn segment(
        &self,
        manifest: &Manifest,
        segment: Option<&SegmentRef>,
        object: String,
        kind: Kind,
        payload_bytes: usize,
    ) -> Result<Bytes, StoreError> {
        let path = within(manifest.schema.table(), manifest.epoch, &object);
        let Some(&SegmentRef { object: _, bytes, digest }) = segment else {
            return Err(StoreError::NotFound { object: path.to_string() });
        };
        let read = self.read(&path, bytes).await?;
        let checked = tokio::task::spawn_blocking(move || {
            let payload = segment::payload(&read, kind, payload_bytes, &digest);
            payload.map(|payload| read.slice_ref(payload))
        });
        match checked.await {
            Ok(payload) => payload.map_err(|reason| StoreError::corrupt(&path, reason)),
            Err(_) => Err(StoreError::Interrupted { object: path.to_string() }),
        }
    }
}

pub(super) fn encode(
    table: &str,
    epoch: u64,
    encoded: Result<Vec<u8>, serde_json::Error>,
) -> Result<Vec<u8>, StoreError> {
    encoded.map_err(|error| StoreError::Inconsistent {
        table: table.to_owned(),
        epoch,
        reason: error.to_string(),
    })
}

fn folder(table: &str, epoch: u64) -> Path {
    Path::from_iter(["tables", table, "epochs", &folder_name(epoch)])
}

fn folder_name(epoch: u64) -> String {
    format!("{epoch:020}")
}

pub(super) fn within(table: &str, epoch: u64, object: &str) -> Path {
    object.split('/').fold(folder(table, epoch), |path, part| path.join(part))
}

pub(super) fn manifest_path(table: &str, epoch: u64) -> Path {
    within(table, epoch, "manifest.json")
}

fn claim_path(table: &str, epoch: u64) -> Path {
    within(table, epoch, "claim.json")
}
