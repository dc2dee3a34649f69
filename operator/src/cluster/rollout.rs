//! Which pods are replaced now.
//!
//! The sets have the strategy `OnDelete`: their controller makes pods and never replaces one that
//! is there. So a template may be written to all sets at once, whatever it is, and the operator
//! alone decides which pod goes, over the whole cluster. A pod is outdated if its revision is not
//! the newest of its set. Templates are never compared: what an admission policy makes of one is in
//! the revision, as is what `kubectl rollout restart` adds.
//!
//! **Guarantees.**
//! - A pod that serves is replaced only while every other pod of the cluster is available: one at a
//!   time, and none before the one that took the place of the last has been ready for some seconds.
//! - So a template that does not work reaches one pod.
//! - An outdated pod that does not serve is replaced at once: it has nothing to lose, and a mistake
//!   can be corrected.
//! - A pod that lacks a table which another pod of its shard serves holds up the others, which
//!   might be the last to serve it. It is replaced before them: a new template may be what mends
//!   it.
//! - The leader is the last.
//! - Where a ServiceAccount was made again, nobody hears of the pods that are older, whose tokens
//!   are void. A new pod that serves its peers and waits for those of other shards does not hold
//!   these up: it waits for their successors.

/// Whom a pod serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not there, or is ending.
    Gone,
    /// It serves neither clients nor peers.
    Down,
    /// It has turned clients away and answers its peers: queries go through other shards' pods.
    Peers,
    /// It is ready.
    Ready,
}

/// A pod of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodState {
    /// Its name, whether it is there or not.
    pub(super) name: String,
    /// Whom it serves.
    pub(super) phase: Phase,
    /// Whether it is not as its set would make it now. Never while that is not known.
    pub(super) outdated: bool,
    /// Whether it lacks a table that another pod of the shard serves.
    pub(super) lacks: bool,
    /// Whether it leads the cluster.
    pub(super) leads: bool,
    /// Whether the API server no longer takes its token: it is outdated for that.
    pub(super) void: bool,
}

/// A shard's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardState {
    /// Whether its set exists, and its controller has seen what it shall be.
    pub(super) settled: bool,
    /// Whether its set's controller counts all pods as available. It hears of pods later than
    /// `phase` does.
    pub(super) available: bool,
    /// By their numbers.
    pub(super) pods: Vec<PodState>,
}

impl ShardState {
    /// Whether all is done and every pod is available.
    pub(super) fn whole(&self) -> bool {
        self.settled && self.available && self.pods.iter().all(PodState::is_done)
    }

    /// Whether any pod serves.
    pub(super) fn serves(&self) -> bool {
        self.pods.iter().any(|pod| matches!(pod.phase, Phase::Ready | Phase::Peers))
    }

    /// Why no pod that serves may be replaced. Where tokens are `void`, a new pod may miss whom it
    /// cannot hear of.
    fn holds(&self, shard: usize, void: bool) -> Option<Hold> {
        if !self.settled {
            return Some(Hold::Set(shard));
        }
        let held = self.pods.iter().find(|pod| pod.holds(void));
        let held = held.map(|pod| Hold::Pod(pod.name.clone()));
        let waits = !self.available && self.pods.iter().all(|pod| pod.phase == Phase::Ready);
        held.or(waits.then_some(Hold::Set(shard)))
    }
}

impl PodState {
    /// Whether it is as it shall be.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Ready && !self.outdated && !self.lacks
    }

    /// Whether it holds up the others, and is not to be replaced itself.
    fn holds(&self, void: bool) -> bool {
        match self.phase {
            Phase::Gone | Phase::Down => true,
            Phase::Peers => !self.outdated && !void,
            Phase::Ready => self.lacks && !self.outdated,
        }
    }
}

/// What a replacement waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// This pod.
    Pod(String),
    /// What the controller of this shard's set says next.
    Set(usize),
}

/// Which pods are replaced now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// Names of the pods.
    pub(super) pods: Vec<String>,
    /// What outdated pods wait for.
    pub(super) hold: Option<Hold>,
}

/// Decides for all shards.
pub(super) fn next_replacement(shards: &[ShardState]) -> Replacement {
    let outdated = || shards.iter().flat_map(|shard| &shard.pods).filter(|pod| pod.outdated);
    let down: Vec<_> = outdated().filter(|pod| pod.phase == Phase::Down).collect();
    if !down.is_empty() {
        return Replacement { pods: down.iter().map(|pod| pod.name.clone()).collect(), hold: None };
    }
    // Highest number first, as Kubernetes does it.
    let serving = shards.iter().flat_map(|shard| shard.pods.iter().rev());
    let serving = serving.filter(|pod| pod.outdated && pod.phase != Phase::Gone);
    let next = serving.min_by_key(|pod| (pod.phase == Phase::Ready, !pod.lacks, pod.leads));
    let Some(next) = next else { return Replacement::default() };
    let void = shards.iter().flat_map(|shard| &shard.pods).any(|pod| pod.void);
    let mut holds =
        shards.iter().enumerate().filter_map(|(number, shard)| shard.holds(number, void));
    match holds.next() {
        None => Replacement { pods: vec![next.name.clone()], hold: None },
        hold => Replacement { pods: Vec::new(), hold },
    }
}

#[cfg(test)]
#[path = "rollout/tests.rs"]
mod tests;
