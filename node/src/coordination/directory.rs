//! The files of file-backed coordination, and the rules for changing them.

use std::fs;
use std::path::{Path, PathBuf};

use opaque_store::UnixMillis;
use serde::{Deserialize, Serialize};

use super::files::{self, Durability, io_error};
use super::map::replaced_by;
use super::written::{LOST_REASON, Mend, Reading, Served, Written};
use super::{
    Change, CoordinationError, Leader, Map, MemberRecord, Outcome, Snapshot, Standing, Waited,
};
use crate::map::placement::{self, Shards};

/// The directory's files. The caller holds `state.lock` during each change, and during
/// [`outcome`](Self::outcome), which reads several files.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Path of a lock file.
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
            // A member may leave between listing and reading.
            members.extend(files::read(&path, "opaque-member")?);
        }
        Ok(members)
    }

    pub(super) fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        files::read(&self.0.join("leader.json"), "opaque-leader")
    }

    /// `known` is the last leader that this process has seen, since the file may be gone.
    pub(super) fn next_leader(
        &self,
        node: String,
        known: Option<&Leader>,
    ) -> Result<Leader, CoordinationError> {
        let written = self.leader()?;
        let last = written.iter().chain(known).map(|leader| leader.token).max().unwrap_or(0);
        let leader = Leader { node, token: last + 1 };
        let path = self.0.join("leader.json");
        files::write(&path, "opaque-leader", &leader, Durability::Durable)?;
        Ok(leader)
    }

    /// Reads the stored state. Members are read first, so that a generation that one of them serves
    /// is in the maps. The proposal is read before the active map: if it becomes active in between,
    /// it is read as active and no longer as proposed.
    pub(super) fn state(&self) -> Result<State, CoordinationError> {
        let members = self.members()?;
        let proposed = read_map(&self.0.join("proposed.json"))?;
        let active = read_map(&self.0.join("active.json"))?;
        let above = active.as_ref().map_or(0, |map| map.generation);
        let proposed = proposed.filter(|map| map.generation > above);
        let rejected = match &proposed {
            Some(map) => self.rejection(map.generation)?.is_some(),
            None => false,
        };
        let highest_rejected = self.newest_rejected()?;
        Ok(State { members, active, proposed, rejected, highest_rejected })
    }

    /// The state from the point of view of a node that knows `known`.
    pub(super) fn snapshot(&self, known: &Snapshot) -> Result<Snapshot, CoordinationError> {
        let state = self.state()?;
        let (leader, waited) = (self.leader()?.or_else(|| known.leader.clone()), self.waited()?);
        let Reading { active, uid, proposed, standing, highest } = state.read(known);
        let members = state.members;
        Ok(Snapshot { active, proposed, leader, members, map_uid: uid, standing, highest, waited })
    }

    pub(super) fn initialize(
        &self,
        shards: Shards,
        known: &Snapshot,
    ) -> Result<Map, CoordinationError> {
        let state = self.state()?;
        let Reading { active, standing, .. } = state.read(known);
        if let Some(active) = active {
            return Ok(active);
        }
        if standing != Standing::First {
            return Err(CoordinationError::NotInitialized);
        }
        let served = Served::new(known, &state.members);
        match state.written().mend(&served, &shards, UnixMillis(0)) {
            Mend::Activate(first) => {
                self.write_map("active.json", &first)?;
                Ok(first)
            }
            Mend::Nothing | Mend::Forget | Mend::Propose(_) => {
                Err(CoordinationError::NotInitialized)
            }
        }
    }

    /// Writes the served map, step by step.
    pub(super) fn restore(
        &self,
        lead: &Leader,
        shards: &Shards,
        known: &Snapshot,
        now: UnixMillis,
    ) -> Result<(), CoordinationError> {
        self.check(lead)?;
        loop {
            let state = self.state()?;
            let (written, served) = (state.written(), Served::new(known, &state.members));
            let step = written.mend(&served, shards, now);
            step.log();
            match step {
                Mend::Nothing => return Ok(()),
                Mend::Forget => files::remove(&self.0.join("active.json"))?,
                Mend::Propose(map) => self.write_map("proposed.json", &map)?,
                Mend::Activate(map) => {
                    for generation in written.lost(&served, &map) {
                        if self.rejection(generation)?.is_none() {
                            self.write_rejection(generation, LOST_REASON.to_owned())?;
                        }
                    }
                    self.write_map("active.json", &map)?;
                }
            }
        }
    }

    pub(super) fn propose(
        &self,
        change: Change,
        expected: u64,
        known: &Snapshot,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let state = self.state()?;
        let reading = state.read(known);
        let (active, proposed) = reading.before(&change, expected)?;
        if let Some(same) = proposed.filter(|map| change.is_in(map)) {
            return Ok(same.clone());
        }
        change.check(active)?;
        // Clients cannot change a table that is about to get an owner either.
        proposed.map_or(Ok(()), |waiting| change.check(waiting))?;
        let waiting = proposed.map_or(0, |map| map.generation);
        let newest = state.highest_rejected.max(active.generation).max(waiting);
        let map = change.apply(active, newest + 1, now);
        if waiting > 0 {
            // This comes first: after a crash in between there is no proposal, and the caller of
            // the newer one has received no answer.
            self.write_rejection(waiting, replaced_by(map.generation))?;
        }
        self.write_map("proposed.json", &map)?;
        Ok(map)
    }

    pub(super) fn activate(
        &self,
        lead: &Leader,
        generation: u64,
        known: &Snapshot,
    ) -> Result<Map, CoordinationError> {
        let map = self.decide(lead, generation, known)?;
        self.write_map("active.json", &map)?;
        files::remove(&self.0.join("proposed.json"))?;
        Ok(map)
    }

    pub(super) fn reject(
        &self,
        lead: &Leader,
        generation: u64,
        reason: String,
        known: &Snapshot,
    ) -> Result<(), CoordinationError> {
        self.decide(lead, generation, known)?;
        self.write_rejection(generation, reason)?;
        files::remove(&self.0.join("proposed.json"))
    }

    pub(super) fn withdraw(
        &self,
        generation: u64,
        reason: String,
        known: &Snapshot,
    ) -> Result<(), CoordinationError> {
        if self.rejection(generation)?.is_some() {
            return Ok(());
        }
        self.waiting(generation, known)?;
        self.write_rejection(generation, reason)?;
        files::remove(&self.0.join("proposed.json"))
    }

    pub(super) fn waited(&self) -> Result<Option<Waited>, CoordinationError> {
        files::read(&self.0.join("waited.json"), "opaque-waited")
    }

    pub(super) fn note_wait(
        &self,
        lead: &Leader,
        waited: Waited,
        known: &Snapshot,
    ) -> Result<(), CoordinationError> {
        self.decide(lead, waited.generation, known)?;
        files::write(&self.0.join("waited.json"), "opaque-waited", waited, Durability::Ephemeral)
    }

    /// The proposed map, if the caller leads and `generation` is proposed.
    fn decide(
        &self,
        lead: &Leader,
        generation: u64,
        known: &Snapshot,
    ) -> Result<Map, CoordinationError> {
        self.check(lead)?;
        self.waiting(generation, known)
    }

    /// The proposed map, if it has this generation.
    fn waiting(&self, generation: u64, known: &Snapshot) -> Result<Map, CoordinationError> {
        let state = self.state()?;
        let proposed = state.written().proposal(&Served::new(known, &state.members));
        let found = proposed.map(|map| map.generation);
        proposed
            .filter(|map| map.generation == generation)
            .cloned()
            .ok_or(CoordinationError::NotProposed { generation, proposed: found })
    }

    /// Checks that the caller still leads. Names are compared too, since tokens may repeat if the
    /// file was lost.
    fn check(&self, lead: &Leader) -> Result<(), CoordinationError> {
        let written = self.leader()?;
        if written.as_ref() == Some(lead) {
            return Ok(());
        }
        let current = written.map_or(0, |leader| leader.token);
        Err(CoordinationError::Fenced { token: lead.token, current })
    }

    pub(super) fn outcome(
        &self,
        generation: u64,
        known: &Snapshot,
    ) -> Result<Outcome, CoordinationError> {
        if let Some(reason) = self.rejection(generation)? {
            return Ok(Outcome::Rejected { reason });
        }
        let Reading { active, proposed, .. } = self.state()?.read(known);
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

    /// The newest rejected generation, or 0. Its number is never used again.
    fn newest_rejected(&self) -> Result<u64, CoordinationError> {
        let newest = files::list(&self.0.join("rejected"))?.pop();
        let number = newest.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
        Ok(number.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    fn write_map(&self, name: &str, map: &Map) -> Result<(), CoordinationError> {
        files::write(&self.0.join(name), "opaque-map", map, Durability::Durable)
    }
}

/// The stored state, read at one moment.
pub(super) struct State {
    pub(super) members: Vec<MemberRecord>,
    active: Option<Map>,
    /// A map above the active one. It may have been rejected.
    proposed: Option<Map>,
    rejected: bool,
    highest_rejected: u64,
}

impl State {
    fn written(&self) -> Written<'_> {
        Written {
            active: self.active.as_ref(),
            newest: self.proposed.as_ref().or(self.active.as_ref()),
            rejected: self.rejected,
            highest_rejected: self.highest_rejected,
            uid: None,
            active_uid: None,
        }
    }

    /// The effective maps from the point of view of a node that knows `known`.
    pub(super) fn read(&self, known: &Snapshot) -> Reading {
        self.written().read(&Served::new(known, &self.members))
    }
}

/// The file with the reason why a generation was rejected or withdrawn.
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

/// Refuses names that are not plain file names.
pub(super) fn check_name(node: &str) -> Result<(), CoordinationError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=253).contains(&node.len()) && !node.starts_with('.') && node.bytes().all(good) {
        Ok(())
    } else {
        Err(CoordinationError::NodeName(node.to_owned()))
    }
}
