//! A map that waits for the nodes, when its proposal is no longer wanted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use opaque_crds::shard_map::TableEpoch;
use opaque_crds::table::RejectedEpoch;
use opaque_crds::{OpaqueShardMap, OpaqueTable};

use crate::table::fixtures::{epoch, map, table};
use crate::table::map_view::MapView;
use crate::table::propose::{ClusterTables, Outcome, Proposal, propose};

/// The active map of generation 3, with these tables of OpaqueTables and one table that was loaded.
fn active(tables: &[(&str, i64)]) -> OpaqueShardMap {
    let names: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
    let mut map = map(3, &[&[("loaded", 5)], tables].concat(), &names);
    let active = map.status.as_mut().and_then(|status| status.active.as_mut());
    for map in active.into_iter().chain([&mut map.spec.map]) {
        for entry in map.tables.iter_mut().filter(|entry| names.contains(&entry.table.as_str())) {
            entry.owner = Some(entry.table.clone());
        }
    }
    map
}

/// `map` with a waiting proposal: generation 4, with this epoch of a table.
fn waiting(mut map: OpaqueShardMap, name: &str, epoch: i64) -> OpaqueShardMap {
    let proposed = &mut map.spec.map;
    proposed.generation = 4;
    proposed.tables.retain(|entry| entry.table != name);
    let owner = (name != "loaded").then(|| name.to_owned());
    proposed.tables.push(TableEpoch { table: name.into(), epoch, owner });
    map
}

fn owning(mut map: OpaqueShardMap, names: &[&str]) -> OpaqueShardMap {
    let names = serde_json::to_string(names).unwrap();
    map.metadata.annotations.get_or_insert_default().insert("opaque.dev/tables".into(), names);
    map
}

/// A table that has epochs 1 to `count`.
fn with_epochs(name: &str, count: i64) -> OpaqueTable {
    let mut table = table(name);
    table.status.get_or_insert_default().epochs = (1..=count).rev().map(epoch).collect();
    table
}

fn decide(map: &OpaqueShardMap, readable: &[OpaqueTable]) -> Outcome {
    let tables = ClusterTables { readable: readable.to_vec(), ..ClusterTables::default() };
    propose(&MapView::new(map), &tables, Timestamp::from_second(1_000_000).unwrap())
}

/// A generation and its tables.
type Next = (i64, Vec<(String, i64)>);

/// The reason, and the map that replaces it.
#[track_caller]
fn withdrawn(outcome: Outcome) -> (String, Option<Next>) {
    let Outcome::Propose(Proposal { map, withdraws, owned: _ }) = outcome else {
        panic!("{outcome:?}");
    };
    let next = map.map(|map| {
        let tables = map.tables.into_iter().map(|entry| (entry.table, entry.epoch)).collect();
        (map.generation, tables)
    });
    (withdraws.expect("nothing is withdrawn"), next)
}

#[test]
fn what_is_still_wanted_waits() {
    let map = waiting(active(&[("one", 1)]), "one", 2);
    assert_eq!(decide(&map, &[with_epochs("one", 2)]), Outcome::Settled);
    // Another table waits for its turn.
    let both = [with_epochs("one", 2), with_epochs("two", 1)];
    assert_eq!(decide(&map, &both), Outcome::Settled);
}

#[test]
fn a_deleted_table_is_not_waited_for() {
    // Its first epoch.
    let map = owning(waiting(active(&[]), "one", 1), &["one"]);
    let Outcome::Propose(proposal) = decide(&map, &[]) else { panic!("it waits on") };
    assert_eq!(proposal.withdraws.as_deref(), Some("the OpaqueTable of table one was deleted"));
    assert_eq!((proposal.map, proposal.owned), (None, BTreeSet::new()));
    // Another epoch: the table is dropped in the same write.
    let map = waiting(active(&[("one", 1)]), "one", 2);
    let (_, next) = withdrawn(decide(&map, &[]));
    assert_eq!(next, Some((5, vec![("loaded".into(), 5)])));
}

#[test]
fn another_pin_takes_the_place_of_what_waits() {
    let map = waiting(active(&[("one", 1)]), "one", 3);
    let mut table = with_epochs("one", 3);
    table.spec.epoch = Some(2);
    let (reason, next) = withdrawn(decide(&map, &[table.clone()]));
    assert_eq!(reason, "table one is to serve epoch 2");
    assert_eq!(next, Some((5, vec![("loaded".into(), 5), ("one".into(), 2)])));
    // Back to the served epoch, or to one that does not exist: nothing is proposed.
    for (pin, said) in [(1, "serve epoch 1"), (9, "keep the epoch that it serves")] {
        table.spec.epoch = Some(pin);
        let (reason, next) = withdrawn(decide(&map, &[table.clone()]));
        assert!(reason.ends_with(said), "{reason}");
        assert_eq!(next, None);
    }
}

#[test]
fn a_withdrawn_map_waits_no_more_and_its_number_is_not_used_again() {
    let mut map = waiting(active(&[("one", 1)]), "one", 3);
    map.spec.withdraw(4, "withdrawn");
    assert!(!MapView::new(&map).is_waiting());
    let mut table = with_epochs("one", 3);
    table.spec.epoch = Some(1);
    assert_eq!(decide(&map, &[table.clone()]), Outcome::Settled);
    table.spec.epoch = None;
    let Outcome::Propose(proposal) = decide(&map, &[table]) else { panic!("not proposed again") };
    assert_eq!((proposal.withdraws, proposal.map.unwrap().generation), (None, 5));
}

#[test]
fn a_newer_epoch_takes_the_place_of_what_waits_three_times_in_a_row() {
    let mut map = waiting(active(&[("one", 1)]), "one", 2);
    for newest in 3..=5 {
        let (_, next) = withdrawn(decide(&map, &[with_epochs("one", newest)]));
        let (generation, tables) = next.unwrap();
        assert_eq!(tables[1], ("one".to_owned(), newest));
        map.spec.withdraw(map.spec.map.generation, "withdrawn");
        map.spec.map.generation = generation;
        map.spec.map.tables.iter_mut().find(|entry| entry.table == "one").unwrap().epoch = newest;
    }
    assert_eq!(decide(&map, &[with_epochs("one", 6)]), Outcome::Settled, "the nodes decide");
    // A pin by a person takes effect at any time.
    let mut pinned = with_epochs("one", 6);
    pinned.spec.epoch = Some(6);
    withdrawn(decide(&map, &[pinned]));
    withdrawn(decide(&map, &[]));
}

#[test]
fn what_is_withdrawn_makes_way_for_the_table_that_waits_longest() {
    let map = waiting(active(&[("one", 1)]), "one", 4);
    let both = [with_epochs("one", 5), with_epochs("two", 3)];
    let (_, next) = withdrawn(decide(&map, &both));
    assert_eq!(next.unwrap().1, [("loaded".into(), 5), ("one".into(), 1), ("two".into(), 3)]);
}

#[test]
fn what_others_propose_is_theirs_to_withdraw() {
    let map = waiting(active(&[("one", 1)]), "loaded", 6);
    assert_eq!(decide(&map, &[with_epochs("one", 2)]), Outcome::Settled);
    let mut map = waiting(active(&[("one", 1)]), "one", 2);
    map.spec.map.shards.pop();
    assert_eq!(decide(&map, &[]), Outcome::Settled, "other shards are not a matter of tables");
}

#[test]
fn a_withdrawn_epoch_was_not_rejected() {
    let mut map = waiting(active(&[("one", 1)]), "one", 2);
    map.spec.withdraw(4, "withdrawn");
    let mut table = with_epochs("one", 2);
    let mut status = table.status.clone().unwrap();
    crate::table::epochs::remember_rejection(&table, &mut status, Some(&MapView::new(&map)));
    assert!(status.epochs.iter().all(|entry| entry.rejected.is_none()));
    // An epoch that was rejected earlier is not proposed again in place of the withdrawn one.
    let rejected =
        RejectedEpoch { map_generation: 2, observed_generation: 1, reason: "too large".into() };
    status.epochs[0].rejected = Some(rejected);
    table.status = Some(status);
    assert_eq!(decide(&map, &[table]), Outcome::Settled);
}
