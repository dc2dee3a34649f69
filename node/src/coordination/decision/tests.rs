use std::collections::BTreeMap;

use super::*;
use crate::coordination::Failure;
use crate::placement::{self, Shards};

const NOW: UnixMillis = UnixMillis(10_000_000);

fn map(shards: u32, age: Duration) -> Map {
    Map {
        generation: 7,
        placement: placement::VERSION,
        shards: Shards::equal(shards).unwrap(),
        tables: BTreeMap::new(),
        owners: [].into(),
        proposed_at: UnixMillis(NOW.0 - age.as_millis() as u64),
    }
}

fn member(node: &str, shard: u32, prepared: u64) -> MemberRecord {
    MemberRecord {
        node: node.to_owned(),
        shard: ShardId(shard),
        client_address: String::new(),
        peer_address: String::new(),
        active_generation: 6,
        prepared_generation: prepared,
        preparing: None,
        failed: None,
        message: String::new(),
        resident_bytes: 0,
        heartbeat: NOW,
        trust: None,
        certificate: None,
        map: None,
        tables: [].into(),
        missing: [].into(),
        unreachable: Vec::new(),
    }
}

fn silent(mut member: MemberRecord) -> MemberRecord {
    member.heartbeat = UnixMillis(NOW.0 - 5_001);
    member
}

fn failed(mut member: MemberRecord, generation: u64) -> MemberRecord {
    member.failed = Some(Failure { generation, reason: "disk".to_owned() });
    member
}

fn step(map: &Map, members: &[MemberRecord]) -> Step {
    next_step(Some(map), members, NOW, &Policy::default())
}

const SOON: Duration = Duration::from_secs(1);

#[test]
fn without_a_proposal_there_is_nothing_to_do() {
    assert_eq!(next_step(None, &[member("a", 0, 7)], NOW, &Policy::default()), Step::Idle);
}

#[test]
fn a_generation_is_tested_when_every_live_replica_is_ready() {
    let mut members = vec![member("a0", 0, 7), member("b0", 1, 6), member("b1", 1, 7)];
    let waits = Step::Wait { generation: 7, missing: vec![], preparing: vec!["b0".to_owned()] };
    assert_eq!(step(&map(2, SOON), &members), waits);
    // A replica that hangs delays the switch, but not for ever.
    assert_eq!(step(&map(2, Duration::from_secs(31)), &members), Step::Test { generation: 7 });
    members[1].prepared_generation = 7;
    assert_eq!(step(&map(2, SOON), &members), Step::Test { generation: 7 });
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
fn a_shard_that_nobody_can_prepare_rejects_at_once() {
    let members = [member("a", 0, 6), failed(member("b", 1, 6), 7)];
    let Step::Reject { generation: 7, reason } = step(&map(2, SOON), &members) else {
        panic!("not rejected");
    };
    assert_eq!(reason, "shard 1: node b cannot prepare it: disk");
    // Not while another replica still tries, nor for an older failure.
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
fn another_machines_clock_may_be_ahead() {
    let mut ahead = member("a", 0, 7);
    ahead.heartbeat = UnixMillis(NOW.0 + 60_000);
    assert_eq!(step(&map(1, SOON), &[ahead]), Step::Test { generation: 7 });
}
