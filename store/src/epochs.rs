//! Lists and reads epochs in the store.

use bytes::Bytes;
use object_store::path::Path;
use opaque_pir::inline::{self, PublicPart};

use crate::error::StoreError;
use crate::manifest::{self, Manifest, ManifestError, SegmentRef, TOMBSTONE, plane_bytes};
use crate::names::{self, folder_name, manifest_path, within};
use crate::segment::{self, Kind};
use crate::store::Store;

/// State of an epoch's folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Complete,
    Incomplete,
    Abandoned,
}

impl Store {
    /// Names of the tables that have an epoch, complete or not.
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
    /// will be, [`StoreError::OtherParameters`] if an incompatible version of Opaque wrote it,
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

    /// The whitened bytes of a partition, row-major; there are `geometry.partition_bytes()`.
    pub async fn partition(
        &self,
        manifest: &Manifest,
        column: u32,
        partition: u32,
    ) -> Result<Bytes, StoreError> {
        let index = manifest.index(column);
        let bytes = index.map_or(0, |index| index.geometry.partition_bytes());
        let segment = index.and_then(|index| index.partitions.get(partition as usize));
        let object = names::partition_object(column, partition);
        self.segment(manifest, segment, object, Kind::Partition, bytes).await
    }

    /// A plane of the hint, row-major: each of its geometry's rows has 1024 numbers.
    pub async fn plane(
        &self,
        manifest: &Manifest,
        column: u32,
        plane: usize,
    ) -> Result<Vec<u32>, StoreError> {
        let index = manifest.index(column);
        let bytes = index.map_or(0, |index| plane_bytes(&index.geometry, plane));
        let segment = index.and_then(|index| index.planes.get(plane));
        let object = names::plane_object(column, plane);
        let bytes = self.segment(manifest, segment, object, Kind::Plane, bytes).await?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers.iter().copied().map(u32::from_le_bytes).collect())
    }

    /// The public part of a plane, [`inline::public_bytes`] long, checked against its digest.
    pub async fn public_part(
        &self,
        manifest: &Manifest,
        column: u32,
        plane: usize,
    ) -> Result<Bytes, StoreError> {
        let object = names::public_part_object(column, plane);
        let path = within(manifest.schema.table(), manifest.epoch, &object);
        let index = manifest.index(column);
        let digest = index.and_then(|index| Some((index, index.public_parts.get(plane)?)));
        let Some((index, digest)) = digest else {
            return Err(StoreError::NotFound { object: path.to_string() });
        };
        let size = inline::public_bytes(index.geometry.plane_rows(plane));
        let bytes = self.read(&path, size as u64).await?;
        if PublicPart::digest(&bytes) != digest.0 {
            return Err(StoreError::corrupt(&path, "the checksum does not match".to_owned()));
        }
        Ok(bytes)
    }

    /// The numbers of all epochs in order, including incomplete ones.
    pub(crate) async fn numbers(&self, table: &str) -> Result<Vec<u64>, StoreError> {
        let names = self.folders(&Path::from_iter(["tables", table, "epochs"])).await?;
        let number = |name: &String| name.parse().ok().filter(|&epoch| folder_name(epoch) == *name);
        Ok(names.iter().filter_map(number).collect())
    }

    pub(crate) async fn state(&self, table: &str, epoch: u64) -> Result<State, StoreError> {
        let manifest = self.head(&manifest_path(table, epoch)).await?;
        Ok(match manifest {
            None => State::Incomplete,
            Some(meta) if meta.size == TOMBSTONE.len() as u64 => State::Abandoned,
            Some(_) => State::Complete,
        })
    }

    /// Reads a segment and checks it on a blocking thread, since hashing takes milliseconds.
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
