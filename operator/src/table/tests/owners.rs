//! Tables and their owners in the map.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use opaque_crds::table::OpaqueTableStatus;
use opaque_crds::{OpaqueShardMap, OpaqueTable};

use crate::table::fixtures::{epoch, map, table};
use crate::table::map_view::MapView;
use crate::table::propose::{ClusterTables, Outcome, Proposal, propose};

/// A table with an epoch.
fn published(name: &str) -> OpaqueTable {
    let mut table = table(name);
    table.status = Some(OpaqueTableStatus { epochs: vec![epoch(1)], ..Default::default() });
    table
}

fn proposal(map: &OpaqueShardMap, readable: Vec<OpaqueTable>, now: Timestamp) -> Outcome {
    propose(&MapView::new(map), &ClusterTables { readable, ..ClusterTables::default() }, now)
}

/// The next map, and each of its tables with its owner.
fn owners(outcome: Outcome) -> Vec<(String, i64, Option<String>)> {
    let Outcome::Propose(Proposal { map: Some(map), .. }) = outcome else {
        panic!("no map is proposed: {outcome:?}")
    };
    map.tables.into_iter().map(|entry| (entry.table, entry.epoch, entry.owner)).collect()
}

fn entry(table: &str, epoch: i64, owner: Option<&str>) -> (String, i64, Option<String>) {
    (table.to_owned(), epoch, owner.map(str::to_owned))
}

fn later(map: &OpaqueShardMap) -> Timestamp {
    map.spec.map.proposed_at.0.checked_add(SignedDuration::from_hours(1)).unwrap()
}

#[test]
fn a_proposed_table_names_its_owner_and_others_name_none() {
    let map = map(3, &[("loaded", 5)], &[]);
    let found = owners(proposal(&map, vec![published("big-cities")], later(&map)));
    assert_eq!(found, [entry("big_cities", 1, Some("big-cities")), entry("loaded", 5, None)]);
}

#[test]
fn a_map_from_before_gets_its_owners_by_one_proposal() {
    let mut map = map(3, &[("loaded", 5), ("one", 1), ("two", 1)], &["one", "two"]);
    let tables = || vec![published("one"), published("two")];
    let now = later(&map);
    let next = proposal(&map, tables(), now);
    let wanted =
        [entry("loaded", 5, None), entry("one", 1, Some("one")), entry("two", 1, Some("two"))];
    assert_eq!(owners(next.clone()), wanted);
    let Outcome::Propose(Proposal { map: Some(next), .. }) = next else { panic!() };
    assert_eq!(next.generation, 4);
    map.spec.map = next.clone();
    assert_eq!(proposal(&map, tables(), now), Outcome::Settled, "it waits for the nodes");
    map.status.as_mut().unwrap().active = Some(next);
    assert_eq!(proposal(&map, tables(), now), Outcome::Settled);
}

/// A leader of an earlier version does not know the field and drops it.
#[test]
fn owners_that_are_lost_are_proposed_again_but_not_at_once() {
    let mut map = map(3, &[("one", 1)], &["one"]);
    let now = map.spec.map.proposed_at.0.checked_add(SignedDuration::from_mins(1)).unwrap();
    map.spec.map.tables[0].owner = Some("one".to_owned());
    let Outcome::Later(at) = proposal(&map, vec![published("one")], now) else {
        panic!("no pause")
    };
    assert!(at > now);
    assert_eq!(owners(proposal(&map, vec![published("one")], at)), [entry("one", 1, Some("one"))]);
}

#[test]
fn a_table_with_an_owner_is_the_operators_without_an_annotation() {
    let mut map = map(3, &[("one", 1)], &[]);
    map.spec.map.tables[0].owner = Some("one".to_owned());
    map.status.as_mut().unwrap().active = Some(map.spec.map.clone());
    let view = MapView::new(&map);
    assert_eq!(view.owned, BTreeSet::from(["one".to_owned()]));
    assert_eq!(view.foreign("one"), None);
    assert_eq!(owners(proposal(&map, Vec::new(), later(&map))), [], "deleted with its OpaqueTable");
}
