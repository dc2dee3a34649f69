use opaque_store::UnixMillis;

use super::*;
use crate::shard::replica::ReplicaState;

fn pace() -> Pace {
    Pace::within(Duration::from_secs(60))
}

fn shards(numbers: impl IntoIterator<Item = u32>) -> Vec<ShardId> {
    numbers.into_iter().map(ShardId).collect()
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

/// A node that has just called `missed` twice without an answer.
fn cut_off_from(missed: u32, start: Instant) -> Reach {
    let mut reach = Reach::new(pace());
    for second in [0, 2] {
        reach.asked(ShardId(missed), false, at(start, second));
    }
    reach
}

#[test]
fn a_look_is_due_every_round_and_sooner_where_a_shard_was_missed() {
    let seconds = Duration::from_secs;
    let expected = Pace {
        round: seconds(10),
        again: seconds(2),
        soon: Duration::from_millis(500),
        behind: seconds(5),
        cut_off: seconds(10),
    };
    assert_eq!(pace(), expected);
    assert_eq!(Pace::within(seconds(6)).round, seconds(1));

    let start = Instant::now();
    let mut reach = Reach::new(pace());
    assert_eq!(reach.due(shards(0..3).into_iter(), start), shards(0..3));
    for shard in 0..3 {
        reach.asked(ShardId(shard), shard != 1, start);
    }
    let mut due = |second| reach.due(shards(0..3).into_iter(), at(start, second));
    assert_eq!(
        (due(1), due(2), due(9), due(10)),
        (shards([]), shards([1]), shards([1]), shards(0..3))
    );
    reach.asked(ShardId(1), false, start);
    assert_eq!(reach.due(shards(0..3).into_iter(), at(start, 1)), shards([1]));
}

#[test]
fn a_shard_is_unreachable_after_two_misses_and_reached_at_the_first_answer() {
    let start = Instant::now();
    let mut reach = Reach::new(pace());
    reach.asked(ShardId(1), false, start);
    assert_eq!(reach.unreachable(), []);
    reach.asked(ShardId(1), true, start);
    reach.asked(ShardId(1), false, start);
    assert_eq!(reach.unreachable(), []);
    reach.asked(ShardId(1), false, start);
    assert_eq!(reach.unreachable(), [ShardId(1)]);
    reach.asked(ShardId(1), true, start);
    assert_eq!(reach.unreachable(), []);
    // A shard that has left the map is not reported.
    let mut reach = cut_off_from(7, start);
    reach.due(shards(0..3).into_iter(), start);
    assert_eq!(reach.unreachable(), []);
}

#[test]
fn a_blocked_port_is_reported_within_half_a_minute() {
    // A round has just ended when the port is blocked, and each call takes its 3 s.
    let (start, call) = (Instant::now(), Duration::from_secs(3));
    let mut reach = Reach::new(pace());
    reach.asked(ShardId(0), true, start);
    let mut now = start;
    while reach.unreachable().is_empty() {
        now += Duration::from_millis(100);
        if !reach.due(shards([0]).into_iter(), now).is_empty() {
            now += call;
            reach.asked(ShardId(0), false, now);
        }
    }
    assert!(now - start <= Duration::from_secs(20), "{:?}", now - start);
}

#[test]
fn a_node_that_reaches_less_than_another_turns_clients_away_and_never_does_alone() {
    let start = Instant::now();
    for (another, second, turned_away) in
        [(false, 100, false), (true, 5, false), (true, 9, false), (true, 10, true)]
    {
        let mut reach = cut_off_from(1, start);
        reach.another(another, start);
        reach.another(another, at(start, second));
        let expected = turned_away.then(|| Objection::CutOff { shards: shards([1]) });
        assert_eq!(reach.objection(5, None, at(start, second)), expected, "{another} {second}");
    }
    // The other node was there only for a moment.
    let mut reach = cut_off_from(1, start);
    for (second, another) in [(0, true), (6, false), (7, true), (16, true)] {
        reach.another(another, at(start, second));
    }
    assert_eq!(reach.objection(5, None, at(start, 16)), None);
    // After one answer, clients are admitted.
    reach.another(true, at(start, 17));
    assert!(reach.objection(5, None, at(start, 17)).is_some());
    reach.asked(ShardId(1), true, at(start, 18));
    reach.another(true, at(start, 18));
    assert_eq!(reach.objection(5, None, at(start, 18)), None);
}

#[test]
fn only_a_node_that_answers_and_reaches_all_counts_as_better() {
    let fresh = |node: &str| ReplicaState::new(node.into(), 0, String::new(), String::new());
    let state = |node: &str| {
        let state = fresh(node);
        state.serves_at(5);
        state
    };
    let better =
        |state: &ReplicaState| reaches_all([state.record(UnixMillis(0), 0)].iter(), "me", 5);
    assert!(better(&state("other")));
    assert!(!better(&state("me")));
    let cut_off = state("other");
    cut_off.unreachable(shards([2]));
    assert!(!better(&cut_off));
    let behind = fresh("other");
    behind.serves_at(4);
    assert!(!better(&behind));
    behind.prepared(5);
    assert!(better(&behind), "it is about to turn");
    let starting = fresh("other");
    starting.prepared(5);
    assert!(!better(&starting));
}

/// The reports by second, with the node's own generation.
type Reports = &'static [(u64, u64, Option<u64>)];

#[test]
fn a_node_is_behind_when_others_serve_more_and_it_cannot_see_that_for_some_seconds() {
    // Name, reports, the generation of the state if it was read, and whether the node is behind.
    let cases: [(&str, Reports, Option<u64>, bool); 12] = [
        ("all serve the same", &[(0, 5, Some(5)), (9, 5, Some(5))], None, false),
        ("a peer is behind itself", &[(0, 5, Some(4)), (9, 5, Some(4))], None, false),
        ("a second behind", &[(0, 5, Some(6)), (1, 6, Some(6)), (9, 6, Some(6))], None, false),
        ("four seconds", &[(0, 5, Some(6)), (4, 5, None)], None, false),
        ("five seconds", &[(0, 5, Some(6)), (5, 5, None)], None, true),
        ("ever newer ones", &[(0, 5, Some(6)), (3, 5, Some(7)), (6, 5, Some(8))], None, true),
        ("some of it", &[(0, 5, Some(7)), (3, 6, Some(7)), (6, 6, Some(7))], None, true),
        ("the state agrees with the peer", &[(0, 5, Some(6)), (5, 5, None)], Some(6), true),
        (
            "the state says that the peer is wrong",
            &[(0, 5, Some(9)), (9, 5, Some(9))],
            Some(5),
            false,
        ),
        (
            "others are silent about it for one round",
            &[(0, 5, Some(6)), (10, 5, Some(5))],
            None,
            true,
        ),
        ("not reported for long", &[(0, 5, Some(6)), (31, 5, Some(5))], None, false),
        ("caught up", &[(0, 5, Some(6)), (9, 5, Some(6)), (10, 6, None)], None, false),
    ];
    let start = Instant::now();
    for (what, heard, state, behind) in cases {
        let mut reach = Reach::new(pace());
        let (mut now, mut own) = (start, 0);
        for &(second, active, newest) in heard {
            (now, own) = (at(start, second), active);
            reach.heard(own, newest, now);
        }
        let objection = reach.objection(own, state, now);
        assert_eq!(matches!(objection, Some(Objection::Behind { .. })), behind, "{what}");
    }
}

/// The worst case: a generation becomes active just after a check.
#[test]
fn a_node_that_is_behind_notices_in_less_than_half_of_the_grace_time() {
    for seconds in [6, 60, 600] {
        let grace = Duration::from_secs(seconds);
        let pace = Pace::within(grace);
        let (start, mut reach) = (Instant::now(), Reach::new(pace));
        reach.asked(ShardId(0), true, start);
        let mut now = start;
        while reach.objection(5, None, now).is_none() {
            now += pace.again;
            let asked = !reach.due(shards([0]).into_iter(), now).is_empty();
            if asked {
                reach.asked(ShardId(0), true, now);
            }
            reach.heard(5, asked.then_some(6), now);
        }
        assert!(now - start < grace / 2, "{:?} of {grace:?}", now - start);
    }
}

#[test]
fn an_objection_names_a_few_shards() {
    let cut_off = |count| Objection::CutOff { shards: shards(0..count) }.to_string();
    assert_eq!(cut_off(1), "no replica answers for shard 0, and other nodes reach every shard");
    assert_eq!(
        cut_off(1024),
        "no replica answers for shard 0, shard 1, shard 2 and 1021 more, and other nodes reach every \
         shard"
    );
    let behind = Objection::Behind { own: 5, heard: 7 }.to_string();
    assert!(behind.contains("generation 7") && behind.contains("none above 5"), "{behind}");
}
