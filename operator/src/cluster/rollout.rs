//! Decides which pods are replaced now.
//!
//! The sets have the strategy `OnDelete`: their controller creates pods and never replaces an
//! existing one. A template may therefore be written to all sets at once, and only the operator
//! decides, across the whole cluster, which pod is replaced. A pod is outdated if its revision is
//! not the newest of its set. Templates are never compared: the revision includes the changes of an
//! admission policy and of `kubectl rollout restart`.
//!
//! **Guarantees.**
//! - A serving pod is replaced only while every other pod of the cluster is available. Pods are
//!   therefore replaced one at a time, and the next replacement starts only after the previous
//!   successor has been ready for some seconds.
//! - A template that does not work therefore affects one pod.
//! - An outdated pod that does not serve is replaced at once: nothing is lost, and a mistake can be
//!   corrected.
//! - If a pod lacks a table that another pod of its shard serves, the other pods are not replaced,
//!   because one of them might be the last to serve it. The pod that lacks the table is replaced
//!   first: a new template may fix it.
//! - The leader is replaced last.
//! - If a ServiceAccount was created again, the tokens of older pods are void, and other nodes
//!   learn nothing of these pods. A new pod that serves its peers but waits for such pods of other
//!   shards does not hold up their replacement, because it waits for their successors.

/// Whom a pod serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The pod does not exist or is terminating.
    Gone,
    /// The pod serves neither clients nor peers.
    Down,
    /// The pod turns clients away but answers its peers: queries go through pods of other shards.
    Peers,
    /// The pod is ready.
    Ready,
}

/// The state of a cluster's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodState {
    /// Its name, whether or not it exists.
    pub(super) name: String,
    /// Whom it serves.
    pub(super) phase: Phase,
    /// Whether it differs from what its set would create now. False while that is unknown.
    pub(super) outdated: bool,
    /// Whether it lacks a table that another pod of the shard serves.
    pub(super) lacks: bool,
    /// Whether it is the cluster's leader.
    pub(super) leads: bool,
    /// Whether the API server no longer accepts its token, which makes it outdated.
    pub(super) void: bool,
}

/// The state of a shard's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardState {
    /// Whether its set exists and the set's controller has processed its latest spec.
    pub(super) settled: bool,
    /// Whether the set's controller counts all pods as available. It learns of pods later than
    /// `phase` does.
    pub(super) available: bool,
    /// The pods, ordered by number.
    pub(super) pods: Vec<PodState>,
}

impl ShardState {
    /// Whether the rollout is complete and every pod is available.
    pub(super) fn whole(&self) -> bool {
        self.settled && self.available && self.pods.iter().all(PodState::is_done)
    }

    /// Whether any pod serves.
    pub(super) fn serves(&self) -> bool {
        self.pods.iter().any(|pod| matches!(pod.phase, Phase::Ready | Phase::Peers))
    }

    /// Why no serving pod may be replaced. If tokens are `void`, a new pod may miss peers that it
    /// cannot learn of.
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
    /// Whether the pod is up to date and ready.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Ready && !self.outdated && !self.lacks
    }

    /// Whether it holds up the replacement of others and is not itself to be replaced.
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
    /// The next report of the controller of this shard's set.
    Set(usize),
}

/// Which pods are replaced now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// Names of the pods.
    pub(super) pods: Vec<String>,
    /// What the remaining outdated pods wait for.
    pub(super) hold: Option<Hold>,
}

/// Decides for all shards.
pub(super) fn next_replacement(shards: &[ShardState]) -> Replacement {
    let outdated = || shards.iter().flat_map(|shard| &shard.pods).filter(|pod| pod.outdated);
    let down: Vec<_> = outdated().filter(|pod| pod.phase == Phase::Down).collect();
    if !down.is_empty() {
        return Replacement { pods: down.iter().map(|pod| pod.name.clone()).collect(), hold: None };
    }
    // The highest number goes first, as in Kubernetes.
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
