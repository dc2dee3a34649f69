//! The epochs of a table: those in the store, the one to serve, and those in use.

use std::collections::BTreeSet;

use opaque_crds::OpaqueTable;
use opaque_crds::table::report::{Report, Stage};
use opaque_crds::table::{Epoch, OpaqueTableStatus, Preparation, RejectedEpoch};

use super::map_view::MapView;
use crate::text::clip;

/// Maximum epochs in a status, as in its schema.
const MOST_EPOCHS: usize = 128;
/// Maximum searchable columns in a status, as in its schema.
const MOST_COLUMNS: usize = 256;

/// Which epoch to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The epoch; `None` keeps the current one.
    pub epoch: Option<i64>,
    /// Why it is not the epoch that the spec requests.
    pub problem: Option<Problem>,
}

/// Why the epoch that the spec requests cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// `spec.epoch` is not among the stored epochs.
    Unknown {
        /// The requested epoch.
        epoch: i64,
        /// The stored epochs, newest first.
        known: Vec<i64>,
    },
    /// The nodes rejected it.
    Rejected {
        /// The epoch.
        epoch: i64,
        /// The leader's reason.
        reason: String,
    },
}

/// Chooses the pinned epoch, or else the newest that was not rejected. A rejection counts until the
/// spec changes.
pub(super) fn choose(table: &OpaqueTable, status: &OpaqueTableStatus) -> Choice {
    let generation = table.metadata.generation.unwrap_or(0);
    let rejected = |epoch: &Epoch| {
        epoch.rejected.clone().filter(|rejected| rejected.observed_generation >= generation)
    };
    let wanted = match table.spec.epoch {
        None => status.epochs.iter().max_by_key(|epoch| epoch.epoch),
        Some(pin) => status.epochs.iter().find(|epoch| epoch.epoch == pin),
    };
    let Some(wanted) = wanted else {
        let known: Vec<i64> = status.epochs.iter().map(|epoch| epoch.epoch).collect();
        let unknown = table.spec.epoch.filter(|_| !known.is_empty());
        let problem = unknown.map(|epoch| Problem::Unknown { epoch, known });
        return Choice { epoch: None, problem };
    };
    let Some(rejection) = rejected(wanted) else {
        return Choice { epoch: Some(wanted.epoch), problem: None };
    };
    let others = status.epochs.iter().filter(|epoch| rejected(epoch).is_none());
    let fallback = match table.spec.epoch {
        Some(_) => None,
        None => others.map(|epoch| epoch.epoch).max(),
    };
    let problem = Problem::Rejected { epoch: wanted.epoch, reason: rejection.reason };
    Choice { epoch: fallback, problem: Some(problem) }
}

/// Adds the result of a Job to the status, if it is new. Recorded rejections are kept. Returns the
/// Job's warning.
pub(super) fn record(status: &mut OpaqueTableStatus, report: Option<&Report>) -> Option<String> {
    let report = report.filter(|report| report.stage == Stage::Done)?;
    if status.source_digest.as_deref() == Some(report.run.as_str()) {
        return None;
    }
    let mut epochs = report.epochs.clone();
    epochs.sort_by_key(|epoch| std::cmp::Reverse(epoch.epoch));
    epochs.dedup_by_key(|epoch| epoch.epoch);
    epochs.truncate(MOST_EPOCHS);
    for epoch in &mut epochs {
        let same = |old: &&Epoch| old.epoch == epoch.epoch && old.digest == epoch.digest;
        epoch.rejected = status.epochs.iter().find(same).and_then(|old| old.rejected.clone());
    }
    let mut geometry = report.geometry.clone();
    geometry.truncate(MOST_COLUMNS);
    status.epochs = epochs;
    status.geometry = geometry;
    status.source_digest = Some(report.run.clone());
    if let Some(Preparation { run, failures, failure, job: _ }) = &mut status.preparation
        && *run == report.run
    {
        *failures = 0;
        *failure = None;
    }
    report.warning.as_deref().map(|warning| clip(warning, 1000))
}

/// Records that the nodes rejected an epoch of the table. The epoch is not proposed again before
/// this is recorded, see [`super::shard_map::propose`].
pub(super) fn remember_rejection(
    table: &OpaqueTable,
    status: &mut OpaqueTableStatus,
    map: Option<&MapView<'_>>,
) {
    let Some((map, rejection)) = map.and_then(|map| Some((map, map.rejection?))) else { return };
    let name = table.sql_name();
    let Some(epoch) = map.proposed_epoch(&name) else { return };
    if map.active_epoch(&name) == Some(epoch) {
        return;
    }
    let Some(entry) = status.epochs.iter_mut().find(|entry| entry.epoch == epoch) else { return };
    if entry.rejected.as_ref().is_some_and(|old| old.map_generation >= rejection.generation) {
        return;
    }
    entry.rejected = Some(RejectedEpoch {
        map_generation: rejection.generation,
        observed_generation: table.metadata.generation.unwrap_or(0),
        reason: clip(&rejection.reason, 1024),
    });
}

/// The epochs that a Job created now must leave in the store: the newest `spec.retainEpochs` epochs
/// of the status, in addition to the one that it builds, and those in use. All others are removed
/// from the status.
///
/// The map and the pin may change many times before the Job removes old epochs. But only epochs in
/// the status are proposed, and the Job must report before new ones are added to it. After the
/// status is written, the Job therefore removes nothing that can be served in between, and a
/// rollback need not wait for it.
pub(super) fn keep(
    table: &OpaqueTable,
    status: &mut OpaqueTableStatus,
    map: Option<&MapView<'_>>,
) -> BTreeSet<i64> {
    let mut keep = in_use(table, status, map);
    let listed: BTreeSet<i64> = status.epochs.iter().map(|entry| entry.epoch).collect();
    let newest = usize::try_from(table.spec.retain_epochs).unwrap_or(0);
    keep.extend(listed.iter().rev().take(newest));
    status.epochs.retain(|entry| keep.contains(&entry.epoch));
    keep
}

/// The epochs in use: served, proposed, pinned or about to be proposed, and the one before the
/// served epoch, which earlier queries still use.
fn in_use(
    table: &OpaqueTable,
    status: &OpaqueTableStatus,
    map: Option<&MapView<'_>>,
) -> BTreeSet<i64> {
    let name = table.sql_name();
    let active = match map.and_then(|map| map.active) {
        Some(_) => map.and_then(|map| map.active_epoch(&name)),
        // The map is lost, and nodes continue with what they serve.
        None => status.active_epoch,
    };
    let proposed = map.and_then(|map| map.proposed_epoch(&name));
    let numbers = || status.epochs.iter().map(|epoch| epoch.epoch);
    let before = active.and_then(|active| numbers().filter(|epoch| *epoch < active).max());
    let chosen = choose(table, status).epoch;
    let all = [active, proposed, before, table.spec.epoch, chosen];
    all.into_iter().flatten().collect()
}
