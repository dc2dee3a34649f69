//! Decides which stored maps to trust, and what a leader writes to correct them. No I/O.
//!
//! **The served map is authoritative.** A file or an object only stores the map. It can be lost,
//! restored from a backup or created again, and none of that may remove tables that are served. A
//! stored map is trusted if it was activated in the object from which it is read, and if neither
//! this node nor any member knows a higher active generation.
//!
//! **Flow.** Every time the state is read, [`read`](Written::read) evaluates it. While the stored
//! map is not trusted, a node continues with the map that it knows, and a node that knows none
//! waits. The leader writes the served map, in steps of one compare-and-swap each
//! ([`mend`](Written::mend)):
//!
//! ```text
//! a newer map that keeps what is served? ─ yes ─→ it is a proposal: the served map is active again
//! exactly the served map, same object?   ─ yes ─→ it is active again
//! neither                                ──────→ propose what is served, above all numbers in use
//! nothing is served: an empty map is activated, one with tables is a proposal
//! ```
//!
//! **Why a second proposal, although the same number might do.** In another history, the number may
//! belong to another map. A number above all others denotes the same map on every node.

use std::collections::BTreeMap;
use std::time::Duration;

use opaque_store::UnixMillis;

use super::{Change, CoordinationError, Loss, Map, MemberRecord, Snapshot, Standing};
use crate::map::placement::{self, Shards};

/// Pause before a rejected first map is proposed again.
const AGAIN: Duration = Duration::from_secs(60);
/// Largest number of lost generations that are recorded as rejected.
const LOST: u64 = 16;
/// The reason for rejecting them.
pub(super) const LOST_REASON: &str = "the shard map was lost before this generation was decided on, and the nodes continued with the previous one: try again";

/// The state that a backend has stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The map that is marked as active.
    pub(super) active: Option<&'a Map>,
    /// The newest map: the active one, a proposed one, or a rejected one.
    pub(super) newest: Option<&'a Map>,
    /// Whether `newest` was rejected.
    pub(super) rejected: bool,
    /// The highest generation that was rejected.
    pub(super) highest_rejected: u64,
    /// UID of the object from which this is read; `None` for files.
    pub(super) uid: Option<&'a str>,
    /// UID of the object in which `active` was activated; `None` if unknown.
    pub(super) active_uid: Option<&'a str>,
}

/// What this node knows of the served map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    /// The newest map that this node has known as active.
    pub(super) known: Option<&'a Map>,
    /// UID of the object from which `known` was read.
    pub(super) known_uid: Option<&'a str>,
    /// The highest generation that this node has ever seen.
    pub(super) heard: u64,
    /// The records of the members, including dead ones.
    pub(super) members: &'a [MemberRecord],
}

/// The effective maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) active: Option<Map>,
    /// UID of the object from which `active` was read.
    pub(super) uid: Option<String>,
    pub(super) proposed: Option<Map>,
    pub(super) standing: Standing,
    /// The highest generation that is known.
    pub(super) highest: u64,
}

impl Reading {
    /// The base of a change of generation `expected`: the active map, and a waiting proposal that
    /// the change may replace.
    ///
    /// # Errors
    /// [`CoordinationError::NotInitialized`] before the first map; [`CoordinationError::Conflict`]
    /// if another generation is active, another proposal waits, or the stored map is not the served
    /// one.
    pub(super) fn before(
        &self,
        change: &Change,
        expected: u64,
    ) -> Result<(&Map, Option<&Map>), CoordinationError> {
        let active = self.active.as_ref().ok_or(CoordinationError::NotInitialized)?;
        let proposed = self.proposed.as_ref();
        let in_the_way = proposed.is_some_and(|map| !change.replaces(map, active));
        if active.generation != expected || in_the_way || self.standing.is_lost() {
            return Err(self.conflict(expected));
        }
        Ok((active, proposed))
    }

    /// Why a change of generation `expected` cannot be proposed.
    pub(super) fn conflict(&self, expected: u64) -> CoordinationError {
        CoordinationError::Conflict {
            expected,
            active: self.active.as_ref().map_or(0, |map| map.generation),
            proposed: self.proposed.as_ref().map(|map| map.generation),
        }
    }
}

/// The next write of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mend {
    /// Nothing.
    Nothing,
    /// Mark this map as active. A proposal stays.
    Activate(Map),
    /// Mark no map as active, since the one that is marked cannot be replaced by an older one.
    Forget,
    /// Propose this map.
    Propose(Map),
}

impl Mend {
    /// Logs what is being repaired.
    pub(super) fn log(&self) {
        match self {
            Self::Nothing => {}
            Self::Activate(map) => {
                tracing::warn!(
                    map.generation,
                    "the stored shard map is not the served one; marking the served one as active"
                );
            }
            Self::Forget => {
                tracing::warn!("the stored shard map is not the served one; clearing it")
            }
            Self::Propose(map) => {
                tracing::warn!(
                    map.generation,
                    "the stored shard map is not the served one; proposing the served one again"
                );
            }
        }
    }
}

impl<'a> Written<'a> {
    /// The state of an empty backend.
    #[cfg(feature = "kubernetes")]
    pub(super) fn nothing() -> Self {
        let (active, newest, uid, active_uid) = (None, None, None, None);
        Self { active, newest, rejected: false, highest_rejected: 0, uid, active_uid }
    }

    /// The effective maps. `active` never goes back.
    pub(super) fn read(&self, served: &Served<'_>) -> Reading {
        let (known, believed) = (served.known, self.believed(served));
        // If two maps have the same generation, the known one stays, since this node may be serving
        // it.
        let newer = believed.filter(|map| known.is_none_or(|k| k.generation < map.generation));
        let active = newer.or(known);
        let uid = if believed.is_some() { self.uid } else { served.known_uid };
        let above = active.map_or(0, |map| map.generation);
        Reading {
            active: active.cloned(),
            uid: uid.map(str::to_owned),
            proposed: self.follows(served, above).cloned(),
            standing: self.standing(served),
            highest: self.highest(served),
        }
    }

    /// The map that a leader may activate or reject.
    pub(super) fn proposal(&self, served: &Served<'_>) -> Option<&'a Map> {
        let active = self.active.map_or(0, |map| map.generation);
        self.follows(served, active.max(served.generation()))
    }

    /// The next write of a leader that makes the stored map the served one.
    pub(super) fn mend(&self, served: &Served<'_>, shards: &Shards, now: UnixMillis) -> Mend {
        if self.believed(served).is_some() {
            return Mend::Nothing;
        }
        let generation = served.generation();
        if generation == 0 {
            return self.first(served, shards, now);
        }
        let known = served.known.filter(|map| map.generation == generation);
        let map = known.cloned().unwrap_or_else(|| self.assembled(served, shards, now));
        match self.newest {
            None if known.is_some() => self.activate(map),
            Some(newest) if newest.generation > generation && served.is_kept_by(newest) => {
                self.activate(map)
            }
            Some(newest) if is_same(newest, &map) && !self.is_of_another(served) => {
                self.activate(newest.clone())
            }
            Some(newest) if known.is_none() && !self.rejected => {
                // A table that no replica can load is in no record.
                let mut map = map;
                for (table, epoch) in &newest.tables {
                    map.tables.entry(table.clone()).or_insert(*epoch);
                }
                map.owners.extend(newest.owners.clone());
                Mend::Propose(self.again(served, map, now))
            }
            None | Some(_) => Mend::Propose(self.again(served, map, now)),
        }
    }

    /// Proposed generations that are lost when `active` becomes active again: the newest of them,
    /// oldest first. Their numbers are never used again.
    pub(super) fn lost(&self, served: &Served<'_>, active: &Map) -> impl Iterator<Item = u64> {
        let newest = self.newest.map(|map| map.generation);
        let last = served.highest();
        let first = (active.generation + 1).max(last.saturating_sub(LOST - 1));
        (first..=last).filter(move |generation| Some(*generation) != newest)
    }

    /// The active map, if it can be trusted.
    fn believed(&self, served: &Served<'_>) -> Option<&'a Map> {
        let generation = served.generation();
        self.active.filter(|map| !self.is_foreign() && map.generation >= generation)
    }

    /// Whether the map was activated in another object.
    fn is_foreign(&self) -> bool {
        self.active_uid.is_some_and(|uid| self.uid != Some(uid))
    }

    /// Whether the served map was read from another object.
    fn is_of_another(&self, served: &Served<'_>) -> bool {
        let generation = served.generation();
        let members = served.members.iter().filter(|m| m.active_generation == generation);
        let mut uids = members.filter_map(|member| member.map.as_deref()).chain(served.known_uid);
        uids.any(|uid| self.uid != Some(uid))
    }

    /// The newest map, if it can become active after generation `above`.
    fn follows(&self, served: &Served<'_>, above: u64) -> Option<&'a Map> {
        let written = self.active.map_or(0, |map| map.generation);
        let newest = self.newest.filter(|_| !self.rejected)?;
        if newest.generation <= above.max(written) {
            return None;
        }
        if self.believed(served).is_some() {
            return Some(newest);
        }
        // A first map without tables needs no test.
        let tests = served.generation() > 0 || !newest.tables.is_empty();
        (tests && served.is_kept_by(newest)).then_some(newest)
    }

    fn standing(&self, served: &Served<'_>) -> Standing {
        let generation = served.generation();
        match self.active {
            _ if self.believed(served).is_some() => Standing::Agreed,
            Some(_) if self.is_foreign() => Standing::Lost(Loss::Foreign),
            None if generation == 0 => Standing::First,
            None if self.newest.is_none() => Standing::Lost(Loss::Missing),
            None => Standing::Lost(Loss::NotActive),
            Some(map) => {
                Standing::Lost(Loss::Older { written: map.generation, served: generation })
            }
        }
    }

    /// Nothing is served: an empty map becomes active, and one with tables must be tested.
    fn first(&self, served: &Served<'_>, shards: &Shards, now: UnixMillis) -> Mend {
        let Some(newest) = self.newest else {
            let generation = self.highest(served) + 1;
            return Mend::Activate(map(generation, shards.clone(), UnixMillis(0)));
        };
        if newest.tables.is_empty() {
            return self.activate(newest.clone());
        }
        let was_active = self.active.is_some_and(|map| map.generation >= newest.generation);
        let pause_is_over = self.rejected && now.since(newest.proposed_at) > AGAIN;
        if was_active || pause_is_over {
            return Mend::Propose(self.again(served, newest.clone(), now));
        }
        Mend::Nothing
    }

    /// An active generation can only be replaced by a higher one while it is stored.
    fn activate(&self, map: Map) -> Mend {
        let stands = |written: &Map| written.generation >= map.generation && *written != map;
        if self.active.is_some_and(stands) { Mend::Forget } else { Mend::Activate(map) }
    }

    /// The same content under a new number.
    fn again(&self, served: &Served<'_>, map: Map, now: UnixMillis) -> Map {
        Map { generation: self.highest(served) + 1, proposed_at: now, ..map }
    }

    /// The highest known number that was ever given to a map.
    fn highest(&self, served: &Served<'_>) -> u64 {
        let written = self.active.into_iter().chain(self.newest).map(|map| map.generation);
        written.chain([self.highest_rejected, served.highest()]).max().unwrap_or(0)
    }

    /// The served map, assembled from the records of members. Records contain no shards and no
    /// owners.
    fn assembled(&self, served: &Served<'_>, shards: &Shards, now: UnixMillis) -> Map {
        let written = || self.newest.into_iter().chain(self.active);
        let shards = written().next().map_or(shards, |map| &map.shards);
        let mut map = map(served.generation(), shards.clone(), now);
        for member in served.members.iter().filter(|m| m.active_generation == map.generation) {
            map.tables.extend(member.tables.clone());
        }
        for (table, owner) in written().flat_map(|map| &map.owners) {
            if map.tables.contains_key(table) {
                map.owners.entry(table.clone()).or_insert_with(|| owner.clone());
            }
        }
        map
    }
}

impl<'a> Served<'a> {
    /// The served map as a node knows it from its last snapshot.
    pub(super) fn new(snapshot: &'a Snapshot, members: &'a [MemberRecord]) -> Self {
        let (known, known_uid) = (snapshot.active.as_ref(), snapshot.map_uid.as_deref());
        Self { known, known_uid, heard: snapshot.highest, members }
    }

    /// The highest active generation; 0 if nothing is served.
    fn generation(&self) -> u64 {
        let known = self.known.map_or(0, |map| map.generation);
        self.members.iter().map(|member| member.active_generation).max().unwrap_or(0).max(known)
    }

    /// The highest generation that any member has seen.
    fn highest(&self) -> u64 {
        let number = |member: &MemberRecord| {
            let failed = member.failed.as_ref().map_or(0, |failed| failed.generation);
            failed.max(member.prepared_generation)
        };
        let heard = self.heard.max(self.generation());
        self.members.iter().map(number).max().unwrap_or(0).max(heard)
    }

    /// Whether a map of unknown origin keeps everything that is served.
    fn is_kept_by(&self, map: &Map) -> bool {
        let generation = self.generation();
        let has = |table: &String| map.tables.contains_key(table);
        // A known map also has the tables that no member can load.
        if let Some(known) = self.known.filter(|known| known.generation == generation) {
            return known.shards == map.shards && known.tables.keys().all(has);
        }
        let mut members = self.members.iter().filter(|m| m.active_generation == generation);
        members.all(|member| member.tables.keys().all(has))
    }
}

/// A map without tables.
fn map(generation: u64, shards: Shards, proposed_at: UnixMillis) -> Map {
    let (tables, owners) = (BTreeMap::new(), BTreeMap::new());
    Map { generation, placement: placement::VERSION, shards, tables, owners, proposed_at }
}

/// Whether two maps are the same, ignoring owners and times.
fn is_same(one: &Map, other: &Map) -> bool {
    (one.generation, &one.shards, &one.tables) == (other.generation, &other.shards, &other.tables)
}

#[cfg(test)]
mod tests;
