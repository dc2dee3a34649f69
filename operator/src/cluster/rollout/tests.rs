//! Single decisions, and a model of the sets' controller in which decisions are repeated.

use proptest::prelude::*;

use super::*;

/// Parses shards, one word per pod: `+` ready, `p` peers only, `-` down, `.` gone; then `o`
/// outdated, `l` lacks a table, `L` leads, `v` has a void token.
fn shards(text: &[&str]) -> Vec<ShardState> {
    let pod = |shard: usize, number: usize, word: &str| PodState {
        name: format!("{shard}-{number}"),
        phase: match word.as_bytes()[0] {
            b'+' => Phase::Ready,
            b'p' => Phase::Peers,
            b'-' => Phase::Down,
            _ => Phase::Gone,
        },
        outdated: word.contains('o'),
        lacks: word.contains('l'),
        leads: word.contains('L'),
        void: word.contains('v'),
    };
    let shard = |(shard, words): (usize, &&str)| {
        let words = words.split_whitespace().enumerate();
        let pods: Vec<_> = words.map(|(number, word)| pod(shard, number, word)).collect();
        let available = pods.iter().all(|pod| pod.phase == Phase::Ready);
        ShardState { settled: true, available, pods }
    };
    text.iter().enumerate().map(shard).collect()
}

fn pods(names: &[&str]) -> Replacement {
    Replacement { pods: names.iter().map(|name| (*name).to_owned()).collect(), hold: None }
}

fn waits_for(name: &str) -> Replacement {
    Replacement { pods: Vec::new(), hold: Some(Hold::Pod(name.to_owned())) }
}

#[test]
fn nothing_is_replaced_that_is_as_it_shall_be() {
    assert_eq!(next_replacement(&shards(&["+ +", "- .", "p +l"])), Replacement::default());
}

#[test]
fn pods_go_one_at_a_time_and_the_leader_last() {
    assert_eq!(next_replacement(&shards(&["+oL +o", "+o +o"])), pods(&["0-1"]));
    assert_eq!(next_replacement(&shards(&["+oL .", "+o +o"])), waits_for("0-1"));
    assert_eq!(next_replacement(&shards(&["+oL -", "+o +o"])), waits_for("0-1"));
    assert_eq!(next_replacement(&shards(&["+oL +", "+o +o"])), pods(&["1-1"]));
    assert_eq!(next_replacement(&shards(&["+oL +", "+ +"])), pods(&["0-0"]));
    // With one replica there is no other way.
    assert_eq!(next_replacement(&shards(&["+o", "+oL"])), pods(&["0-0"]));
}

#[test]
fn a_pod_that_has_just_become_ready_is_waited_for() {
    let mut young = shards(&["+o +", "+ +"]);
    young[0].available = false;
    let hold = |shard| Replacement { pods: Vec::new(), hold: Some(Hold::Set(shard)) };
    assert_eq!(next_replacement(&young), hold(0));
    // Nothing is known either about a set whose controller has not processed its template.
    let mut unseen = shards(&["+o +", "+ +"]);
    unseen[1].settled = false;
    assert_eq!(next_replacement(&unseen), hold(1));
}

#[test]
fn an_outdated_pod_that_does_not_serve_is_replaced_at_once() {
    // A new template does not work: one pod has it. The next template, which may work, replaces
    // that pod first.
    assert_eq!(next_replacement(&shards(&["+o -", "+o +o"])), waits_for("0-1"));
    assert_eq!(next_replacement(&shards(&["+o -o", "+o +o"])), pods(&["0-1"]));
    // The pod with the lowest number does not work. The others do not hold it up.
    assert_eq!(next_replacement(&shards(&["-o +"])), pods(&["0-0"]));
    assert_eq!(next_replacement(&shards(&["-o +o"])), pods(&["0-0"]));
    assert_eq!(
        next_replacement(&shards(&["-o -o", "-oL -o"])),
        pods(&["0-0", "0-1", "1-0", "1-1"])
    );
    // A pod that cannot be created holds up serving pods, but not others.
    assert_eq!(next_replacement(&shards(&[". +o"])), waits_for("0-0"));
    assert_eq!(next_replacement(&shards(&[". -o", "+o +o"])), pods(&["0-1"]));
}

#[test]
fn pods_that_have_turned_clients_away_have_their_turn_first() {
    assert_eq!(next_replacement(&shards(&["po po", "+o +o"])), pods(&["0-1"]));
    assert_eq!(next_replacement(&shards(&["po p", "+o +o"])), waits_for("0-1"));
    assert_eq!(next_replacement(&shards(&["po +", "+o +o"])), pods(&["0-0"]));
    assert_eq!(next_replacement(&shards(&["p p", "+o +o"])), waits_for("0-0"));
}

#[test]
fn no_rollout_passes_a_pod_that_lacks_what_another_serves() {
    assert_eq!(next_replacement(&shards(&["+o +l", "+o +o"])), waits_for("0-1"));
    assert!(!shards(&["+ +l"])[0].whole());
    // A template that would fix it reaches it.
    assert_eq!(next_replacement(&shards(&["+o +o", "+ol +o"])), pods(&["1-0"]));
    assert_eq!(next_replacement(&shards(&["+o +o", "+ol +l"])), waits_for("1-1"));
}

#[test]
fn a_new_pod_that_cannot_hear_of_the_old_ones_does_not_hold_them_up() {
    assert_eq!(next_replacement(&shards(&["+ovL +ov", "+ov +ov"])), pods(&["0-1"]));
    assert_eq!(next_replacement(&shards(&["+ovL -", "+ov +ov"])), waits_for("0-1"));
    assert_eq!(next_replacement(&shards(&["+ovL p", "+ov +ov"])), pods(&["1-1"]));
    assert_eq!(next_replacement(&shards(&["+ovL p", "+ov ."])), waits_for("1-1"));
    // Without void tokens, it does hold them up.
    assert_eq!(next_replacement(&shards(&["+oL p", "+o +o"])), waits_for("0-1"));
}

/// A template: the behaviour of a pod that is created from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Template {
    Works,
    NeverReady,
    Refused,
}

/// A pod's revision, template and age; `None` while it is gone.
type ModelPod = Option<(usize, Template, usize)>;

/// The sets, their controller and the kubelet.
struct Model {
    /// The newest template, with its revision.
    newest: (usize, Template),
    /// The number of steps until the sets' controller processes it.
    unseen: usize,
    pods: Vec<Vec<ModelPod>>,
    leader: usize,
}

/// Steps from a pod's creation until it is ready, and from then until it is available.
const START: usize = 2;
const AVAILABLE: usize = 4;

impl Model {
    fn new(shards: usize, replicas: usize) -> Self {
        let pod = Some((0, Template::Works, AVAILABLE));
        let pods = vec![vec![pod; replicas]; shards];
        Self { newest: (0, Template::Works), unseen: 0, pods, leader: 0 }
    }

    fn state(&self) -> Vec<ShardState> {
        let shard = |(shard, pods): (usize, &Vec<ModelPod>)| {
            let pod = |(number, pod): (usize, &ModelPod)| {
                let phase = match pod {
                    None => Phase::Gone,
                    Some((_, Template::Works, age)) if *age >= START => Phase::Ready,
                    Some(_) => Phase::Down,
                };
                let outdated =
                    self.unseen == 0 && pod.is_some_and(|(revision, ..)| revision != self.newest.0);
                let leads = shard * pods.len() + number == self.leader;
                let name = format!("{shard}-{number}");
                PodState { name, phase, outdated, lacks: false, leads, void: false }
            };
            let available = pods.iter().all(|pod| {
                pod.is_some_and(|(_, template, age)| {
                    template == Template::Works && age >= AVAILABLE
                })
            });
            let pods = pods.iter().enumerate().map(pod).collect();
            ShardState { settled: self.unseen == 0, available, pods }
        };
        self.pods.iter().enumerate().map(shard).collect()
    }

    fn serving(&self) -> usize {
        let pods = self.state().into_iter().flat_map(|shard| shard.pods);
        pods.filter(|pod| pod.phase == Phase::Ready).count()
    }

    fn write(&mut self, template: Template) {
        self.newest = (self.newest.0 + 1, template);
        self.unseen = 2;
    }

    /// One step of all actors. Returns a violation of the guarantees, if any.
    fn step(&mut self, decide: impl Fn(&[ShardState]) -> Replacement) -> Result<(), String> {
        let before = self.serving();
        let young = self.state().iter().filter(|shard| !shard.available).count();
        let replacement = decide(&self.state());
        for name in &replacement.pods {
            let (shard, number) = name.split_once('-').unwrap();
            self.pods[shard.parse::<usize>().unwrap()][number.parse::<usize>().unwrap()] = None;
        }
        let lost = before - self.serving();
        if lost > 1 || (lost == 1 && young > 0) {
            return Err(format!("{before} served, {young} shards waited, and {lost} pods went"));
        }
        self.unseen = self.unseen.saturating_sub(1);
        for pod in self.pods.iter_mut().flatten() {
            *pod = match *pod {
                Some((revision, template, age)) => Some((revision, template, age + 1)),
                None if self.unseen > 0 || self.newest.1 == Template::Refused => None,
                None => Some((self.newest.0, self.newest.1, 0)),
            };
        }
        Ok(())
    }

    /// Whether every pod has the newest template and serves.
    fn is_done(&self) -> bool {
        self.state().iter().all(ShardState::whole)
    }
}

fn templates() -> impl Strategy<Value = Vec<(Template, usize)>> {
    let template =
        prop_oneof![Just(Template::Works), Just(Template::NeverReady), Just(Template::Refused)];
    prop::collection::vec((template, 0..24_usize), 1..6)
}

/// Writes each template, lets some time pass, and ends with one that works.
fn run(
    (shards, replicas): (usize, usize),
    templates: &[(Template, usize)],
    decide: impl Fn(&[ShardState]) -> Replacement + Copy,
) -> Result<(), String> {
    let mut model = Model::new(shards, replicas);
    let all = shards * replicas;
    for (template, steps) in templates {
        model.write(*template);
        for _ in 0..*steps {
            model.step(decide)?;
            // Whatever was written, two pods are never away at once, except for one that was
            // created again from each template.
            if model.serving() + 1 < all {
                return Err(format!("{} of {all} serve", model.serving()));
            }
        }
    }
    model.write(Template::Works);
    for _ in 0..(all + 2) * (AVAILABLE + 4) {
        model.step(decide)?;
    }
    if model.is_done() { Ok(()) } else { Err("it never ends".into()) }
}

fn many(decide: impl Fn(&[ShardState]) -> Replacement + Copy) -> Result<(), String> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let size = (1..4_usize, 1..4_usize);
    let result = runner.run(&(size, templates()), |(size, templates)| {
        run(size, &templates, decide).map_err(TestCaseError::fail)
    });
    result.map_err(|error| error.to_string())
}

#[test]
fn whatever_templates_are_written_one_pod_is_away_at_a_time_and_the_last_reaches_all() {
    many(next_replacement).unwrap();
}

#[test]
fn mistakes_in_the_decision_are_found() {
    let without = |shards: &[ShardState], change: fn(&mut ShardState)| {
        let mut shards = shards.to_vec();
        shards.iter_mut().for_each(change);
        next_replacement(&shards)
    };
    let ready_is_available = many(|shards| without(shards, |shard| shard.available = true));
    assert!(ready_is_available.is_err());
    let two_at_a_time = many(|shards| {
        let first = next_replacement(shards);
        let mut rest = shards.to_vec();
        for pod in rest.iter_mut().flat_map(|shard| &mut shard.pods) {
            pod.outdated &= !first.pods.contains(&pod.name);
        }
        let pods = first.pods.into_iter().chain(next_replacement(&rest).pods).collect();
        Replacement { pods, hold: None }
    });
    assert!(two_at_a_time.is_err());
    let nothing_waits = many(|shards| {
        let outdated = shards.iter().flat_map(|shard| &shard.pods).filter(|pod| pod.outdated);
        let pods = outdated.take(1).map(|pod| pod.name.clone()).collect();
        Replacement { pods, hold: None }
    });
    assert!(nothing_waits.is_err());
    let down_ones_wait = many(|shards| {
        let down = shards.iter().flat_map(|shard| &shard.pods).any(|pod| pod.phase == Phase::Down);
        if down { Replacement::default() } else { next_replacement(shards) }
    });
    assert!(down_ones_wait.is_err());
    let gone_ones_are_no_matter = many(|shards| {
        without(shards, |shard| {
            shard.pods.retain(|pod| pod.phase != Phase::Gone);
            shard.available = true;
        })
    });
    assert!(gone_ones_are_no_matter.is_err());
}

proptest! {
    #[test]
    fn serving_pods_are_replaced_one_at_a_time_and_only_while_all_others_are_available(
        words in prop::collection::vec(prop::collection::vec(0..64_u8, 1..4), 1..5),
        settled in any::<u8>(), available in any::<u8>(),
    ) {
        let word = |bits: &u8| {
            let phase = ["+", "p", "-", "."][usize::from(bits & 3)];
            let flag = |bit: u8, word: &'static str| if bits >> bit & 1 == 1 { word } else { "" };
            format!("{phase}{}{}{}", flag(2, "o"), flag(3, "l"), flag(4, "L"))
        };
        let texts: Vec<String> =
            words.iter().map(|pods| pods.iter().map(word).collect::<Vec<_>>().join(" ")).collect();
        let mut shards = shards(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        for (number, shard) in shards.iter_mut().enumerate() {
            shard.settled = settled >> number & 1 == 1;
            shard.available &= available >> number & 1 == 1;
        }
        let Replacement { pods, hold } = next_replacement(&shards);
        let all = || shards.iter().flat_map(|shard| &shard.pods);
        let chosen: Vec<_> = all().filter(|pod| pods.contains(&pod.name)).collect();
        prop_assert_eq!(chosen.len(), pods.len());
        prop_assert!(chosen.iter().all(|pod| pod.outdated && pod.phase != Phase::Gone));
        prop_assert!(hold.is_none() || pods.is_empty());
        if let Some(serving) = chosen.iter().find(|pod| pod.phase != Phase::Down) {
            prop_assert_eq!(chosen.len(), 1);
            let others = all().filter(|pod| pod.name != serving.name);
            // Other pods that are to be replaced do not count if they no longer serve clients or
            // lack a table.
            let mut others = others.filter(|pod| !(pod.outdated && pod.phase == Phase::Peers));
            prop_assert!(others.all(|pod| pod.phase == Phase::Ready && (pod.outdated || !pod.lacks)));
            prop_assert!(shards.iter().all(|shard| shard.settled));
        }
    }
}
