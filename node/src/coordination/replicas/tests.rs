use super::*;
use crate::support::{self, map};

const ANY: Asked<'static> = Asked { table: "t", here: true };

fn member(node: &str, shard: u32, generation: u64, heartbeat: u64) -> MemberRecord {
    let prepared_generation = generation;
    let record = support::member(node, shard, UnixMillis(heartbeat));
    MemberRecord { active_generation: generation, prepared_generation, ..record }
}

#[test]
fn this_node_comes_first_and_the_silent_last() {
    let members = vec![
        member("silent", 0, 5, 1_000),
        member("behind", 0, 4, 99_000),
        member("fresh", 0, 5, 99_000),
        member("me", 0, 4, 99_000),
        member("other", 1, 5, 99_000),
    ];
    let snapshot = Snapshot { members, ..Snapshot::default() };
    let order = ReplicaOrder::new("me".into(), Duration::from_secs(5));
    for _ in 0..3 {
        let replicas = order.replicas(&snapshot, &map(5, 2, &[]), ANY, UnixMillis(100_000));
        let names: Vec<_> = replicas[&0].iter().map(|replica| replica.node.as_str()).collect();
        assert_eq!(names, ["me", "fresh", "behind", "silent"]);
        assert_eq!(replicas[&1].len(), 1);
    }
}

#[test]
fn replicas_that_lack_the_table_come_last_and_this_node_after_them() {
    let lacks = |mut member: MemberRecord| {
        member.missing = [("t".to_owned(), "damaged".to_owned())].into();
        member
    };
    let members = vec![
        lacks(member("lacks", 0, 5, 99_000)),
        member("me", 0, 5, 99_000),
        member("silent", 0, 5, 1_000),
        member("holds", 0, 5, 99_000),
    ];
    let snapshot = Snapshot { members, ..Snapshot::default() };
    let replica_order = ReplicaOrder::new("me".into(), Duration::from_secs(5));
    let order = |table, here| {
        let asked = Asked { table, here };
        let replicas =
            replica_order.replicas(&snapshot, &map(5, 2, &[]), asked, UnixMillis(100_000));
        replicas[&0].iter().map(|replica| replica.node.clone()).collect::<Vec<_>>()
    };
    for _ in 0..4 {
        assert_eq!(order("t", false), ["holds", "silent", "lacks", "me"]);
        assert_eq!(order("t", true), ["me", "holds", "silent", "lacks"]);
        assert_eq!(order("u", true)[0], "me");
        assert_eq!(order("u", true)[3], "silent");
    }
    let ttl = Duration::from_secs(5);
    let asked = describers(&snapshot, &map(5, 2, &[]), "t", "me", (UnixMillis(100_000), ttl));
    let asked: Vec<_> = asked.into_iter().map(|replica| replica.node).collect();
    assert_eq!(asked, ["holds", "lacks"]);
}

#[test]
fn equal_replicas_take_turns() {
    let members = (0..3).map(|i| member(&format!("n{i}"), 1, 5, 99_000)).collect();
    let snapshot = Snapshot { members, ..Snapshot::default() };
    let order = ReplicaOrder::new("me".into(), Duration::from_secs(5));
    let first = |_| {
        let replicas = order.replicas(&snapshot, &map(5, 2, &[]), ANY, UnixMillis(100_000));
        assert!(replicas[&0].is_empty(), "a shard without replicas is there, and empty");
        replicas[&1][0].node.clone()
    };
    let mut firsts: Vec<String> = (0..3).map(first).collect();
    firsts.sort();
    assert_eq!(firsts, ["n0", "n1", "n2"]);
}

#[test]
fn a_table_is_probed_at_the_live_replicas_that_hold_it() {
    let about_to_turn = member("c", 1, 4, 99_000);
    let lacks = member("d", 1, 5, 99_000);
    let members = vec![
        member("a", 0, 5, 99_000),
        member("silent", 0, 5, 1_000),
        member("b", 0, 4, 99_000),
        MemberRecord { prepared_generation: 5, ..about_to_turn },
        MemberRecord { missing: [("t".to_owned(), "damaged".to_owned())].into(), ..lacks },
    ];
    let snapshot = Snapshot { members, ..Snapshot::default() };
    let ttl = Duration::from_secs(5);
    let of = |table| {
        let holders = holders(&snapshot, &map(5, 2, &[]), table, UnixMillis(100_000), ttl);
        let names = |replicas: &Vec<Replica>| {
            replicas.iter().map(|one| one.node.clone()).collect::<Vec<_>>().join(" ")
        };
        (names(&holders[&0]), names(&holders[&1]))
    };
    assert_eq!(of("t"), ("a".to_owned(), "c".to_owned()));
    assert_eq!(of("u"), ("a".to_owned(), "c d".to_owned()));
}
