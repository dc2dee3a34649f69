//! Removing epochs: old ones, those that a dead writer left incomplete, and tombstones.

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

/// How many times as long as a writer may be silent a tombstone stays, against one that is alive
/// after all.
const TOMBSTONE_TIMES: u32 = 24;

impl Store {
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
    /// numbers. Dead is an earlier process of the caller's node, and any writer that has not
    /// written for `idle`. If the latter is alive after all, its
    /// [`publish`](crate::EpochWriter::publish) fails.
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
    pub(crate) async fn give_up(&self, table: &str, epoch: u64) -> Result<bool, StoreError> {
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
}
