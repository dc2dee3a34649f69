//! The files of file-backed coordination and the rules for changing them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, Durability, io_error};
use super::map::replaced_by;
use super::{
    Change, CoordinationError, Leader, Map, MemberRecord, Outcome, Snapshot, UnixMillis, Waited,
};
use crate::placement::{self, Shards};

/// The directory's files. The caller holds `state.lock` during each change, and during
/// [`outcome`](Self::outcome), which looks at several files.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A lock's file.
    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn create(&self) -> Result<(), CoordinationError> {
        for path in [self.0.join("members"), self.0.join("rejected")] {
            fs::create_dir_all(&path).map_err(|error| io_error(&path, error))?;
        }
        Ok(())
    }

    pub(super) fn member(&self, node: &str) -> Result<PathBuf, CoordinationError> {
        check_name(node)?;
        Ok(self.0.join("members").join(format!("{node}.json")))
    }

    pub(super) fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError> {
        let mut members: Vec<MemberRecord> = Vec::new();
        for path in files::list(&self.0.join("members"))? {
            // A member may leave between the two looks.
            members.extend(files::read(&path, "opaque-member")?);
        }
        Ok(members)
    }

    pub(super) fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        files::read(&self.0.join("leader.json"), "opaque-leader")
    }

    pub(super) fn next_leader(&self, node: String) -> Result<Leader, CoordinationError> {
        let last = self.leader()?.map_or(0, |leader| leader.token);
        let leader = Leader { node, token: last + 1 };
        let path = self.0.join("leader.json");
        files::write(&path, "opaque-leader", &leader, Durability::Durable)?;
        Ok(leader)
    }

    pub(super) fn active(&self) -> Result<Option<Map>, CoordinationError> {
        read_map(&self.0.join("active.json"))
    }

    /// The active and the proposed map. The proposal is read first: if it becomes active in
    /// between, it is seen as active and no longer as proposed.
    pub(super) fn maps(&self) -> Result<(Option<Map>, Option<Map>), CoordinationError> {
        let proposed = read_map(&self.0.join("proposed.json"))?;
        let active = self.active()?;
        let Some(map) = proposed else { return Ok((active, None)) };
        let newer = active.as_ref().is_some_and(|active| map.generation > active.generation);
        let waits = newer && self.rejection(map.generation)?.is_none();
        Ok((active, waits.then_some(map)))
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, CoordinationError> {
        let (active, proposed) = self.maps()?;
        let (leader, members, waited) = (self.leader()?, self.members()?, self.waited()?);
        Ok(Snapshot { active, proposed, leader, members, waited })
    }

    pub(super) fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError> {
        if let Some(active) = self.active()? {
            return Ok(active);
        }
        let first = Map {
            generation: 1,
            placement: placement::VERSION,
            shards,
            tables: BTreeMap::new(),
            owners: [].into(),
            proposed_at: UnixMillis(0),
        };
        self.write_map("active.json", &first)?;
        Ok(first)
    }

    pub(super) fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let (active, proposed) = self.maps()?;
        let active = active.ok_or(CoordinationError::NotInitialized)?;
        let in_the_way = proposed.as_ref().is_some_and(|map| !change.replaces(map, &active));
        if active.generation != expected || in_the_way {
            return Err(CoordinationError::Conflict {
                expected,
                active: active.generation,
                proposed: proposed.map(|map| map.generation),
            });
        }
        if let Some(same) = proposed.as_ref().filter(|map| change.is_in(map)) {
            return Ok(same.clone());
        }
        if let Some(existing) = change.clashes_with(&active) {
            return Err(CoordinationError::NameTaken { existing });
        }
        let waiting = proposed.map_or(0, |map| map.generation);
        let newest = self.newest_rejected()?.max(active.generation).max(waiting);
        let map = change.apply(&active, newest + 1, now);
        if waiting > 0 {
            // First: a crash in between leaves no proposal, and the newer one has not been answered.
            self.write_rejection(waiting, replaced_by(map.generation))?;
        }
        self.write_map("proposed.json", &map)?;
        Ok(map)
    }

    pub(super) fn activate(&self, token: u64, generation: u64) -> Result<Map, CoordinationError> {
        let map = self.decide(token, generation)?;
        self.write_map("active.json", &map)?;
        files::remove(&self.0.join("proposed.json"))?;
        Ok(map)
    }

    pub(super) fn reject(
        &self,
        token: u64,
        generation: u64,
        reason: String,
    ) -> Result<(), CoordinationError> {
        self.decide(token, generation)?;
        self.write_rejection(generation, reason)?;
        files::remove(&self.0.join("proposed.json"))
    }

    pub(super) fn withdraw(&self, generation: u64, reason: String) -> Result<(), CoordinationError> {
        if self.rejection(generation)?.is_some() {
            return Ok(());
        }
        self.waiting(generation)?;
        self.write_rejection(generation, reason)?;
        files::remove(&self.0.join("proposed.json"))
    }

    pub(super) fn waited(&self) -> Result<Option<Waited>, CoordinationError> {
        files::read(&self.0.join("waited.json"), "opaque-waited")
    }

    pub(super) fn note_wait(&self, token: u64, waited: Waited) -> Result<(), CoordinationError> {
        self.decide(token, waited.generation)?;
        files::write(&self.0.join("waited.json"), "opaque-waited", waited, Durability::Ephemeral)
    }

    /// The proposed map, if the caller leads and it is the one that the caller means.
    fn decide(&self, token: u64, generation: u64) -> Result<Map, CoordinationError> {
        let current = self.leader()?.map_or(0, |leader| leader.token);
        if current != token {
            return Err(CoordinationError::Fenced { token, current });
        }
        self.waiting(generation)
    }

    /// The proposed map, if it is this one.
    fn waiting(&self, generation: u64) -> Result<Map, CoordinationError> {
        let proposed = self.maps()?.1;
        let found = proposed.as_ref().map(|map| map.generation);
        proposed
            .filter(|map| map.generation == generation)
            .ok_or(CoordinationError::NotProposed { generation, proposed: found })
    }

    pub(super) fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError> {
        if let Some(reason) = self.rejection(generation)? {
            return Ok(Outcome::Rejected { reason });
        }
        let (active, proposed) = self.maps()?;
        Ok(if active.is_some_and(|map| generation <= map.generation && generation > 0) {
            Outcome::Activated
        } else if proposed.is_some_and(|map| generation == map.generation) {
            Outcome::Pending
        } else {
            Outcome::Unknown
        })
    }

    fn rejected(&self, generation: u64) -> PathBuf {
        self.0.join("rejected").join(format!("{generation:020}.json"))
    }

    fn write_rejection(&self, generation: u64, reason: String) -> Result<(), CoordinationError> {
        let rejection = Rejection { generation, reason };
        let path = self.rejected(generation);
        files::write(&path, "opaque-rejection", rejection, Durability::Durable)
    }

    fn rejection(&self, generation: u64) -> Result<Option<String>, CoordinationError> {
        let rejection = files::read::<Rejection>(&self.rejected(generation), "opaque-rejection")?;
        Ok(rejection.map(|rejection| rejection.reason))
    }

    /// The newest rejected generation, 0 if none; its number is never used again.
    fn newest_rejected(&self) -> Result<u64, CoordinationError> {
        let newest = files::list(&self.0.join("rejected"))?.pop();
        let number = newest.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
        Ok(number.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    fn write_map(&self, name: &str, map: &Map) -> Result<(), CoordinationError> {
        files::write(&self.0.join(name), "opaque-map", map, Durability::Durable)
    }
}

/// The file that says why a generation was rejected or withdrawn.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejection {
    generation: u64,
    reason: String,
}

fn read_map(path: &Path) -> Result<Option<Map>, CoordinationError> {
    let map: Option<Map> = files::read(path, "opaque-map")?;
    match map {
        Some(map) if map.placement != placement::VERSION => Err(CoordinationError::Corrupt {
            object: path.display().to_string(),
            reason: format!(
                "placement rule {}; this node knows {}",
                map.placement,
                placement::VERSION
            ),
        }),
        map => Ok(map),
    }
}

/// Refuses what would not be a plain file name.
pub(super) fn check_name(node: &str) -> Result<(), CoordinationError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=253).contains(&node.len()) && !node.starts_with('.') && node.bytes().all(good) {
        Ok(())
    } else {
        Err(CoordinationError::NodeName(node.to_owned()))
    }
}
