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
}

impl ShardState {
    /// Whether all is done and every pod is available.
    pub(super) fn whole(&self) -> bool {
        self.exists && self.settled && self.all_available()
    }

    /// Whether any pod serves.
    pub(super) fn serves(&self) -> bool {
        self.ready.iter().any(|ready| *ready)
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
        self.all_available() || self.ready.last() == Some(&false)
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
        ShardState { exists, current, edited, settled, available, ready: ready.to_vec() }
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
        assert_eq!(plan(&[dead.clone(), dead]), [Verdict::Apply, Verdict::Apply]);
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

    fn any_shard() -> impl Strategy<Value = ShardState> {
        let ready = prop::collection::vec(any::<bool>(), 1..4);
        (any::<bool>(), any::<[bool; 2]>(), any::<bool>(), any::<bool>(), ready).prop_map(
            |(exists, [current, edited], settled, available, ready)| ShardState {
                exists,
                current: exists && current,
                edited: exists && edited,
                settled: exists && settled,
                available: exists && available,
                ready: if exists { ready } else { vec![false; ready.len()] },
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
