use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::{OpaqueCluster, OpaqueShardMap};
use serde_json::{Value, json};

use super::super::facts::FailedProbe;
use super::super::findings::Findings;
use super::super::size::Size;
use super::super::status::status;
use super::*;

/// The state that a pod's status shows.
#[derive(Clone, Copy)]
enum State {
    Ready,
    /// It runs and says that it is not ready.
    NotReady,
    Crashed,
    /// Its machine is gone.
    Lost,
}

fn pod(name: &str, state: State) -> Pod {
    let (ready, container) = match state {
        State::Ready => ("True", json!({"ready": true, "state": {"running": {}}})),
        State::NotReady => ("False", json!({"ready": false, "state": {"running": {}}})),
        State::Crashed => {
            ("False", json!({"ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}))
        }
        State::Lost => ("False", json!({"ready": true, "state": {"running": {}}})),
    };
    let mut container = container;
    for key in ["name", "image", "imageID"] {
        container[key] = json!("");
    }
    container["restartCount"] = json!(0);
    object!({
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [container],
        },
    })
}

/// Two shards of two pods at generation 7, with the state of each pod and the shards that it does
/// not reach.
fn facts(pods: [(State, &[i64]); 4]) -> Facts {
    let mut facts = Facts { leader: Some("demo-shard-0-0".into()), ..Facts::default() };
    for (number, (state, unreachable)) in (0_i64..).zip(pods) {
        let node = format!("demo-shard-{}-{}", number / 2, number % 2);
        facts.pods.insert(node.clone(), pod(&node, state));
        let unreachable = unreachable.to_vec();
        let shard = number / 2;
        let member = Member { node, shard, unreachable, active_generation: 7, ..Member::default() };
        facts.members.push(member);
    }
    let map = |generation| {
        json!({
            "generation": generation, "placementVersion": 1, "virtualNodes": 64, "shards": [{"id": 0, "weight": 1}, {"id": 1, "weight": 1}],
            "tables": [], "proposedAt": "2026-01-01T00:00:00Z",
        })
    };
    facts.map = Some(shard_map(
        &json!({"clusterRef": {"name": "demo"}, "map": map(7)}),
        &json!({"active": map(7)}),
    ));
    facts
}

fn shard_map(spec: &Value, status: &Value) -> OpaqueShardMap {
    object!({
        "metadata": {"name": "demo"}, "spec": spec, "status": status,
    })
}

fn shards(facts: &Facts) -> Vec<ShardState> {
    let size = Size { shards: 2, replicas: 2 };
    (0..2).map(|shard| facts.shard("demo", size, shard)).collect()
}

fn look(facts: &Facts) -> (bool, Vec<String>, Vec<usize>) {
    let shards = shards(facts);
    (is_answered(facts), cut_off(facts, &shards), down(&shards))
}

const NONE: &[i64] = &[];
const ZERO: &[i64] = &[0];
const ONE: &[i64] = &[1];

#[test]
fn a_ready_pod_that_reaches_every_shard_is_enough() {
    use State::Ready;
    let all = facts([(Ready, NONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
    assert_eq!(look(&all), (true, vec![], vec![]));
    let some = facts([(Ready, ONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
    let words = "pod demo-shard-0-0 reaches no replica of shard 1".to_owned();
    assert_eq!(look(&some), (true, vec![words.clone()], vec![]));
    let no_pod = facts([(Ready, ONE), (Ready, ONE), (Ready, ZERO), (Ready, ZERO)]);
    let (answered, cut_off, down) = look(&no_pod);
    assert_eq!((answered, cut_off.len(), down), (false, 4, vec![]));
    assert_eq!(cut_off[0], words);
    // A pod that has not reported yet does not count as cut off.
    let mut unheard = no_pod;
    unheard.members.retain(|member| member.node != "demo-shard-1-1");
    assert!(is_answered(&unheard));
}

#[test]
fn pods_that_turn_clients_away_still_serve_their_shard() {
    use State::{NotReady, Ready};
    let turned_away = facts([(NotReady, ONE), (NotReady, ONE), (Ready, NONE), (Ready, NONE)]);
    let (answered, cut_off, down) = look(&turned_away);
    assert_eq!((answered, cut_off.len(), down), (true, 2, vec![]));
    // Pods that are not ready and reach all shards do not turn clients away: they load.
    let loading = facts([(NotReady, NONE), (NotReady, NONE), (Ready, NONE), (Ready, NONE)]);
    assert_eq!(look(&loading), (true, vec![], vec![0]));
    // Pods that do not serve the active map do not turn clients away either.
    let mut old = turned_away;
    old.members.iter_mut().for_each(|member| member.active_generation = 6);
    assert_eq!(look(&old).2, [0]);
}

#[test]
fn a_shard_that_does_not_serve_is_reported_once() {
    use State::{NotReady, Ready};
    let starting = facts([(Ready, ONE), (Ready, ONE), (NotReady, NONE), (NotReady, NONE)]);
    assert_eq!(look(&starting), (false, vec![], vec![1]));
}

#[test]
fn the_last_words_of_a_dead_pod_do_not_count() {
    use State::{Crashed, Lost, Ready};
    for dead in [Crashed, Lost] {
        let facts = facts([(dead, ONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
        assert_eq!(look(&facts), (true, vec![], vec![]));
        // The probes of a dead leader do not count.
        let mut facts = facts;
        facts.members[0].probes = probes(&[("weather", true)]);
        assert_eq!(failed_probes(&facts), (vec![], vec![]));
    }
    // A pod that reaches all shards and is not ready answers no client.
    let facts = facts([(Ready, ONE), (Ready, ONE), (Lost, NONE), (Ready, ZERO)]);
    assert!(!is_answered(&facts));
}

fn probes(tables: &[(&str, bool)]) -> BTreeMap<String, FailedProbe> {
    let probe = |&(table, wrong): &(&str, bool)| {
        (table.to_owned(), FailedProbe { reason: "shard 1 did not answer".into(), wrong })
    };
    tables.iter().map(probe).collect()
}

#[test]
fn probes_are_the_leaders_and_wrong_sums_stand_out() {
    use State::Ready;
    let mut facts = facts([(Ready, NONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
    facts.members[1].probes = probes(&[("left over", true)]);
    assert_eq!(failed_probes(&facts), (vec![], vec![]));
    facts.members[0].probes = probes(&[("cities", false), ("weather", true)]);
    let (wrong, all) = failed_probes(&facts);
    assert_eq!(wrong, ["table weather: shard 1 did not answer"]);
    assert_eq!(all.len(), 2);
}

/// Status, reason and message of conditions `Available` and `Degraded`.
fn conditions(facts: &Facts) -> [String; 2] {
    ["Available", "Degraded"].map(|type_| condition(facts, type_))
}

fn condition(facts: &Facts, type_: &str) -> String {
    let cluster: OpaqueCluster = object!({
        "metadata": {"name": "demo", "namespace": "lab"},
        "spec": {
            "shards": 2, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
            "storage": {"url": "file:///data"},
        },
    });
    let size = Size::wanted(&cluster.spec);
    let found = Findings { shards: shards(facts), ..Findings::new(&cluster, facts, size) };
    let now = Time(Timestamp::UNIX_EPOCH);
    let (status, _) = status(&found, &OpaqueClusterStatus::default(), &now);
    let one = status.conditions.iter().find(|one| one.type_ == type_).unwrap();
    format!("{} {}: {}", one.status, one.reason, one.message)
}

#[test]
fn shards_are_balanced_within_the_threshold_and_within_a_partition() {
    use State::Ready;
    let told = |bytes: [u64; 2]| {
        let mut facts = facts([(Ready, NONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
        for (member, shard) in facts.members.iter_mut().zip([0, 0, 1, 1]) {
            member.resident_bytes = bytes[shard];
        }
        condition(&facts, "ShardsBalanced")
    };
    let mib = 1 << 20;
    assert_eq!(told([0, 0]), "Unknown NoData: not every shard holds data");
    // A tiny table: one shard has two of its partitions, the other has one.
    assert_eq!(told([2 * mib, mib]), "True Balanced: ");
    assert_eq!(told([1100 * mib, 900 * mib]), "True Balanced: ");
    assert_eq!(
        told([1300 * mib, 700 * mib]),
        "False Unbalanced: more than 20% above its share: shard 0"
    );
}

#[test]
fn conditions_say_who_reaches_whom_and_which_table_does_not_answer() {
    use State::{NotReady, Ready};
    let well = || facts([(Ready, NONE), (Ready, NONE), (Ready, NONE), (Ready, NONE)]);
    assert_eq!(
        conditions(&well()),
        ["True Serving: every shard serves; there is no table yet", "False AsExpected: "]
    );

    let some = facts([(NotReady, ONE), (Ready, NONE), (Ready, ZERO), (Ready, NONE)]);
    assert_eq!(
        conditions(&some),
        [
            "True Serving: every shard serves; there is no table yet",
            "True ShardsUnreachable: pod demo-shard-0-0 reaches no replica of shard 1, \
             pod demo-shard-1-0 reaches no replica of shard 0",
        ]
    );
    let none = facts([(Ready, ONE), (Ready, ONE), (Ready, ZERO), (Ready, ZERO)]);
    let [available, degraded] = conditions(&none);
    assert_eq!(
        available,
        "False ShardsUnreachable: no ready pod reaches every shard: pod demo-shard-0-0 reaches no \
         replica of shard 1, pod demo-shard-0-1 reaches no replica of shard 1, pod demo-shard-1-0 \
         reaches no replica of shard 0 and 1 more"
    );
    assert!(degraded.starts_with("True ShardsUnreachable: pod demo-shard-0-0"), "{degraded}");

    let mut silent = well();
    silent.members[0].probes = probes(&[("weather", false)]);
    let expected = "True ProbeFailed: table weather: shard 1 did not answer";
    assert_eq!(conditions(&silent)[1], expected);
    let mut wrong = some;
    wrong.members[0].probes = probes(&[("cities", false), ("weather", true)]);
    let expected = "True WrongSums: table weather: shard 1 did not answer";
    assert_eq!(conditions(&wrong)[1], expected);
}

#[test]
fn many_shards_are_named_in_a_few_words() {
    let many: Vec<i64> = (0..1024).collect();
    assert_eq!(names(&many), "shard 0, shard 1, shard 2 and 1021 more");
}
