//! The leader's decisions: pure functions from state and time to the next step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opaque_store::UnixMillis;

use super::{Map, MemberRecord};
use crate::map::placement::ShardId;

/// Deadlines of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A member whose record is older counts as dead.
    pub member_ttl: Duration,
    /// Shortest wait for the other live replicas, once every shard has one prepared replica. The
    /// leader waits twice as long as it took to cover every shard, but at least this long, and at
    /// most [`stragglers_limit`](Self::stragglers_limit).
    pub stragglers: Duration,
    /// Longest wait for the other live replicas.
    pub stragglers_limit: Duration,
    /// Longest wait for a shard without a prepared replica.
    pub prepare_deadline: Duration,
}

impl Default for Policy {
    /// 5 s of silence, 30 s to 30 min for stragglers, 30 min to prepare.
    fn default() -> Self {
        Self {
            member_ttl: Duration::from_secs(5),
            stragglers: Duration::from_secs(30),
            stragglers_limit: Duration::from_secs(30 * 60),
            prepare_deadline: Duration::from_secs(30 * 60),
        }
    }
}

impl Policy {
    /// How long to wait for the other replicas after every shard was covered, which took `cover`.
    fn patience(&self, cover: Duration) -> Duration {
        cover.saturating_mul(2).max(self.stragglers).min(self.stragglers_limit)
    }
}

/// How long a proposal has waited for its nodes, by the leader's clock. Time in which it [waited
/// for the store](waits_for_store) does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elapsed {
    /// Time since the proposal.
    pub total: Duration,
    /// The part of it until every shard had a prepared replica for the first time; `None` before
    /// that.
    pub until_cover: Option<Duration>,
}

/// The next step of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is proposed.
    Idle,
    /// Nodes are still preparing. Decide again when the state changes or time passes.
    Wait {
        /// The proposed generation.
        generation: u64,
        /// Shards without a prepared live replica.
        missing: Vec<ShardId>,
        /// Live replicas that are still preparing.
        preparing: Vec<String>,
    },
    /// Run the self-test against the proposed generation, and activate it if the test succeeds.
    Test {
        /// The proposed generation.
        generation: u64,
    },
    /// The proposal cannot become active.
    Reject {
        /// The proposed generation.
        generation: u64,
        /// The reason.
        reason: String,
    },
}

/// The members whose record is recent.
pub fn alive<'a>(
    members: &'a [MemberRecord],
    now: UnixMillis,
    ttl: Duration,
) -> impl Iterator<Item = &'a MemberRecord> + 'a {
    members.iter().filter(move |member| now.since(member.heartbeat) <= ttl)
}

/// Whether every shard of `map` has a live replica that answers from its generation, and for each
/// table a live replica that has it.
///
/// A replica answers from a generation as soon as it has prepared it. Its record says so before the
/// generation becomes active. Only some time later does the record name that generation as the
/// active one.
pub fn serving(map: &Map, members: &[MemberRecord], now: UnixMillis, ttl: Duration) -> bool {
    let serving = alive(members, now, ttl).filter(|member| answers(member, map.generation));
    let mut lacking = BTreeMap::<ShardId, BTreeSet<&String>>::new();
    for member in serving {
        let missing = member.missing.keys().collect();
        let lacked_by_all = lacking.get(&member.shard).map(|others| others & &missing);
        lacking.insert(member.shard, lacked_by_all.unwrap_or(missing));
    }
    map.shards.ids().all(|shard| lacking.get(&shard).is_some_and(BTreeSet::is_empty))
}

/// Whether a replica answers from an active generation: it has activated or prepared it, or has
/// already moved on to a newer one that this node has not seen yet.
fn answers(member: &MemberRecord, generation: u64) -> bool {
    member.active_generation >= generation || member.prepared_generation == generation
}

/// Whether every shard of `map` has a live replica that prepared its generation.
pub fn covered(map: &Map, members: &[MemberRecord], now: UnixMillis, ttl: Duration) -> bool {
    let prepared: BTreeSet<ShardId> = alive(members, now, ttl)
        .filter(|member| member.prepared_generation == map.generation)
        .map(|member| member.shard)
        .collect();
    map.shards.ids().all(|shard| prepared.contains(&shard))
}

/// Whether a shard waits for the store: none of its live replicas has prepared `map`, and one of
/// those that still may cannot read the store. Such time is no reason to reject the proposal.
pub fn waits_for_store(
    map: &Map,
    members: &[MemberRecord],
    now: UnixMillis,
    ttl: Duration,
) -> bool {
    let has_failed = |member: &MemberRecord| {
        member.failed.as_ref().is_some_and(|failed| failed.generation == map.generation)
    };
    map.shards.ids().any(|shard| {
        let mut waiting = false;
        for member in alive(members, now, ttl).filter(|member| member.shard == shard) {
            if member.prepared_generation == map.generation {
                return false;
            }
            waiting |= member.store.is_some() && !has_failed(member);
        }
        waiting
    })
}

/// Decides on the proposed map, which has [waited](Elapsed) for `waited`.
///
/// A generation can be tested once every shard has a live replica that prepared it. The leader then
/// waits for the other live replicas for a while, so that the switch does not leave a shard with
/// one replica. The wait is proportional to the time that the first replicas needed, since the
/// others have as much to load. It is bounded, since a replica that hangs must not block a load. If
/// all live replicas of a shard failed to prepare, the proposal is rejected immediately.
pub fn next_step(
    proposed: Option<&Map>,
    waited: Elapsed,
    members: &[MemberRecord],
    now: UnixMillis,
    policy: &Policy,
) -> Step {
    let Some(map) = proposed else { return Step::Idle };
    let generation = map.generation;
    let mut missing = Vec::new();
    let mut preparing = Vec::new();
    for shard in map.shards.ids() {
        let mut prepared = 0;
        let mut pending = Vec::new();
        let mut failure = None;
        for member in alive(members, now, policy.member_ttl).filter(|m| m.shard == shard) {
            match &member.failed {
                _ if member.prepared_generation == generation => prepared += 1,
                Some(failed) if failed.generation == generation => {
                    failure = Some((&member.node, &failed.reason));
                }
                Some(_) | None => pending.push(member.node.clone()),
            }
        }
        if prepared == 0 {
            if let (Some((node, reason)), true) = (failure, pending.is_empty()) {
                let reason = format!("shard {shard}: node {node} cannot prepare it: {reason}");
                return Step::Reject { generation, reason };
            }
            missing.push(shard);
        }
        preparing.extend(pending);
    }
    let impatient = waited
        .until_cover
        .is_some_and(|cover| waited.total.saturating_sub(cover) > policy.patience(cover));
    if missing.is_empty() && (preparing.is_empty() || impatient) {
        return Step::Test { generation };
    }
    if !missing.is_empty() && waited.total > policy.prepare_deadline {
        let shards: Vec<String> = missing.iter().map(ShardId::to_string).collect();
        let (seconds, shards) = (policy.prepare_deadline.as_secs(), shards.join(", "));
        let reason = format!("no replica prepared it within {seconds} s on shard {shards}");
        return Step::Reject { generation, reason };
    }
    Step::Wait { generation, missing, preparing }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]
mod tests;
