use super::*;
use crate::coordination::Failure;
use crate::support;

mod world;

pub(super) const NOW: UnixMillis = UnixMillis(1_000_000);

pub(super) fn shards() -> Shards {
    Shards::equal(1).unwrap()
}

pub(super) fn of(generation: u64, tables: &[(&str, u64)]) -> Map {
    let tables = tables.iter().map(|(table, epoch)| ((*table).to_owned(), *epoch)).collect();
    Map { tables, ..map(generation, shards(), NOW) }
}

pub(super) fn member(node: &str, serves: &Map) -> MemberRecord {
    MemberRecord {
        active_generation: serves.generation,
        prepared_generation: serves.generation,
        map: Some("one".to_owned()),
        tables: serves.tables.clone(),
        ..support::member(node, 0, NOW)
    }
}

/// An object with the UID `uid`, whose status was written in it.
fn object<'a>(uid: &'a str, active: Option<&'a Map>, newest: &'a Map) -> Written<'a> {
    let active_uid = active.map(|_| uid);
    Written { active, newest: Some(newest), uid: Some(uid), active_uid, ..Written::nothing() }
}

fn served<'a>(known: Option<&'a Map>, members: &'a [MemberRecord]) -> Served<'a> {
    Served { known, known_uid: known.map(|_| "one"), heard: 0, members }
}

#[test]
fn an_agreed_map_is_read_as_it_is_written() {
    let (active, next) = (of(3, &[("t", 1)]), of(4, &[("t", 2)]));
    let members = [member("a", &active)];
    for known in [None, Some(&active)] {
        let reading = object("one", Some(&active), &next).read(&served(known, &members));
        assert_eq!(
            (reading.active.as_ref(), reading.proposed.as_ref()),
            (Some(&active), Some(&next))
        );
        assert_eq!((reading.uid.as_deref(), reading.standing), (Some("one"), Standing::Agreed));
    }
    // A status that does not name its object was written by an older version.
    let unsaid = Written { active_uid: None, ..object("one", Some(&active), &next) };
    assert_eq!(unsaid.read(&served(None, &members)).standing, Standing::Agreed);
    let rejected = Written { rejected: true, ..object("one", Some(&active), &next) };
    assert_eq!(rejected.read(&served(None, &members)).proposed, None);
    assert_eq!(rejected.mend(&served(None, &members), &shards(), NOW), Mend::Nothing);
}

#[test]
fn a_first_map_is_activated_only_while_it_is_empty() {
    let none = served(None, &[]);
    let first = of(1, &[]);
    assert_eq!(
        Written::nothing().mend(&none, &shards(), NOW),
        Mend::Activate(map(1, shards(), UnixMillis(0)))
    );
    let written = object("one", None, &first);
    let reading = written.read(&none);
    assert_eq!((reading.proposed, reading.standing), (None, Standing::First));
    assert_eq!(written.mend(&none, &shards(), NOW), Mend::Activate(first));
    // A map with tables is tested. A node that knows nothing prepares it.
    let lost = of(8, &[("t", 1)]);
    let written = object("two", None, &lost);
    assert_eq!(written.read(&none).proposed.as_ref(), Some(&lost));
    assert_eq!(written.read(&none).active, None);
    assert_eq!(written.mend(&none, &shards(), NOW), Mend::Nothing);
    assert_eq!(written.proposal(&none), Some(&lost));
    // A copy of another cluster's object, with its status, is proposed under another number.
    let copy = Written { active_uid: Some("one"), ..object("two", Some(&lost), &lost) };
    let reading = copy.read(&none);
    assert_eq!((reading.active, reading.standing), (None, Standing::Lost(Loss::Foreign)));
    let Mend::Propose(again) = copy.mend(&none, &shards(), NOW) else { panic!("not proposed") };
    assert_eq!(again, of(9, &[("t", 1)]));
    // A rejected map is tried again after a while.
    let rejected = Written { rejected: true, ..written };
    assert_eq!(rejected.mend(&none, &shards(), NOW), Mend::Nothing);
    let later = UnixMillis(NOW.0 + 61_000);
    assert!(
        matches!(rejected.mend(&none, &shards(), later), Mend::Propose(map) if map.generation == 9)
    );
}

#[test]
fn what_is_served_outlives_its_map() {
    let known = of(7, &[("t", 4), ("u", 1)]);
    let members = [member("a", &known), member("b", &known)];
    let (empty, old) = (of(1, &[]), of(5, &[("t", 3)]));
    let lost = [
        (Written::nothing(), Loss::Missing),
        (object("two", None, &empty), Loss::NotActive),
        (object("two", Some(&empty), &empty), Loss::Older { written: 1, served: 7 }),
        (object("one", Some(&old), &old), Loss::Older { written: 5, served: 7 }),
        (Written { active_uid: Some("one"), ..object("two", Some(&known), &known) }, Loss::Foreign),
    ];
    for (written, loss) in lost {
        let reading = written.read(&served(Some(&known), &members));
        assert_eq!(reading.active.as_ref(), Some(&known), "{loss}");
        assert_eq!((reading.proposed, reading.standing), (None, Standing::Lost(loss.clone())));
        // A node that knows nothing does not load the map, and waits.
        let new = written.read(&served(None, &members));
        assert_eq!((new.active, new.standing), (None, Standing::Lost(loss)));
    }
    // A single member is enough, even if it may be dead.
    let reading = object("one", Some(&old), &old).read(&served(Some(&old), &members[..1]));
    assert_eq!(reading.active.as_ref(), Some(&old));
    assert!(reading.standing.is_lost());
}

#[test]
fn a_map_that_has_lost_only_its_status_is_active_again() {
    let known = of(7, &[("t", 4)]);
    let members = [member("a", &known)];
    let written = object("one", None, &known);
    for knows in [None, Some(&known)] {
        let served = served(knows, &members);
        assert_eq!(written.mend(&served, &shards(), NOW), Mend::Activate(known.clone()));
        assert_eq!(written.lost(&served, &known).count(), 0);
    }
    // A proposal is tested like any other.
    let next = of(8, &[("t", 5)]);
    let written = object("one", None, &next);
    assert_eq!(written.read(&served(Some(&known), &members)).proposed.as_ref(), Some(&next));
    for knows in [None, Some(&known)] {
        let mend = written.mend(&served(knows, &members), &shards(), NOW);
        assert_eq!(mend, Mend::Activate(known.clone()));
    }
    // The same content in another object gets another number.
    let written = object("two", None, &known);
    let mend = written.mend(&served(Some(&known), &members), &shards(), NOW);
    assert_eq!(mend, Mend::Propose(of(8, &[("t", 4)])));
}

#[test]
fn an_older_map_is_replaced_by_a_proposal_above_all_numbers() {
    let known = Map { owners: [("t".to_owned(), "owner".to_owned())].into(), ..of(7, &[("t", 4)]) };
    let mut members = [member("a", &known), member("b", &known)];
    members[0].prepared_generation = 9;
    members[1].failed = Some(Failure { generation: 10, reason: String::new() });
    let old = of(5, &[("t", 3), ("dropped", 1)]);
    let written = object("two", Some(&old), &old);
    let served = served(Some(&known), &members);
    let Mend::Propose(again) = written.mend(&served, &shards(), NOW) else {
        panic!("not proposed")
    };
    assert_eq!(again, Map { generation: 11, ..known.clone() });
    // Then the served map is active again, and the outcome of earlier proposals is that they are
    // lost.
    let written = object("two", Some(&old), &again);
    assert_eq!(written.mend(&served, &shards(), NOW), Mend::Activate(known.clone()));
    assert_eq!(written.lost(&served, &known).collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!(written.proposal(&served), Some(&again));
    let written = object("two", Some(&known), &again);
    assert_eq!(written.mend(&served, &shards(), NOW), Mend::Nothing);
}

#[test]
fn a_newer_map_that_lets_go_what_is_served_is_no_proposal() {
    let known = of(7, &[("t", 4), ("u", 1)]);
    let members = [member("a", &known)];
    let served = served(Some(&known), &members);
    let larger = Map { shards: Shards::equal(2).unwrap(), ..of(100, &[("t", 4), ("u", 1)]) };
    for newest in [of(100, &[]), of(100, &[("t", 5)]), larger] {
        let written = object("two", None, &newest);
        assert_eq!(written.read(&served).proposed, None);
        assert_eq!(written.proposal(&served), None);
        let mend = written.mend(&served, &shards(), NOW);
        assert_eq!(mend, Mend::Propose(Map { generation: 101, ..known.clone() }));
    }
    // A map that the operator created again from what it knows is a proposal.
    let anew = of(8, &[("t", 5), ("u", 1), ("v", 1)]);
    let written = object("two", None, &anew);
    assert_eq!(written.mend(&served, &shards(), NOW), Mend::Activate(known.clone()));
    assert_eq!(written.proposal(&served), Some(&anew));
}

#[test]
fn a_leader_that_knows_nothing_puts_the_map_together_from_records() {
    let (one, two) = (of(7, &[("t", 4)]), of(7, &[("u", 1)]));
    let members = [member("a", &one), member("b", &two), member("c", &of(6, &[("t", 3)]))];
    let mut old = of(5, &[("t", 3), ("damaged", 2)]);
    old.owners = [("t", "x"), ("damaged", "y")].map(|(t, o)| (t.to_owned(), o.to_owned())).into();
    let written = object("two", None, &old);
    let Mend::Propose(again) = written.mend(&served(None, &members), &shards(), NOW) else {
        panic!("not proposed")
    };
    // The older map is the only source for a table that no replica can load.
    assert_eq!(again.tables, of(8, &[("damaged", 2), ("t", 4), ("u", 1)]).tables);
    assert_eq!((again.generation, &again.owners), (8, &old.owners));
    // If that table cannot be served, the map goes without it.
    let rejected = Written { rejected: true, ..object("two", None, &old) };
    let Mend::Propose(again) = rejected.mend(&served(None, &members), &shards(), NOW) else {
        panic!("not proposed")
    };
    assert_eq!(again.tables, of(8, &[("t", 4), ("u", 1)]).tables);
}

#[test]
fn a_node_whose_watch_is_behind_waits_and_keeps_what_it_prepares() {
    let (known, next) = (of(7, &[("t", 4), ("u", 1)]), of(8, &[("t", 5), ("u", 1)]));
    // Other nodes have seen that generation 8 is active.
    let members = [member("a", &known), member("b", &next)];
    let reading = object("one", Some(&known), &next).read(&served(Some(&known), &members));
    assert_eq!(reading.active.as_ref(), Some(&known));
    assert_eq!(reading.proposed.as_ref(), Some(&next), "it would be dropped");
    // Activating it would require reading the object, which shows that it is active.
    assert_eq!(object("one", Some(&known), &next).proposal(&served(Some(&known), &members)), None);
}

#[test]
fn what_cannot_be_replaced_is_forgotten_first() {
    // A restored status is above the served generation. The API server refuses to replace it by a
    // lower one.
    let (known, foreign) = (of(3, &[("t", 1)]), of(9, &[("t", 7)]));
    let members = [member("a", &known)];
    let served = served(Some(&known), &members);
    let newest = of(10, &[("t", 8)]);
    let copy = Written { active_uid: Some("zero"), ..object("two", Some(&foreign), &newest) };
    assert_eq!(copy.mend(&served, &shards(), NOW), Mend::Forget);
    let forgotten = object("two", None, &newest);
    assert_eq!(forgotten.mend(&served, &shards(), NOW), Mend::Activate(known));
}
