//! Writes one epoch.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::PublicPart;
use tokio::sync::RwLock;

use crate::claim::{Claim, Writer};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::manifest::{Manifest, SegmentRef, plane_bytes};
use crate::names::{self, claim_path, manifest_path, within};
use crate::segment::{self, HEADER_BYTES, Kind};
use crate::store::Store;
use crate::time::UnixMillis;

/// The writer of one epoch. If it is dropped before [`publish`](Self::publish) has succeeded, it
/// removes what it wrote, in the background if a tokio runtime runs.
#[derive(Debug)]
pub struct EpochWriter {
    store: Store,
    table: String,
    epoch: u64,
    closed: bool,
    /// Each put holds a read lock while it runs. A put that has begun is not cancelled, so giving
    /// up the epoch must wait for all of them.
    puts: Arc<RwLock<()>>,
}

impl Store {
    /// Takes the table's next epoch number. Concurrent callers get different ones.
    pub async fn claim(
        &self,
        table: &str,
        writer: &Writer,
        created: UnixMillis,
    ) -> Result<EpochWriter, StoreError> {
        let mut epoch = self.numbers(table).await?.last().map_or(1, |last| last.saturating_add(1));
        let claim = serde_json::to_vec(&Claim::new(writer.clone(), created));
        let bytes = claim.map_err(|error| StoreError::inconsistent(table, epoch, error))?;
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
}

impl EpochWriter {
    pub(crate) fn new(store: Store, table: String, epoch: u64) -> Self {
        Self { store, table, epoch, closed: false, puts: Arc::default() }
    }

    /// The epoch's number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes the whitened bytes of a partition.
    pub async fn put_partition(
        &self,
        column: u32,
        geometry: &Geometry,
        partition: u32,
        bytes: Vec<u8>,
    ) -> Result<SegmentRef, StoreError> {
        let object = names::partition_object(column, partition);
        self.put(object, Kind::Partition, geometry.partition_bytes(), bytes).await
    }

    /// Writes a plane of the hint: its geometry's rows of 1024 numbers, row-major.
    pub async fn put_plane(
        &self,
        column: u32,
        geometry: &Geometry,
        plane: usize,
        numbers: &[u32],
    ) -> Result<SegmentRef, StoreError> {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let size = plane_bytes(geometry, plane);
        self.put(names::plane_object(column, plane), Kind::Plane, size, bytes).await
    }

    /// Writes the public part of a plane.
    pub async fn put_public_part(
        &self,
        column: u32,
        plane: usize,
        part: &PublicPart,
    ) -> Result<Digest, StoreError> {
        let bytes = part.to_bytes();
        let digest = Digest(PublicPart::digest(&bytes));
        let object = names::public_part_object(column, plane);
        self.create(within(&self.table, self.epoch, &object), bytes.into()).await?;
        Ok(digest)
    }

    /// Makes the whole epoch visible at once. If this call is cancelled while the manifest is being
    /// written, the epoch may still become visible. It serves no query unless it is proposed later.
    ///
    /// # Errors
    /// [`StoreError::Abandoned`] if another process gave up this epoch;
    /// [`StoreError::Inconsistent`] if the manifest belongs to another epoch or is incomplete.
    pub async fn publish(mut self, manifest: &Manifest) -> Result<(), StoreError> {
        let (table, epoch) = (&self.table, self.epoch);
        let checked = manifest.check(table, epoch);
        checked.map_err(|reason| StoreError::inconsistent(table, epoch, reason))?;
        let bytes = manifest.encode();
        let bytes = bytes.map_err(|error| StoreError::inconsistent(table, epoch, error))?;
        match self.create(manifest_path(table, epoch), bytes.into()).await {
            Ok(()) => {
                self.closed = true;
                Ok(())
            }
            Err(StoreError::Exists { .. }) => {
                Err(StoreError::Abandoned { table: table.clone(), epoch })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what was written. The number is never used again.
    pub async fn abandon(mut self) -> Result<(), StoreError> {
        self.closed = true;
        let _all_done = self.puts.write().await;
        self.store.give_up(&self.table, self.epoch).await.map(drop)
    }

    async fn put(
        &self,
        object: String,
        kind: Kind,
        payload_bytes: usize,
        payload: Vec<u8>,
    ) -> Result<SegmentRef, StoreError> {
        let path = within(&self.table, self.epoch, &object);
        if payload.len() != payload_bytes {
            let reason = format!("{object} has {} bytes, not {payload_bytes}", payload.len());
            return Err(StoreError::inconsistent(&self.table, self.epoch, reason));
        }
        let sealed = tokio::task::spawn_blocking(move || {
            let (header, digest) = segment::header(kind, &payload);
            (PutPayload::from_iter([Bytes::from(header), Bytes::from(payload)]), digest)
        });
        let interrupted = |_| StoreError::Interrupted { object: path.to_string() };
        let (parts, digest): (PutPayload, Digest) = sealed.await.map_err(interrupted)?;
        self.create(path, parts).await?;
        Ok(SegmentRef { object, bytes: (HEADER_BYTES + payload_bytes) as u64, digest })
    }

    /// Creates an object. The put continues if the caller is cancelled.
    async fn create(&self, path: Path, parts: PutPayload) -> Result<(), StoreError> {
        let store = self.store.clone();
        let under_way = Arc::clone(&self.puts).read_owned().await;
        let object = path.to_string();
        let put = tokio::spawn(async move {
            let mut created = store.create(&path, parts.clone()).await;
            // A request whose response was lost is sent again, and then finds its own object.
            if let Err(StoreError::Exists { .. }) = created
                && store.holds(&path, &parts).await?
            {
                created = Ok(());
            }
            drop(under_way);
            created
        });
        put.await.map_err(|_| StoreError::Interrupted { object })?
    }
}

impl Drop for EpochWriter {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, table, epoch) = (self.store.clone(), self.table.clone(), self.epoch);
        let puts = Arc::clone(&self.puts);
        runtime.spawn(async move {
            let _all_done = puts.write().await;
            if let Err(error) = store.give_up(&table, epoch).await {
                tracing::warn!(%error, table, epoch, "cannot clean up; a later load will");
            }
        });
    }
}
