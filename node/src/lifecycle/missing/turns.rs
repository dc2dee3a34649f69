//! Schedule for loading missing tables again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Pause before the first attempt. It doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The missing tables with their next attempts.
#[derive(Debug)]
pub(super) struct Turns {
    node: String,
    tables: BTreeMap<String, Turn>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    epoch: u64,
    /// Failed attempts since the table was found missing.
    failures: u32,
    due: Instant,
}

impl Turns {
    /// The schedule of a node. Its name determines the jitter.
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), tables: BTreeMap::new() }
    }

    /// Replaces the set of missing tables. Returns those that are new, or missing at another epoch.
    pub(super) fn keep(&mut self, missing: &[(String, u64)], now: Instant) -> Vec<(String, u64)> {
        let known = |table: &String, turn: &Turn| missing.contains(&(table.clone(), turn.epoch));
        self.tables.retain(|table, turn| known(table, turn));
        let new = missing.iter().filter(|(table, _)| !self.tables.contains_key(table));
        let new: Vec<_> = new.cloned().collect();
        for (table, epoch) in &new {
            let turn = Turn { epoch: *epoch, failures: 0, due: now + self.pause(table, 0) };
            self.tables.insert(table.clone(), turn);
        }
        new
    }

    /// The table that is loaded next, its epoch, and when.
    pub(super) fn next(&self) -> Option<(String, u64, Instant)> {
        let (table, turn) = self.tables.iter().min_by_key(|(_, turn)| turn.due)?;
        Some((table.clone(), turn.epoch, turn.due))
    }

    /// Records that a table could not be loaded.
    pub(super) fn failed(&mut self, table: &str, now: Instant) {
        let Some(turn) = self.tables.get(table).copied() else { return };
        let failures = turn.failures.saturating_add(1);
        let due = now + self.pause(table, failures);
        self.tables.insert(table.to_owned(), Turn { failures, due, ..turn });
    }

    /// The pause after `failures` failures. Up to a fifth is subtracted, depending on node, table
    /// and count, so that nodes that were started together do not call the store together.
    fn pause(&self, table: &str, failures: u32) -> Duration {
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.node.as_bytes()).update(&[0]).update(table.as_bytes());
        let digest = hasher.update(&failures.to_le_bytes()).finalize();
        let [byte, ..] = digest.as_bytes();
        pause - pause.mul_f64(0.2 * f64::from(*byte) / 255.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, epoch: u64) -> (String, u64) {
        (name.to_owned(), epoch)
    }

    #[test]
    fn pauses_double_from_one_second_to_sixty_and_differ_between_nodes_and_tables() {
        let turns = Turns::new("shard-0-0");
        for failures in 0..40 {
            let full = Duration::from_secs(1 << failures.min(6)).min(LONGEST);
            let pause = turns.pause("t", failures);
            assert!(pause <= full && pause >= full.mul_f64(0.8), "{failures}: {pause:?}");
        }
        assert!((48..=60).contains(&turns.pause("t", u32::MAX).as_secs()));
        assert_ne!(turns.pause("t", 9), turns.pause("u", 9));
        assert_ne!(turns.pause("t", 9), Turns::new("shard-0-1").pause("t", 9));
    }

    #[test]
    fn a_table_that_fails_again_and_again_holds_up_no_other() {
        let mut now = Instant::now();
        let mut turns = Turns::new("n");
        let missing = [table("a", 1), table("b", 1)];
        assert_eq!(turns.keep(&missing, now), missing);
        assert_eq!(turns.keep(&missing, now), []);
        let mut tries = BTreeMap::<String, u32>::new();
        for _ in 0..12 {
            let (next, _, due) = turns.next().unwrap();
            now = now.max(due);
            *tries.entry(next.clone()).or_default() += 1;
            turns.failed(&next, now);
        }
        assert_eq!(tries.into_values().collect::<Vec<_>>(), [6, 6]);
        // A new table has its turn within its first pause.
        let more = [missing.to_vec(), vec![table("c", 1)]].concat();
        assert_eq!(turns.keep(&more, now), [table("c", 1)]);
        let (next, epoch, due) = turns.next().unwrap();
        assert_eq!((next.as_str(), epoch), ("c", 1));
        assert!(due <= now + FIRST);
    }

    #[test]
    fn a_table_that_is_loaded_or_gets_another_epoch_starts_again() {
        let now = Instant::now();
        let mut turns = Turns::new("n");
        turns.keep(&[table("a", 1)], now);
        for _ in 0..10 {
            turns.failed("a", now);
        }
        assert!(turns.next().unwrap().2 > now + Duration::from_secs(40));
        assert_eq!(turns.keep(&[table("a", 2)], now), [table("a", 2)]);
        assert!(turns.next().unwrap().2 <= now + FIRST);
        turns.keep(&[], now);
        assert!(turns.next().is_none());
        turns.failed("a", now);
        assert!(turns.next().is_none());
    }
}
