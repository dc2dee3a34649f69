use super::*;
use crate::coordination::Failure;
use crate::support;

const NOW: UnixMillis = UnixMillis(10_000_000);

fn map(shards: u32, age: Duration) -> Map {
    let proposed_at = UnixMillis(NOW.0 - age.as_millis() as u64);
    Map { proposed_at, ..support::map(7, shards, &[]) }
}

fn member(node: &str, shard: u32, prepared_generation: u64) -> MemberRecord {
    let record = support::member(node, shard, NOW);
    MemberRecord { active_generation: 6, prepared_generation, ..record }
}

fn silent(mut member: MemberRecord) -> MemberRecord {
    member.heartbeat = UnixMillis(NOW.0 - 5_001);
    member
}

fn failed(mut member: MemberRecord, generation: u64) -> MemberRecord {
    member.failed = Some(Failure { generation, reason: "disk".to_owned() });
    member
}

/// The step for a map that was proposed a while ago and, if it is covered, was covered at once.
fn step(map: &Map, members: &[MemberRecord]) -> Step {
    let total = NOW.since(map.proposed_at);
    let covers = covered(map, members, NOW, Policy::default().member_ttl);
    step_after(Elapsed { total, until_cover: covers.then_some(Duration::ZERO) }, map, members)
}

fn step_after(waited: Elapsed, map: &Map, members: &[MemberRecord]) -> Step {
    next_step(Some(map), waited, members, NOW, &Policy::default())
}

const SOON: Duration = Duration::from_secs(1);

#[test]
fn without_a_proposal_there_is_nothing_to_do() {
    let (waited, members) = (Elapsed::default(), [member("a", 0, 7)]);
    assert_eq!(next_step(None, waited, &members, NOW, &Policy::default()), Step::Idle);
}

#[test]
fn a_generation_is_tested_when_every_live_replica_is_ready() {
    let mut members = vec![member("a0", 0, 7), member("b0", 1, 6), member("b1", 1, 7)];
    let waits = Step::Wait { generation: 7, missing: vec![], preparing: vec!["b0".to_owned()] };
    assert_eq!(step(&map(2, SOON), &members), waits);
    // A replica that hangs delays the switch, but not forever.
    assert_eq!(step(&map(2, Duration::from_secs(31)), &members), Step::Test { generation: 7 });
    members[1].prepared_generation = 7;
    assert_eq!(step(&map(2, SOON), &members), Step::Test { generation: 7 });
}

#[test]
fn stragglers_are_waited_for_since_the_first_cover_in_proportion_to_the_load() {
    let members = [member("a0", 0, 7), member("b0", 1, 6), member("b1", 1, 7)];
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let waits_for = |cover: Duration, since: Duration| {
        let waited = Elapsed { total: cover + since, until_cover: Some(cover) };
        match step_after(waited, &map(2, SOON), &members) {
            Step::Wait { preparing, .. } => preparing == ["b0"],
            Step::Test { .. } => false,
            other => panic!("{other:?}"),
        }
    };
    // A proposal that takes ten minutes to load is not activated when only the first replica of
    // each shard has loaded it.
    assert!(waits_for(minutes(10), Duration::ZERO) && waits_for(minutes(10), minutes(20)));
    assert!(!waits_for(minutes(10), minutes(20) + SOON));
    // At least half a minute, at most half an hour.
    assert!(waits_for(SOON, minutes(1) / 2) && !waits_for(SOON, minutes(1) / 2 + SOON));
    assert!(waits_for(minutes(25), minutes(30)) && !waits_for(minutes(25), minutes(30) + SOON));
}

#[test]
fn dead_replicas_neither_count_nor_delay() {
    let members = [member("a", 0, 7), silent(member("b0", 1, 7))];
    let waits = Step::Wait { generation: 7, missing: vec![ShardId(1)], preparing: vec![] };
    assert_eq!(step(&map(2, SOON), &members), waits);
    let members = [member("a", 0, 7), silent(member("b0", 1, 6)), member("b1", 1, 7)];
    assert_eq!(step(&map(2, SOON), &members), Step::Test { generation: 7 });
}

#[test]
fn shards_outside_the_map_do_not_count() {
    let members = [member("a", 0, 7), member("b", 1, 6)];
    assert_eq!(step(&map(1, SOON), &members), Step::Test { generation: 7 });
}

#[test]
fn a_shard_that_no_replica_can_prepare_rejects_at_once() {
    let members = [member("a", 0, 6), failed(member("b", 1, 6), 7)];
    let Step::Reject { generation: 7, reason } = step(&map(2, SOON), &members) else {
        panic!("not rejected");
    };
    assert_eq!(reason, "shard 1: node b cannot prepare it: disk");
    // This does not happen while another replica still tries, nor for an earlier failure.
    let members = [member("a", 0, 7), failed(member("b", 1, 6), 7), member("c", 1, 6)];
    assert!(matches!(step(&map(2, SOON), &members), Step::Wait { .. }));
    let members = [member("a", 0, 7), failed(member("b", 1, 6), 5)];
    assert!(matches!(step(&map(2, SOON), &members), Step::Wait { .. }));
    let members = [member("a", 0, 7), failed(member("b", 1, 6), 7), member("c", 1, 7)];
    assert_eq!(step(&map(2, SOON), &members), Step::Test { generation: 7 });
}

#[test]
fn a_shard_that_stays_away_rejects_in_the_end() {
    let members = [member("a", 0, 7)];
    assert!(matches!(step(&map(3, Duration::from_secs(1799)), &members), Step::Wait { .. }));
    let Step::Reject { generation: 7, reason } = step(&map(3, Duration::from_secs(1801)), &members)
    else {
        panic!("not rejected");
    };
    assert_eq!(reason, "no replica prepared it within 1800 s on shard 1, 2");
}

#[test]
fn serving_needs_a_live_replica_of_every_shard_at_the_generation() {
    let mut map = map(2, SOON);
    map.generation = 6;
    let ttl = Policy::default().member_ttl;
    let members = [member("a", 0, 6), member("b", 1, 6)];
    assert!(serving(&map, &members, NOW, ttl));
    assert!(!serving(&map, &members[..1], NOW, ttl));
    assert!(!serving(&map, &[members[0].clone(), silent(members[1].clone())], NOW, ttl));
    map.generation = 7;
    assert!(!serving(&map, &members, NOW, ttl));
}

#[test]
fn right_after_an_activation_what_was_prepared_serves() {
    let ttl = Policy::default().member_ttl;
    // Generation 7 is active. Both records still state that it is prepared and that 6 is served.
    let map = map(2, SOON);
    let members = [member("a", 0, 7), member("b", 1, 7)];
    assert!(serving(&map, &members, NOW, ttl));
    // A replica that prepared the next generation has not thereby prepared this one.
    let ahead = member("b", 1, 8);
    assert!(!serving(&map, &[members[0].clone(), ahead.clone()], NOW, ttl));
    // A replica that has moved on to the next generation still answers from this one.
    let gone_on = MemberRecord { active_generation: 8, ..ahead };
    assert!(serving(&map, &[members[0].clone(), gone_on], NOW, ttl));
}

#[test]
fn another_machines_clock_may_be_ahead() {
    let mut ahead = member("a", 0, 7);
    ahead.heartbeat = UnixMillis(NOW.0 + 60_000);
    assert_eq!(step(&map(1, SOON), &[ahead]), Step::Test { generation: 7 });
}

#[test]
fn a_cluster_serves_if_every_shard_has_a_replica_for_each_table() {
    let lacks = |mut member: MemberRecord, tables: &[&str]| {
        member.active_generation = 7;
        member.missing =
            tables.iter().map(|table| ((*table).to_owned(), "damaged".to_owned())).collect();
        member
    };
    let serves = |members: &[MemberRecord]| {
        serving(&map(2, SOON), members, NOW, Policy::default().member_ttl)
    };
    let (a, b) = (lacks(member("a0", 0, 7), &[]), lacks(member("b0", 1, 7), &["t"]));
    assert!(!serves(&[a.clone(), b.clone()]));
    assert!(serves(&[a.clone(), b.clone(), lacks(member("b1", 1, 7), &["u"])]));
    assert!(!serves(&[a.clone(), b.clone(), lacks(member("b1", 1, 7), &["t", "u"])]));
    assert!(!serves(&[a.clone(), b, silent(lacks(member("b1", 1, 7), &[]))]));
    assert!(!serves(&[a]));
}

#[test]
fn a_shard_waits_for_the_store_while_a_replica_that_may_yet_prepare_cannot_read_it() {
    let away = |member: MemberRecord| MemberRecord { store: Some("403".into()), ..member };
    let waits = |members: &[MemberRecord]| {
        waits_for_store(&map(2, SOON), members, NOW, Policy::default().member_ttl)
    };
    let done = member("a", 0, 7);
    assert!(!waits(&[done.clone(), member("b", 1, 6)]));
    assert!(waits(&[done.clone(), away(member("b", 1, 6)), member("c", 1, 6)]));
    assert!(!waits(&[done.clone(), away(member("b", 1, 6)), member("c", 1, 7)]), "one has it");
    assert!(!waits(&[done.clone(), away(failed(member("b", 1, 6), 7))]), "it has given up");
    assert!(waits(&[done.clone(), away(failed(member("b", 1, 6), 6))]), "of an earlier one");
    assert!(!waits(&[away(done.clone()), member("b", 1, 6)]), "it needs the store no more");
    assert!(!waits(&[done, silent(away(member("b", 1, 6)))]), "no replica says so");
}
