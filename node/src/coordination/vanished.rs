//! Handles members whose record files disappear without leaving, which happens if the whole
//! directory is removed while the cluster runs. No I/O.
//!
//! The nodes write their records again with their next heartbeats. Until then their last records
//! count, since otherwise no shard would have a live replica. If a single file disappears, that
//! node has left.

use std::collections::BTreeMap;
use std::time::Duration;

use opaque_store::UnixMillis;

use super::{MemberRecord, Snapshot};

/// Members whose records have vanished, by name, and whether the maps were lost since.
#[derive(Debug, Default)]
pub(super) struct Vanished(BTreeMap<String, bool>);

impl Vanished {
    /// Puts the vanished members of the `last` state back into the new one, if their files may have
    /// been lost: for one poll, in case the rest of the directory disappears a moment later, and if
    /// the maps are gone too, as long as the record is recent.
    pub(super) fn put_back(
        &mut self,
        last: &[MemberRecord],
        snapshot: &mut Snapshot,
        now: UnixMillis,
        ttl: Duration,
    ) {
        let lost = snapshot.standing.is_lost();
        let before = std::mem::take(&mut self.0);
        for member in last {
            if snapshot.members.iter().any(|present| present.node == member.node) {
                continue;
            }
            let seen = before.get(&member.node).copied();
            let lost = lost || seen == Some(true);
            if seen.is_none() || (lost && now.since(member.heartbeat) <= ttl) {
                self.0.insert(member.node.clone(), lost);
                snapshot.members.push(member.clone());
            }
        }
        snapshot.members.sort_by(|one, other| one.node.cmp(&other.node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::tests::member;
    use crate::coordination::{Loss, Standing};

    const TTL: Duration = Duration::from_secs(5);

    /// The records that are read at a time, and the members that count.
    fn look(
        vanished: &mut Vanished,
        last: &mut Vec<MemberRecord>,
        (lost, present, millis): (bool, &[&str], u64),
    ) -> Vec<String> {
        let standing = if lost { Standing::Lost(Loss::Missing) } else { Standing::Agreed };
        let now = UnixMillis(1_000_000 + millis);
        let members = present.iter().map(|n| MemberRecord { heartbeat: now, ..member(n) });
        let mut snapshot = Snapshot { standing, members: members.collect(), ..Snapshot::default() };
        vanished.put_back(last, &mut snapshot, now, TTL);
        last.clone_from(&snapshot.members);
        snapshot.members.into_iter().map(|member| member.node).collect()
    }

    #[test]
    fn a_node_that_leaves_is_gone_at_the_second_look() {
        let (mut vanished, mut last) = (Vanished::default(), Vec::new());
        assert_eq!(look(&mut vanished, &mut last, (false, &["a", "b"], 0)), ["a", "b"]);
        assert_eq!(look(&mut vanished, &mut last, (false, &["b"], 100)), ["a", "b"]);
        assert_eq!(look(&mut vanished, &mut last, (false, &["b"], 200)), ["b"]);
        assert_eq!(look(&mut vanished, &mut last, (false, &["b"], 300)), ["b"]);
    }

    #[test]
    fn with_the_maps_members_stay_until_they_are_heard_of_again_or_would_be_dead() {
        let (mut vanished, mut last) = (Vanished::default(), Vec::new());
        assert_eq!(look(&mut vanished, &mut last, (false, &["a", "b", "c"], 0)), ["a", "b", "c"]);
        // The files disappear one after the other.
        assert_eq!(look(&mut vanished, &mut last, (false, &[], 100)), ["a", "b", "c"]);
        assert_eq!(look(&mut vanished, &mut last, (true, &[], 200)), ["a", "b", "c"]);
        assert_eq!(look(&mut vanished, &mut last, (true, &["b"], 300)), ["a", "b", "c"]);
        // The map is back, and one member has not been heard from yet.
        assert_eq!(look(&mut vanished, &mut last, (false, &["a", "b"], 900)), ["a", "b", "c"]);
        assert_eq!(look(&mut vanished, &mut last, (false, &["a", "b"], 5_000)), ["a", "b", "c"]);
        assert_eq!(look(&mut vanished, &mut last, (false, &["a", "b"], 5_001)), ["a", "b"]);
    }
}
