//! Removes old epochs, incomplete epochs of dead writers, and tombstones.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;

use crate::claim::Writer;
use crate::epochs::State;
use crate::error::StoreError;
use crate::leftovers;
use crate::manifest::TOMBSTONE;
use crate::names::{claim_path, folder, manifest_path};
use crate::store::Store;
use crate::time::UnixMillis;

/// A tombstone is kept for this many times the period after which a silent writer is presumed dead,
/// in case the writer is alive after all.
const TOMBSTONE_TIMES: u32 = 24;

impl Store {
    /// Makes an epoch invisible and then removes it. Its number is never used again.
    pub async fn delete_epoch(&self, table: &str, epoch: u64) -> Result<(), StoreError> {
        self.replace(&manifest_path(table, epoch), Bytes::from_static(TOMBSTONE)).await?;
        self.clear(table, epoch).await
    }

    /// Removes complete epochs except the newest `keep` (at least one) and those in use. Returns
    /// the removed ones.
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
            // The epoch was complete, so no writer is active, and a newer epoch is kept, so its
            // number is not used again. The tombstone can therefore be removed.
            self.remove(&folder(table, epoch), vec![manifest_path(table, epoch)]).await?;
            self.clear_leftovers(table, epoch).await?;
        }
        Ok(old)
    }

    /// Gives up incomplete epochs whose writer is dead, removes what they wrote, and returns their
    /// numbers. A writer is presumed dead if it was an earlier process of the caller's node, or if
    /// it has written nothing for `idle`. If such a writer is alive after all, its
    /// [`publish`](crate::EpochWriter::publish) fails.
    ///
    /// Also removes old tombstones, except where the epoch's number could be used again.
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
        // A newer complete epoch remains, so that these numbers are not used again.
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
        // On a disk, the folder exists a moment before its first file, the claim.
        let Some(written) = written else { return Ok(false) };
        let written = UnixMillis(written.try_into().unwrap_or(0));
        if now.since(written) <= idle {
            return Ok(false);
        }
        self.bury(table, epoch).await
    }

    /// Gives up an epoch that no writer will publish. Returns `false` if it is complete.
    pub(crate) async fn give_up(&self, table: &str, epoch: u64) -> Result<bool, StoreError> {
        match self.bury(table, epoch).await {
            Err(StoreError::Full { .. }) => {
                // There is no room even for the tombstone: free some first.
                self.clear(table, epoch).await?;
                self.bury(table, epoch).await
            }
            buried => buried,
        }
    }

    /// Writes the tombstone, which prevents the epoch from being published, then removes the rest.
    /// Returns `false` and removes nothing if the epoch is complete.
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

    /// Removes everything of an epoch except its manifest or tombstone. The claim goes last.
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
}
