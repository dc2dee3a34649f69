//! Determines which shards this node reaches, and whether clients should use another node. No I/O.
//!
//! **What.** Every [`Pace::round`], a node greets each shard on the path that queries take
//! ([`Greeter`](crate::map::call::Greeter)). A shard counts as unreachable after two misses in a
//! row. The node's record lists unreachable shards. Answers also tell which generation others
//! serve.
//!
//! **Why clients are turned away** ([`Objection`]):
//! - *cut off*: this node does not reach a shard while another one reaches all of them. If no node
//!   reaches all of them, all nodes stay ready. Clients then receive an error that names the
//!   missing shard.
//! - *behind*: others serve a newer generation, and this node cannot see that in the cluster's
//!   state. Its peers drop the old generation [`Pace::within`] the grace time. After that, no query
//!   can be answered from it.
//!
//! **Limits.** A peer's report of a newer generation counts only while this node cannot read the
//! state, or while the state agrees.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::coordination::MemberRecord;
use crate::map::placement::ShardId;

/// Longest time between two checks of every shard.
const ROUND: Duration = Duration::from_secs(10);
/// Misses in a row after which a shard counts as unreachable.
const MISSES: u32 = 2;
/// Rounds after which a newer generation is forgotten if no answer names it any more.
const REMEMBERED: u32 = 3;
/// Largest number of shards that a message names.
const NAMED: usize = 3;

/// Intervals of the checks, and delays before conclusions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time between two checks of every shard.
    pub round: Duration,
    /// Time between two checks of a shard that was missed.
    pub again: Duration,
    /// Time between two checks of an unreachable shard after a change in the cluster.
    pub soon: Duration,
    /// How long a newer generation must be reported.
    pub behind: Duration,
    /// How long another node must reach what this one does not.
    pub cut_off: Duration,
}

impl Pace {
    /// 10 s, 2 s, 0.5 s, 5 s and 10 s. All are shorter if peers keep a superseded generation for
    /// less than a minute, so that a node that is behind notices it in less than half of that
    /// `grace`.
    pub fn within(grace: Duration) -> Self {
        let round = ROUND.min(grace / 6);
        Self { round, again: round / 5, soon: round / 20, behind: round / 2, cut_off: round }
    }
}

/// What this node knows about its connections to the others.
#[derive(Debug)]
pub struct Reach {
    pace: Pace,
    shards: BTreeMap<ShardId, Look>,
    newer: Option<Newer>,
    /// Since when another node reaches what this one does not.
    elsewhere: Option<Instant>,
}

/// The last check of a shard.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    /// Misses in a row.
    misses: u32,
}

/// A generation above this node's that others serve.
#[derive(Debug, Clone, Copy)]
struct Newer {
    generation: u64,
    since: Instant,
    last: Instant,
}

impl Reach {
    /// The initial state, in which nothing is known.
    pub fn new(pace: Pace) -> Self {
        Self { pace, shards: BTreeMap::new(), newer: None, elsewhere: None }
    }

    /// Those shards of a map that are due for a check. Shards outside the map are forgotten.
    pub fn due(&mut self, shards: impl Iterator<Item = ShardId>, now: Instant) -> Vec<ShardId> {
        let Pace { round, again, soon, .. } = self.pace;
        let known = std::mem::take(&mut self.shards);
        let mut due = Vec::new();
        for shard in shards {
            let look = known.get(&shard);
            let pause = match look.map_or(0, |look| look.misses) {
                0 => round,
                1..MISSES => again,
                MISSES.. => soon,
            };
            if look.is_none_or(|look| now.saturating_duration_since(look.at) >= pause) {
                due.push(shard);
            }
            self.shards.extend(look.map(|look| (shard, *look)));
        }
        due
    }

    /// Records whether a shard answered.
    pub fn asked(&mut self, shard: ShardId, reached: bool, now: Instant) {
        let before = self.shards.get(&shard).map_or(0, |look| look.misses);
        let misses = if reached { 0 } else { before.saturating_add(1) };
        self.shards.insert(shard, Look { at: now, misses });
    }

    /// Shards that were missed at least twice in a row.
    pub fn unreachable(&self) -> Vec<ShardId> {
        let missed = self.shards.iter().filter(|(_, look)| look.misses >= MISSES);
        missed.map(|(shard, _)| *shard).collect()
    }

    /// Records the newest generation that others report. `own` is the active one as this node sees
    /// it. `heard` is `None` if no shard was called.
    pub fn heard(&mut self, own: u64, heard: Option<u64>, now: Instant) {
        if let Some(generation) = heard.filter(|heard| *heard > own) {
            let since = self.newer.map_or(now, |newer| newer.since);
            self.newer = Some(Newer { generation, since, last: now });
        }
        let remembered = self.pace.round * REMEMBERED;
        let holds = |newer: &Newer| {
            newer.generation > own && now.saturating_duration_since(newer.last) <= remembered
        };
        self.newer = self.newer.filter(holds);
    }

    /// A newer generation that this node has failed to see for too long. The caller must compare it
    /// with the cluster's state.
    pub fn suspects(&self, now: Instant) -> Option<u64> {
        let newer = self.newer.as_ref()?;
        let long = now.saturating_duration_since(newer.since) >= self.pace.behind;
        long.then_some(newer.generation)
    }

    /// Records whether another node reaches all shards.
    pub fn another(&mut self, reaches_all: bool, now: Instant) {
        let better = reaches_all && !self.unreachable().is_empty();
        self.elsewhere = better.then(|| self.elsewhere.unwrap_or(now));
    }

    /// Why clients should use another node, if they should. `state` is the active generation
    /// according to the cluster's state, if that could be read after [`suspects`](Self::suspects).
    pub fn objection(&self, own: u64, state: Option<u64>, now: Instant) -> Option<Objection> {
        if let Some(heard) = self.suspects(now)
            && state != Some(own)
        {
            return Some(Objection::Behind { own, heard });
        }
        let since = self.elsewhere?;
        let long = now.saturating_duration_since(since) >= self.pace.cut_off;
        long.then(|| Objection::CutOff { shards: self.unreachable() })
    }
}

/// Whether one of `members`, which are alive, can answer clients at `generation` and reaches every
/// shard. A member that is still switching to that generation counts, since it answers from the
/// previous one.
pub fn reaches_all<'a>(
    mut members: impl Iterator<Item = &'a MemberRecord>,
    own: &str,
    generation: u64,
) -> bool {
    members.any(|member| {
        let serves = member.active_generation == generation
            || member.active_generation > 0 && member.prepared_generation == generation;
        member.node != own && serves && member.unreachable.is_empty()
    })
}

/// Why a node that serves turns clients away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// Others serve a newer generation.
    Behind {
        /// The active generation as this node sees it.
        own: u64,
        /// The generation that others serve.
        heard: u64,
    },
    /// This node does not reach every shard, and another node does.
    CutOff {
        /// The unreachable shards.
        shards: Vec<ShardId>,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { own, heard } => write!(
                f,
                "peers serve generation {heard}, but this node knows of none above {own}: it has \
                 lost its watch of the cluster's state"
            ),
            Self::CutOff { shards } => {
                f.write_str("no replica answers of ")?;
                names(f, shards)?;
                f.write_str(", and other nodes reach every shard")
            }
        }
    }
}

/// The first few shards, and the number of further ones.
fn names(f: &mut fmt::Formatter<'_>, shards: &[ShardId]) -> fmt::Result {
    for (position, shard) in shards.iter().take(NAMED).enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        write!(f, "{comma}shard {shard}")?;
    }
    match shards.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests;
