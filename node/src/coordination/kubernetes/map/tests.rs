//! All writers of the object, against a model of the API server: a write succeeds only for the
//! version that its writer has read.

use std::collections::BTreeMap;

use opaque_crds::reference::LocalReference;
use opaque_crds::shard_map::OpaqueShardMapSpec;
use proptest::prelude::*;

use super::*;
use crate::coordination::Snapshot;
use crate::support;

/// A writer's next write, computed from the version that it has read.
#[derive(Debug, Clone, Copy)]
enum Write {
    /// A node proposes an epoch of a table.
    Propose(&'static str, u64),
    /// A client withdraws the waiting proposal.
    Withdraw,
    /// The leader activates the waiting proposal.
    Activate,
    /// The leader rejects the waiting proposal.
    Reject,
    /// The leader records how long the proposal has waited.
    Note(u64),
}

/// One of three writers reads, or writes its change.
#[derive(Debug, Clone, Copy)]
enum Act {
    Read(usize, Write),
    Write(usize),
}

fn write() -> impl Strategy<Value = Write> {
    let table = prop_oneof![3 => Just("t"), 1 => Just("u")];
    prop_oneof![
        3 => (table, 1..4_u64).prop_map(|(table, epoch)| Write::Propose(table, epoch)),
        2 => Just(Write::Withdraw),
        2 => Just(Write::Activate),
        1 => Just(Write::Reject),
        1 => (0..99_u64).prop_map(Write::Note),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..3_usize, write()).prop_map(|(writer, write)| Act::Read(writer, write)),
        (0..3_usize).prop_map(Act::Write),
    ]
}

fn object() -> OpaqueShardMap {
    let map = write_map(&support::map(1, 1, &[])).unwrap();
    let active = Some(map.clone());
    let spec =
        OpaqueShardMapSpec { cluster_ref: LocalReference::new("demo"), map, withdrawn: Vec::new() };
    let mut object = OpaqueShardMap::new("demo", spec);
    object.status = Some(OpaqueShardMapStatus { active, ..OpaqueShardMapStatus::default() });
    object
}

/// The reading of a node that knows nothing of the served map.
fn read(maps: &Maps) -> Reading {
    maps.written().read(&Served::new(&Snapshot::default(), &[]))
}

/// The object after a write by the writer's code; `None` if there is nothing to write.
fn written(object: &OpaqueShardMap, write: Write) -> Option<OpaqueShardMap> {
    let maps = Maps::read(object).unwrap();
    let nothing = Snapshot::default();
    let served = Served::new(&nothing, &[]);
    let waiting = maps.written().proposal(&served).map(|map| map.generation);
    let mut changed = object.clone();
    let verdict = match write {
        Write::Propose(table, epoch) => {
            let change = Change::Table { table: table.to_owned(), epoch: Some(epoch) };
            let expected = maps.active.as_ref().unwrap().generation;
            let map = maps.propose(&served, change, expected, UnixMillis(0)).ok()?;
            if map == maps.newest {
                return None;
            }
            if let Some(waiting) = waiting {
                withdraw(&mut changed, waiting, "replaced").unwrap();
            }
            changed.spec.map = write_map(&map).unwrap();
            return Some(changed);
        }
        Write::Withdraw => {
            withdraw(&mut changed, waiting?, "withdrawn").unwrap();
            return Some(changed);
        }
        Write::Activate => Verdict::Active,
        Write::Reject => Verdict::Rejected("no"),
        Write::Note(seconds) => Verdict::Waits(seconds),
    };
    maps.decide(&served, waiting?).ok()?;
    changed.status = Some(judged(object, "leader", 1, verdict));
    Some(changed)
}

proptest! {
    #[test]
    fn what_became_of_a_generation_never_changes_and_one_table_changes_at_a_time(
        acts in prop::collection::vec(act(), 0..80)
    ) {
        let mut server = (0_u64, object());
        let mut decided: [Option<(u64, OpaqueShardMap)>; 3] = Default::default();
        let mut known: BTreeMap<u64, bool> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Read(writer, write) => {
                    decided[writer] = written(&server.1, write).map(|changed| (server.0, changed));
                }
                Act::Write(writer) => {
                    let Some((version, changed)) = decided[writer].take() else { continue };
                    if version == server.0 {
                        server = (version + 1, changed);
                    }
                }
            }
            let maps = Maps::read(&server.1).unwrap();
            let active = maps.active.as_ref().unwrap();
            let newest = maps.newest.generation;
            for generation in newest.saturating_sub(15).max(1)..=newest {
                let activated = match maps.outcome(&read(&maps), generation) {
                    Outcome::Activated => true,
                    Outcome::Rejected { .. } => false,
                    Outcome::Pending => {
                        prop_assert!(!known.contains_key(&generation), "undecided again");
                        prop_assert!(generation > active.generation);
                        continue;
                    }
                    Outcome::Unknown => panic!("generation {generation} is forgotten"),
                };
                let before = *known.entry(generation).or_insert(activated);
                prop_assert_eq!(before, activated, "generation {}", generation);
                prop_assert!(activated || active.generation != generation, "active, withdrawn");
            }
            if let Some(proposed) = read(&maps).proposed {
                let names = proposed.tables.keys().chain(active.tables.keys());
                let differ = names.filter(|name| {
                    proposed.tables.get(*name) != active.tables.get(*name)
                });
                let differ: std::collections::BTreeSet<_> = differ.collect();
                prop_assert!(differ.len() <= 1, "{:?}", differ);
            }
        }
    }
}

#[test]
fn of_withdrawals_the_newest_stay_and_reasons_are_cut() {
    let mut object = object();
    for generation in 2..30_u64 {
        object.spec.map.generation = i64::try_from(generation).unwrap();
        withdraw(&mut object, generation, &"long ".repeat(1000)).unwrap();
    }
    assert_eq!(object.spec.withdrawn.len(), 16);
    assert_eq!(object.spec.withdrawn[15].reason.chars().count(), 1024);
    assert!(Maps::read(&object).unwrap().rejects(29));
}

#[test]
fn how_long_a_proposal_waited_is_read_back() {
    let mut object = object();
    object.spec.map.generation = 2;
    object.status = Some(judged(&object, "leader", 1, Verdict::Waits(16)));
    let waited = Some(Waited { generation: 2, seconds: 16 });
    assert_eq!(Maps::read(&object).unwrap().waited, waited);
}
