//! Decides which replica of a shard loads a proposal, and when: a function without I/O.
//!
//! **Why one at a time.** The memory that a proposal needs is estimated before it is loaded. If the
//! estimate is wrong, the system kills the process. It must not kill every replica of a shard.

use std::time::Duration;

use opaque_store::UnixMillis;

use crate::coordination::MemberRecord;
use crate::map::placement::ShardId;

/// How long to wait for a replica that fell silent while it was preparing. If it was killed, it
/// restarts and reports that. If its machine is gone, it stays silent.
const SILENCE: Duration = Duration::from_secs(2 * 60);

/// How long a live replica with an earlier turn may take to begin.
const BEGINNING: Duration = Duration::from_secs(60);

/// Whether a replica loads a proposal now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// This replica loads now.
    Load,
    /// The named replica comes first.
    After(String),
    /// This replica never loads it, since the named replica ended while it did.
    Never(String),
}

/// Whether the replica `me` of `shard` loads the proposed `generation`. The first live replica by
/// name does. The others follow once one of the shard has prepared it, or once those before them
/// have failed or are gone. If an earlier one has not begun after this replica has `waited` for
/// [`BEGINNING`], it is busy with something else, such as a long start, and is no longer waited
/// for.
pub(super) fn turn(
    generation: u64,
    (me, shard): (&str, ShardId),
    waited: Duration,
    members: &[MemberRecord],
    now: UnixMillis,
    ttl: Duration,
) -> Turn {
    let others = || members.iter().filter(|other| other.shard == shard && other.node != me);
    let silence = |other: &MemberRecord| now.since(other.heartbeat);
    let is_alive = |other: &MemberRecord| silence(other) <= ttl;
    let is_preparing = |other: &MemberRecord| other.preparing == Some(generation);
    let has_failed = |other: &MemberRecord| {
        other.failed.as_ref().is_some_and(|failed| failed.generation == generation)
    };
    if others().any(|other| is_alive(other) && other.prepared_generation == generation) {
        return Turn::Load;
    }
    if let Some(ended) = others().find(|other| is_preparing(other) && has_failed(other)) {
        return Turn::Never(ended.node.clone());
    }
    let comes_first = |other: &&MemberRecord| match is_preparing(other) {
        true => silence(other) <= SILENCE.max(ttl),
        false => {
            let may_begin = waited < BEGINNING && is_alive(other) && !has_failed(other);
            may_begin && other.node.as_str() < me
        }
    };
    others().find(comes_first).map_or(Turn::Load, |other| Turn::After(other.node.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coordination::Failure;
    use crate::shard::replica::ReplicaState;

    const NOW: UnixMillis = UnixMillis(10_000_000);
    const TTL: Duration = Duration::from_secs(10);
    const GENERATION: u64 = 7;

    fn member(node: &str) -> MemberRecord {
        ReplicaState::new(node.into(), 0, String::new(), String::new()).record(NOW, 0)
    }

    fn silent(seconds: u64, member: MemberRecord) -> MemberRecord {
        MemberRecord { heartbeat: UnixMillis(NOW.0 - seconds * 1000), ..member }
    }

    fn failed(generation: u64, member: MemberRecord) -> MemberRecord {
        let failed = Some(Failure { generation, reason: "too large".into() });
        MemberRecord { failed, ..member }
    }

    fn preparing(generation: u64, member: MemberRecord) -> MemberRecord {
        MemberRecord { preparing: Some(generation), ..member }
    }

    fn prepared(generation: u64, member: MemberRecord) -> MemberRecord {
        MemberRecord { prepared_generation: generation, ..member }
    }

    fn turn_of(me: &str, members: &[MemberRecord]) -> Turn {
        turn(GENERATION, (me, ShardId(0)), Duration::ZERO, members, NOW, TTL)
    }

    fn after(node: &str) -> Turn {
        Turn::After(node.to_owned())
    }

    #[test]
    fn the_first_replica_by_name_goes_first_and_the_others_follow_its_success_or_failure() {
        let before = |a: MemberRecord| [a, member("b"), member("c")];
        let first = before(member("a"));
        assert_eq!(turn_of("a", &first), Turn::Load);
        assert_eq!((turn_of("b", &first), turn_of("c", &first)), (after("a"), after("a")));
        let other_shard = before(MemberRecord { shard: ShardId(1), ..member("a") });
        assert_eq!(turn_of("b", &other_shard), Turn::Load);
        let loading = before(preparing(GENERATION, member("a")));
        assert_eq!(turn_of("b", &loading), after("a"));
        let done = before(prepared(GENERATION, member("a")));
        assert_eq!((turn_of("b", &done), turn_of("c", &done)), (Turn::Load, Turn::Load));
        let cannot = before(failed(GENERATION, member("a")));
        assert_eq!((turn_of("b", &cannot), turn_of("c", &cannot)), (Turn::Load, after("b")));
        // Earlier failures and successes do not count.
        let earlier = before(failed(6, prepared(6, member("a"))));
        assert_eq!(turn_of("b", &earlier), after("a"));
        // A replica that does not begin is waited for only a limited time. One that has begun is
        // waited for until the end.
        let late = |members: &[MemberRecord]| {
            turn(GENERATION, ("b", ShardId(0)), BEGINNING, members, NOW, TTL)
        };
        assert_eq!((late(&first), late(&loading)), (Turn::Load, after("a")));
        let gone = before(silent(11, member("a")));
        assert_eq!(turn_of("b", &gone), Turn::Load);
    }

    #[test]
    fn a_replica_that_comes_back_does_not_load_while_the_one_that_began_does() {
        let members = [member("a"), preparing(GENERATION, member("b"))];
        assert_eq!(turn_of("a", &members), after("b"));
    }

    #[test]
    fn a_replica_that_ended_while_it_prepared_is_not_followed() {
        let members = [preparing(GENERATION, failed(GENERATION, member("a"))), member("b")];
        assert_eq!(turn_of("b", &members), Turn::Never("a".to_owned()));
        // The replica has not come back yet. After two minutes, its machine counts as gone.
        let members = |seconds| [silent(seconds, preparing(GENERATION, member("a"))), member("b")];
        assert_eq!(turn_of("b", &members(30)), after("a"));
        assert_eq!(turn_of("b", &members(121)), Turn::Load);
    }

    /// One step of a replica in the model.
    #[derive(Debug, Clone, Copy)]
    enum Act {
        /// The replica checks its turn, and begins if it may.
        Look,
        /// If it is loading, the load kills it.
        Die,
        /// If it is loading, the load succeeds.
        End,
        /// If it is loading, the load fails.
        Fail,
        /// If it is dead, it starts again.
        Return,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => Just(Act::Look),
            1 => Just(Act::Die),
            1 => Just(Act::End),
            1 => Just(Act::Fail),
            2 => Just(Act::Return),
        ]
    }

    proptest! {
        /// Replicas check, die and return within two minutes in any order. A load that kills kills
        /// only one of them, unless another was seen to survive it.
        #[test]
        fn a_shard_loses_one_replica_to_a_proposal(
            acts in prop::collection::vec((0..3_usize, act()), 0..60)
        ) {
            let mut members = ["a", "b", "c"].map(member);
            let mut alive = [true; 3];
            let mut loading = [false; 3];
            let (mut deaths, mut survived) = (0, false);
            for (at, act) in acts {
                match act {
                    Act::Look if alive[at] && !loading[at] => {
                        let me = members[at].node.clone();
                        let done = members[at].prepared_generation == GENERATION
                            || members[at].failed.is_some();
                        match turn_of(&me, &members) {
                            _ if done => {}
                            Turn::Load => {
                                members[at].preparing = Some(GENERATION);
                                loading[at] = true;
                            }
                            Turn::Never(_) => members[at] = failed(GENERATION, members[at].clone()),
                            Turn::After(_) => {}
                        }
                    }
                    Act::Die if loading[at] => {
                        (alive[at], loading[at]) = (false, false);
                        members[at] = silent(30, members[at].clone());
                        deaths += 1;
                    }
                    Act::End if loading[at] => {
                        loading[at] = false;
                        survived = true;
                        members[at].preparing = None;
                        members[at].prepared_generation = GENERATION;
                    }
                    Act::Fail if loading[at] => {
                        loading[at] = false;
                        members[at].preparing = None;
                        members[at] = failed(GENERATION, members[at].clone());
                    }
                    Act::Return if !alive[at] => {
                        alive[at] = true;
                        members[at] = silent(0, failed(GENERATION, members[at].clone()));
                    }
                    Act::Look | Act::Die | Act::End | Act::Fail | Act::Return => {}
                }
                prop_assert!(survived || loading.iter().filter(|loads| **loads).count() <= 1);
                prop_assert!(survived || deaths <= 1, "{deaths} died");
            }
        }
    }
}
