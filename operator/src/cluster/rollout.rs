//! Which shards may get a changed template of their pods.
//!
//! **Guarantees.** Never are pods of two shards replaced at a time, and never is the last ready pod of a shard
//! with several replicas replaced. A template that does not work stops at the first shard. A shard without any
//! ready pod has nothing to lose: it gets a new template at once, so that a mistake can be corrected.
//!
//! Kubernetes replaces pods of a set one at a time, highest number first, and waits for each to be
//! available: ready for some seconds, since a pod that has just become ready may lose it again. So a set may be
//! changed if all its pods are available, or if the first to be replaced is not ready.
//!
//! A pod that lacks a table which another pod of its shard serves does not count as updated: until
//! it has loaded the table, only pods that lack something or are not ready are replaced, since any
//! other might be the last to serve it. What no pod of a shard can load holds up nothing: a new
//! template may be what mends it.
//!
//! A template that somebody has edited by hand, while the cluster was paused perhaps, is put back by the same rules.

/// A shard's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardState {
    /// Whether its set exists.
    pub(super) exists: bool,
    /// Whether its set has the template that it shall have.
    pub(super) current: bool,
    /// Whether somebody has edited that template since.
    pub(super) edited: bool,
    /// Whether its set's controller has seen the template and replaced all pods.
    pub(super) settled: bool,
    /// Whether its set's controller counts all pods as available. It hears of pods later than `ready` does.
    pub(super) available: bool,
    /// Whether each pod is ready, by its number; false also if there is none.
    pub(super) ready: Vec<bool>,
    /// Whether each pod lacks a table that another pod of the shard serves.
    pub(super) lacking: Vec<bool>,
    /// Whether a pod that has turned clients away, and so is not ready, answers its peers.
    pub(super) answers: bool,
}

impl ShardState {
    /// Whether all is done and every pod is available.
    pub(super) fn whole(&self) -> bool {
        self.exists && self.settled && self.all_available() && !self.lacks()
    }

    /// Whether any pod serves: queries go through other shards' pods, so that one which answers its
    /// peers alone counts.
    pub(super) fn serves(&self) -> bool {
        self.answers || self.ready.iter().any(|ready| *ready)
    }

    /// The lowest number of the pods that may be replaced now.
    pub(super) fn partition(&self) -> usize {
        if !self.lacks() {
            return 0;
        }
        let pods = self.ready.iter().zip(&self.lacking);
        pods.clone().count() - pods.rev().take_while(|(ready, lacks)| **lacks || !**ready).count()
    }

    fn lacks(&self) -> bool {
        self.lacking.contains(&true)
    }

    /// Whether its set's pods would be replaced by an apply.
    fn changes(&self) -> bool {
        self.exists && (!self.current || self.edited)
    }

    /// Whether it holds up the rest: it was changed, or is being changed.
    fn underway(&self) -> bool {
        self.exists && !self.changes() && !self.whole()
    }

    fn may_change(&self) -> bool {
        let replaces = self.partition() < self.ready.len();
        replaces && (self.all_available() || self.ready.last() == Some(&false))
    }

    fn all_available(&self) -> bool {
        self.available && self.all_ready()
    }

    fn all_ready(&self) -> bool {
        self.ready.iter().all(|ready| *ready)
    }
}

/// What to do with each shard's set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Apply it as desired.
    Apply,
    /// Leave it as it is until the shard of this number is whole.
    WaitFor(usize),
    /// Leave it as it is: its last ready pod would be replaced.
    WouldTakeLast,
}

/// Decides for all shards.
pub(super) fn plan(shards: &[ShardState]) -> Vec<Verdict> {
    let mut busy = shards
        .iter()
        .position(|shard| shard.underway() && shard.serves())
        .or_else(|| shards.iter().position(ShardState::underway));
    // First, since what the API server makes of a template may look edited for ever.
    let changed = shards.iter().position(|s| s.exists && !s.current && s.serves());
    let mut verdicts = Vec::with_capacity(shards.len());
    for (number, shard) in shards.iter().enumerate() {
        let before = busy.or(changed.filter(|_| shard.current));
        let verdict = if !shard.changes() || !shard.serves() {
            Verdict::Apply
        } else if let Some(other) = before {
            Verdict::WaitFor(other)
        } else if shard.may_change() {
            busy = Some(number);
            Verdict::Apply
        } else if shard.all_ready() {
            Verdict::WaitFor(number)
        } else {
            Verdict::WouldTakeLast
        };
        verdicts.push(verdict);
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(current: bool, ready: &[bool]) -> ShardState {
        let available = ready.iter().all(|ready| *ready);
        let (exists, edited, settled) = (true, false, true);
        let (ready, lacking) = (ready.to_vec(), vec![false; ready.len()]);
        let answers = false;
        ShardState { exists, current, edited, settled, available, ready, lacking, answers }
    }

    #[test]
    fn a_new_cluster_gets_all_its_sets_at_once() {
        let none = ShardState {
            exists: false,
            current: false,
            edited: false,
            settled: false,
            available: false,
            ready: vec![false; 2],
            lacking: vec![false; 2],
            answers: false,
        };
        assert_eq!(plan(&[none.clone(), none]), [Verdict::Apply, Verdict::Apply]);
    }

    #[test]
    fn a_changed_template_goes_shard_by_shard() {
        let (old, new) = (shard(false, &[true, true]), shard(true, &[true, true]));
        let rolling = ShardState { settled: false, ..new.clone() };
        assert_eq!(
            plan(&[old.clone(), old.clone(), old.clone()]),
            [Verdict::Apply, Verdict::WaitFor(0), Verdict::WaitFor(0)]
        );
        assert_eq!(
            plan(&[rolling, old.clone(), old.clone()]),
            [Verdict::Apply, Verdict::WaitFor(0), Verdict::WaitFor(0)]
        );
        assert_eq!(
            plan(&[new, old.clone(), old]),
            [Verdict::Apply, Verdict::Apply, Verdict::WaitFor(1)]
        );
    }

    #[test]
    fn a_template_that_does_not_work_stops_at_the_first_shard_and_can_be_corrected() {
        let broken = shard(true, &[true, false]);
        let old = shard(false, &[true, true]);
        assert_eq!(plan(&[broken, old.clone()]), [Verdict::Apply, Verdict::WaitFor(0)]);
        // Corrected: the pod to be replaced first is the one that does not work.
        let corrected = shard(false, &[true, false]);
        assert_eq!(plan(&[corrected, old]), [Verdict::Apply, Verdict::WaitFor(0)]);
        let dead = shard(false, &[false, false]);
        assert_eq!(plan(&[dead.clone(), dead.clone()]), [Verdict::Apply, Verdict::Apply]);
        // Its pods have turned clients away, and other shards' pods need them: it has its turn.
        let cut_off = ShardState { answers: true, ..dead };
        assert_eq!(plan(&[cut_off.clone(), cut_off]), [Verdict::Apply, Verdict::WaitFor(0)]);
    }

    #[test]
    fn a_pod_that_has_just_become_ready_is_waited_for() {
        let whole = shard(false, &[true, true]);
        let young = ShardState { available: false, ..shard(true, &[true, true]) };
        assert_eq!(plan(&[young, whole]), [Verdict::Apply, Verdict::WaitFor(0)]);
        // The pod that would stay is perhaps the one that has just started.
        let changed = ShardState { available: false, ..shard(false, &[true, true]) };
        assert_eq!(plan(&[changed]), [Verdict::WaitFor(0)]);
    }

    #[test]
    fn what_somebody_edited_is_put_back_shard_by_shard() {
        let edited = ShardState { edited: true, ..shard(true, &[true, true]) };
        let whole = shard(true, &[true, true]);
        assert_eq!(
            plan(&[whole, edited.clone(), edited.clone()]),
            [Verdict::Apply, Verdict::Apply, Verdict::WaitFor(1)]
        );
        // The edit does not work: the pod that is replaced first does not.
        let broken = ShardState { edited: true, ..shard(true, &[true, false]) };
        assert_eq!(plan(&[broken, edited.clone()]), [Verdict::Apply, Verdict::WaitFor(0)]);
        let alone = ShardState { edited: true, ..shard(true, &[false, true]) };
        assert_eq!(plan(&[alone]), [Verdict::WouldTakeLast]);
        // A changed template goes first, whatever only looks edited.
        let old = shard(false, &[true, true]);
        assert_eq!(plan(&[edited, old]), [Verdict::WaitFor(1), Verdict::Apply]);
    }

    #[test]
    fn the_last_ready_pod_is_not_replaced() {
        assert_eq!(plan(&[shard(false, &[false, true])]), [Verdict::WouldTakeLast]);
        // With one replica there is no other way.
        assert_eq!(plan(&[shard(false, &[true])]), [Verdict::Apply]);
    }

    fn lacking(shard: &ShardState, lacking: &[bool]) -> ShardState {
        ShardState { lacking: lacking.to_vec(), ..shard.clone() }
    }

    #[test]
    fn no_rollout_passes_a_pod_that_lacks_what_another_serves() {
        let (old, new) = (shard(false, &[true, true]), shard(true, &[true, true]));
        // Its first pod has the new template, and lacks a table: the second keeps the old one.
        let held = lacking(&ShardState { settled: false, ..new.clone() }, &[false, true]);
        assert_eq!((held.partition(), held.whole()), (1, false));
        assert_eq!(plan(&[held, old.clone()]), [Verdict::Apply, Verdict::WaitFor(0)]);
        // Nor does another shard go on, whether this one was changed before or not.
        let lacks = lacking(&new, &[true, false]);
        assert_eq!((lacks.partition(), lacks.whole()), (2, false));
        assert_eq!(plan(&[old.clone(), lacks]), [Verdict::WaitFor(1), Verdict::Apply]);
        // It waits itself if its last pod is the one that serves the table.
        assert_eq!(plan(&[lacking(&old, &[true, false])]), [Verdict::WaitFor(0)]);
        assert_eq!(new.partition(), 0);
    }

    #[test]
    fn a_template_that_would_mend_a_pod_reaches_it() {
        // The pod that lacks a table is the first to be replaced, and the only one until it is
        // whole.
        let old = shard(false, &[true, true, true]);
        let lacks = lacking(&old, &[false, false, true]);
        assert_eq!(
            (plan(std::slice::from_ref(&lacks)), lacks.partition()),
            (vec![Verdict::Apply], 2)
        );
        let down = lacking(&shard(false, &[true, true, false]), &[false, true, false]);
        assert_eq!(
            (plan(std::slice::from_ref(&down)), down.partition()),
            (vec![Verdict::Apply], 1)
        );
        // What no pod can load is not lacking: see `missing`.
        let everywhere = lacking(&old, &[false; 3]);
        assert_eq!(
            (plan(std::slice::from_ref(&everywhere)), everywhere.partition()),
            (vec![Verdict::Apply], 0)
        );
    }

    fn any_shard() -> impl Strategy<Value = ShardState> {
        let pods = prop::collection::vec(any::<[bool; 2]>(), 1..4);
        (any::<bool>(), any::<[bool; 2]>(), any::<[bool; 2]>(), any::<bool>(), pods).prop_map(
            |(exists, [current, edited], [settled, available], answers, pods)| ShardState {
                exists,
                current: exists && current,
                edited: exists && edited,
                settled: exists && settled,
                available: exists && available,
                ready: pods.iter().map(|[ready, _]| exists && *ready).collect(),
                lacking: pods.iter().map(|[_, lacks]| exists && *lacks).collect(),
                answers: exists && answers,
            },
        )
    }

    proptest! {
        #[test]
        fn at_most_one_serving_shard_is_changed(shards in prop::collection::vec(any_shard(), 1..8)) {
            let verdicts = plan(&shards);
            let changed = |(shard, verdict): &(&ShardState, &Verdict)| {
                **verdict == Verdict::Apply && shard.changes() && shard.serves()
            };
            let pairs: Vec<_> = shards.iter().zip(&verdicts).filter(changed).collect();
            prop_assert!(pairs.len() <= 1);
            let underway = shards.iter().any(|s| s.underway());
            prop_assert!(!underway || pairs.is_empty());
            prop_assert!(pairs.iter().all(|(shard, _)| shard.may_change()));
        }

        #[test]
        fn while_a_pod_lacks_something_only_pods_without_it_or_not_ready_are_replaced(
            shard in any_shard(),
        ) {
            let replaced = shard.ready.iter().zip(&shard.lacking).skip(shard.partition());
            let mut replaced = replaced.map(|(ready, lacks)| !ready || *lacks);
            prop_assert!(!shard.lacks() || replaced.all(|harmless| harmless));
            prop_assert!(!(shard.lacks() && shard.whole()));
        }

        #[test]
        fn whole_shards_all_get_their_turn(replicas in 1..4_usize, count in 1..8_usize) {
            let mut shards = vec![shard(false, &vec![true; replicas]); count];
            for shard in shards.iter_mut().step_by(2) {
                (shard.current, shard.edited) = (true, true);
            }
            for _ in 0..count {
                for (number, verdict) in plan(&shards).into_iter().enumerate() {
                    if verdict == Verdict::Apply {
                        (shards[number].current, shards[number].edited) = (true, false);
                    }
                }
            }
            prop_assert!(shards.iter().all(|shard| !shard.changes()));
        }
    }
}
