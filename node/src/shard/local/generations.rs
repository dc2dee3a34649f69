//! The generations that a node holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::map::placement::Shards;
use crate::shard::served::Serving;

/// The generations in memory. Each is completely loaded. Every change replaces the whole set.
#[derive(Default)]
pub(super) struct Generations(ArcSwap<Held>);

/// Invariant: there is at most one generation below `oldest`, which was loaded too late. It answers
/// no queries. Its tables stay until the next generation is loaded, which may share them.
#[derive(Clone, Default)]
struct Held {
    oldest: u64,
    loaded: BTreeMap<u64, Arc<Serving>>,
}

impl Generations {
    pub(super) fn find(&self, generation: u64) -> Option<Arc<Serving>> {
        let held = self.0.load();
        held.loaded.get(&generation).filter(|_| generation >= held.oldest).cloned()
    }

    /// Oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Serving>> {
        let held = self.0.load();
        held.loaded.range(held.oldest..).map(|(_, serving)| Arc::clone(serving)).collect()
    }

    /// [`all`](Self::all), and a generation that was loaded too late.
    pub(super) fn in_memory(&self) -> Vec<Arc<Serving>> {
        self.0.load().loaded.values().cloned().collect()
    }

    /// Returns `false` if the generation was loaded too late.
    pub(super) fn install(&self, serving: Serving) -> bool {
        let (generation, serving) = (serving.map.generation, Arc::new(serving));
        let before = self.0.rcu(|held| {
            let Held { oldest, mut loaded } = Held::clone(held);
            loaded = loaded.split_off(&oldest);
            loaded.insert(generation, Arc::clone(&serving));
            Held { oldest, loaded }
        });
        generation >= before.oldest
    }

    /// Changes every generation with these shards that lacks the table at the epoch.
    pub(super) fn amend(
        &self,
        shards: &Shards,
        table: &str,
        epoch: u64,
        change: impl Fn(&mut Serving),
    ) {
        self.0.rcu(|held| {
            let mut held = Held::clone(held);
            for serving in held.loaded.values_mut() {
                let map = &serving.map;
                let concerned = map.shards == *shards && map.tables.get(table) == Some(&epoch);
                if concerned && serving.missing.contains_key(table) {
                    change(Arc::make_mut(serving));
                }
            }
            held
        });
    }

    pub(super) fn discard(&self, generation: u64) {
        self.0.rcu(|held| {
            let mut held = Held::clone(held);
            held.loaded.remove(&generation);
            held
        });
    }

    pub(super) fn retire_below(&self, oldest: u64) {
        self.0.rcu(|held| {
            let Held { oldest: before, mut loaded } = Held::clone(held);
            Held { oldest: oldest.max(before), loaded: loaded.split_off(&oldest) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::serving;

    fn numbers(held: &[Arc<Serving>]) -> Vec<u64> {
        held.iter().map(|serving| serving.map.generation).collect()
    }

    #[test]
    fn what_is_missing_is_amended_in_every_generation_that_lacks_it_at_that_epoch() {
        let generations = Generations::default();
        for (generation, epoch) in [(3, 1), (4, 1), (5, 2)] {
            let mut serving = serving(generation);
            serving.map.tables = [("a".to_owned(), epoch), ("b".to_owned(), 1)].into();
            serving.missing = [("a".to_owned(), "damaged".to_owned())].into();
            generations.install(serving);
        }
        let before = generations.find(3).unwrap();
        let shards = Shards::equal(1).unwrap();
        let loaded = |serving: &mut Serving| drop(serving.missing.remove("a"));
        generations.amend(&Shards::equal(2).unwrap(), "a", 1, loaded);
        generations.amend(&shards, "b", 1, loaded);
        let whole = || generations.all().iter().map(|one| one.is_whole()).collect::<Vec<_>>();
        assert_eq!(whole(), [false; 3]);
        generations.amend(&shards, "a", 1, loaded);
        assert_eq!(whole(), [true, true, false]);
        assert!(!before.is_whole(), "a query keeps what it began with");
    }

    #[test]
    fn what_comes_too_late_is_kept_for_its_tables_until_the_next_and_never_asked() {
        let generations = Generations::default();
        assert!(generations.install(serving(3)) && generations.install(serving(4)));
        assert_eq!(numbers(&generations.all()), [3, 4]);
        generations.retire_below(5);
        assert!(generations.all().is_empty() && generations.in_memory().is_empty());
        for late in [3, 4] {
            assert!(!generations.install(serving(late)));
            assert!(generations.all().is_empty() && generations.find(late).is_none());
            assert_eq!(numbers(&generations.in_memory()), [late]);
        }
        assert!(generations.install(serving(5)));
        assert_eq!(numbers(&generations.in_memory()), [5]);
        generations.retire_below(4);
        assert!(!generations.install(serving(4)), "what was retired stays so");
    }
}
