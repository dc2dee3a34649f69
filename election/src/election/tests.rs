//! Candidates with different clocks, a Lease, and a network that loses, delays and reorders. Two
//! candidates never lead at once, and tokens only grow. The Lease may be deleted; decisions of
//! leaders are fenced like the nodes' map.

use std::time::Duration;

use proptest::prelude::*;

use super::decision::{Decision, Lead, Past, Policy, PolicyError, Record, View, decide};
use super::pause;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy::new(15 * SECOND, 10 * SECOND, 2 * SECOND).unwrap()
}

/// One of the model's events.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Milliseconds pass.
    Pass(u64),
    /// A candidate decides, unless it waits for an answer. A write is sent but not yet applied.
    Decide(usize),
    /// A write that was sent reaches the API server; its sender may hear of it.
    Deliver { write: usize, heard: bool },
    /// A sender gives up a write, which may still arrive.
    GiveUp(usize),
    /// A candidate learns the current state, or an old one.
    Tell { candidate: usize, stale: bool },
    /// A candidate's process ends and starts again under another identity. It reads the fence.
    Restart(usize),
    /// The Lease is deleted.
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let candidate = 0..3usize;
    prop_oneof![
        4 => (1..4000u64).prop_map(Event::Pass),
        8 => candidate.clone().prop_map(Event::Decide),
        8 => (0..4usize, prop::bool::weighted(0.8))
            .prop_map(|(write, heard)| Event::Deliver { write, heard }),
        1 => candidate.clone().prop_map(Event::GiveUp),
        4 => (candidate.clone(), prop::bool::weighted(0.2))
            .prop_map(|(candidate, stale)| Event::Tell { candidate, stale }),
        1 => candidate.prop_map(Event::Restart),
    ]
}

/// Like [`event`], with occasional deletions of the Lease.
fn event_or_delete() -> impl Strategy<Value = Event> {
    prop_oneof![30 => event(), 1 => Just(Event::Delete)]
}

struct Candidate {
    identity: String,
    /// Its clock: an offset, and a rate in thousandths of true time.
    clock: (u64, u64),
    view: View,
    past: Past,
    lead: Option<Lead>,
    /// The write whose answer it awaits.
    waits: Option<u64>,
}

impl Candidate {
    fn new(identity: String, clock: (u64, u64), past: Past) -> Self {
        Self { identity, clock, view: View::Unknown, past, lead: None, waits: None }
    }

    fn see(&mut self, found: Option<Record>, now: Duration) {
        found.iter().for_each(|record| self.past.note(record));
        self.view.observe(found, now);
    }
}

struct Write {
    id: u64,
    sender: usize,
    over: Option<String>,
    record: Record,
    sent: Duration,
}

#[derive(Default)]
struct World {
    millis: u64,
    candidates: Vec<Candidate>,
    /// Every version of the Lease, in order; `None` if it was deleted.
    history: Vec<Option<Record>>,
    writes: Vec<Write>,
    next: u64,
    /// Tokens of leads that passed the fence.
    leads: Vec<u64>,
    /// The highest announced token, and its holder.
    fence: (u64, String),
}

impl World {
    fn new(clocks: &[(u64, u64)]) -> Self {
        let candidate = |(index, clock): (usize, &(u64, u64))| {
            Candidate::new(format!("{index}_0"), *clock, Past::default())
        };
        let candidates = clocks.iter().enumerate().map(candidate).collect();
        // The Lease does not exist before it is first created.
        Self { candidates, history: vec![None], ..Self::default() }
    }

    /// A world whose candidates have observed a Lease with a holder.
    fn with_a_past(clocks: &[(u64, u64)]) -> Self {
        let mut world = Self::new(clocks);
        // No candidate has observed the time before.
        world.history = vec![Some(held(None, 3))];
        (0..clocks.len()).for_each(|candidate| world.tell(candidate, false));
        world
    }

    fn newest(&self) -> Option<&Record> {
        self.history.last()?.as_ref()
    }

    fn tell(&mut self, candidate: usize, stale: bool) {
        let now = self.now(candidate);
        let older = self.history.len().saturating_sub(1 + usize::from(stale));
        let found = self.history.get(older).cloned().flatten();
        self.candidates[candidate].see(found, now);
    }

    fn now(&self, candidate: usize) -> Duration {
        let (offset, rate) = self.candidates[candidate].clock;
        Duration::from_micros(offset * 1000 + self.millis * rate)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass(millis) => self.millis += millis,
            Event::Decide(candidate) => self.decide(candidate),
            Event::Deliver { write, heard } => self.deliver(write, heard),
            Event::GiveUp(candidate) => {
                let candidate = &mut self.candidates[candidate];
                if candidate.waits.take().is_some() {
                    candidate.view = View::Unknown;
                }
            }
            Event::Tell { candidate, stale } => self.tell(candidate, stale),
            Event::Delete => self.history.push(None),
            Event::Restart(candidate) => {
                self.next += 1;
                let identity = format!("{candidate}_{}", self.next);
                let past = Past { token: self.fence.0, ..Past::default() };
                let candidate = &mut self.candidates[candidate];
                *candidate = Candidate::new(identity, candidate.clock, past);
            }
        }
    }

    fn decide(&mut self, index: usize) {
        let now = self.now(index);
        let newest = self.newest().cloned();
        let id = self.next;
        let candidate = &mut self.candidates[index];
        if candidate.waits.is_some() {
            return;
        }
        let own = candidate.identity.clone();
        let Candidate { view, past, lead, .. } = candidate;
        let decision = decide(&own, view, lead.as_ref(), past, now, &policy());
        let token = match (decision, candidate.lead.as_mut()) {
            (Decision::Look, _) => return candidate.see(newest, now),
            (Decision::Lost, _) => {
                candidate.lead = None;
                return;
            }
            (Decision::Wait { until }, _) => {
                assert!(until > now, "waits for the past");
                return;
            }
            (Decision::Acquire { token }, None) => token,
            (Decision::Renew, Some(lead)) => {
                lead.tried = now;
                lead.token
            }
            (Decision::Acquire { .. } | Decision::Renew, _) => panic!("{decision:?}"),
        };
        let over = match &candidate.view {
            View::Present { record, .. } => Some(record.version.clone()),
            View::Absent { .. } | View::Unknown => None,
        };
        let (version, uid) = (format!("v{id}"), String::new());
        let record =
            Record { holder: Some(own), duration: 15 * SECOND, transitions: token, version, uid };
        candidate.waits = Some(id);
        self.next += 1;
        self.writes.push(Write { id, sender: index, over, record, sent: now });
    }

    /// The API server applies a write if it is based on the newest version.
    fn deliver(&mut self, write: usize, heard: bool) {
        if write >= self.writes.len() {
            return;
        }
        let Write { id, sender, over, mut record, sent } = self.writes.remove(write);
        let applied = over.as_ref() == self.newest().map(|newest| &newest.version);
        if applied {
            // A new Lease gets a new uid.
            record.uid = self.newest().map_or_else(|| format!("u{id}"), |old| old.uid.clone());
            self.history.push(Some(record.clone()));
        }
        let now = self.now(sender);
        let candidate = &mut self.candidates[sender];
        if candidate.waits != Some(id) {
            return;
        }
        candidate.waits = None;
        if !applied || !heard {
            candidate.view = View::Unknown;
            return;
        }
        let (token, uid) = (record.transitions, record.uid.clone());
        candidate.see(Some(record), now);
        if let Some(lead) = &mut candidate.lead {
            lead.renewed = sent;
            return;
        }
        let announced = (token, candidate.identity.clone());
        if token > self.fence.0 {
            self.fence = announced;
            self.leads.push(token);
            candidate.lead = Some(Lead { token, uid, renewed: sent, tried: sent });
        } else {
            // Another candidate leads with this token, or has led with a higher one.
            assert_ne!(self.fence, announced, "a lead is announced once");
            candidate.past.token = self.fence.0;
            candidate.view = View::Unknown;
        }
    }

    /// The candidates that consider themselves leaders, by their own clocks.
    fn holders(&self) -> usize {
        let holds = |(index, candidate): (usize, &Candidate)| {
            candidate.lead.as_ref().is_some_and(|lead| self.now(index) < lead.deadline(&policy()))
        };
        self.candidates.iter().enumerate().filter(|pair| holds(*pair)).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn never_do_two_hold_and_tokens_only_grow(
        clocks in prop::collection::vec((0..100_000_000u64, 900..1100u64), 3),
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut world = World::new(&clocks);
        for event in events {
            world.happen(event);
            prop_assert!(world.holders() <= 1, "two hold after {event:?}");
            prop_assert!(world.leads.is_sorted_by(|a, b| a < b), "{:?}", world.leads);
        }
    }

    /// As long as candidates remember an earlier lead, deleting the Lease changes nothing.
    #[test]
    fn a_deleted_lease_lets_no_second_hold(
        clocks in prop::collection::vec((0..100_000_000u64, 900..1100u64), 3),
        events in prop::collection::vec(event(), 1..300),
        deleted in 0..300usize,
    ) {
        let mut world = World::with_a_past(&clocks);
        for (at, event) in events.into_iter().enumerate() {
            if at == deleted {
                world.happen(Event::Delete);
            }
            if !matches!(event, Event::Restart(_)) {
                world.happen(event);
            }
            prop_assert!(world.holders() <= 1, "two hold after {event:?}");
            prop_assert!(world.leads.is_sorted_by(|a, b| a < b), "{:?}", world.leads);
        }
    }

    /// However often the Lease is deleted, and whatever candidates remember, no two leads pass the
    /// fence with the same token.
    #[test]
    fn no_token_passes_the_fence_twice(
        clocks in prop::collection::vec((0..100_000_000u64, 900..1100u64), 3),
        events in prop::collection::vec(event_or_delete(), 1..300),
    ) {
        let mut world = World::new(&clocks);
        for event in events {
            world.happen(event);
            prop_assert!(world.leads.is_sorted_by(|a, b| a < b), "{:?}", world.leads);
        }
    }

    /// After any faults, a quiet network elects one leader.
    #[test]
    fn when_faults_end_one_leads(
        clocks in prop::collection::vec((0..100_000_000u64, 900..1100u64), 3),
        events in prop::collection::vec(event_or_delete(), 0..100),
    ) {
        let mut world = World::new(&clocks);
        events.into_iter().for_each(|event| world.happen(event));
        for candidate in 0..3 {
            world.happen(Event::GiveUp(candidate));
        }
        world.writes.clear();
        for _ in 0..100 {
            world.happen(Event::Pass(500));
            for candidate in 0..3 {
                world.happen(Event::Tell { candidate, stale: false });
                world.happen(Event::Decide(candidate));
                world.happen(Event::Deliver { write: 0, heard: true });
            }
        }
        prop_assert_eq!(world.holders(), 1);
    }
}

fn held(holder: Option<&str>, transitions: u64) -> Record {
    let holder = holder.map(str::to_owned);
    let (version, uid) = ("1".into(), "lease".into());
    Record { holder, duration: 15 * SECOND, transitions, version, uid }
}

fn view(record: Record, seen: Duration) -> View {
    View::Present { record, seen }
}

#[test]
fn a_released_lease_is_taken_at_once_and_a_held_one_after_its_time() {
    let policy = policy();
    let stand = |view: &View, floor, now| {
        let past = Past { token: floor, ..Past::default() };
        decide("me", view, None, &past, now, &policy)
    };
    assert_eq!(stand(&View::Unknown, 0, SECOND), Decision::Look);
    // The first Lease is created at once. A Lease that existed before is created again after its
    // holder must have stopped.
    let absent = View::Absent { since: SECOND };
    assert_eq!(stand(&absent, 0, SECOND), Decision::Acquire { token: 1 });
    assert_eq!(stand(&absent, 6, 15 * SECOND), Decision::Wait { until: 16 * SECOND });
    assert_eq!(stand(&absent, 6, 16 * SECOND), Decision::Acquire { token: 7 });
    let free = view(held(None, 4), SECOND);
    assert_eq!(stand(&free, 0, SECOND), Decision::Acquire { token: 5 });
    let taken = view(held(Some("other"), 4), SECOND);
    assert_eq!(stand(&taken, 9, 15 * SECOND), Decision::Wait { until: 16 * SECOND });
    assert_eq!(stand(&taken, 9, 16 * SECOND), Decision::Acquire { token: 10 });
    // The longer duration of another holder is respected.
    let long = Record { duration: 40 * SECOND, ..held(Some("other"), 4) };
    assert_eq!(stand(&view(long, SECOND), 0, 16 * SECOND), Decision::Wait { until: 41 * SECOND });
    // A write whose answer was lost.
    let own = view(held(Some("me"), 4), SECOND);
    assert_eq!(stand(&own, 0, SECOND), Decision::Acquire { token: 5 });
}

#[test]
fn a_holder_renews_in_time_or_stops() {
    let policy = policy();
    let lead = Lead { token: 4, uid: "lease".into(), renewed: SECOND, tried: SECOND };
    let past = Past::default();
    let keep = |view: &View, now| decide("me", view, Some(&lead), &past, now, &policy);
    let own = view(held(Some("me"), 4), SECOND);
    assert_eq!(keep(&own, 2 * SECOND), Decision::Wait { until: 3 * SECOND });
    assert_eq!(keep(&own, 3 * SECOND), Decision::Renew);
    assert_eq!(keep(&own, 11 * SECOND), Decision::Lost);
    assert_eq!(keep(&View::Unknown, 3 * SECOND), Decision::Look);
    for other in [held(Some("other"), 5), held(Some("me"), 5), held(None, 4)] {
        assert_eq!(keep(&view(other, SECOND), 2 * SECOND), Decision::Lost);
    }
    assert_eq!(keep(&View::Absent { since: SECOND }, 2 * SECOND), Decision::Lost);
    // A Lease restored from a backup is a different Lease.
    let restored = Record { uid: "another".into(), ..held(Some("me"), 4) };
    assert_eq!(keep(&view(restored, SECOND), 2 * SECOND), Decision::Lost);
}

#[test]
fn a_version_seen_again_keeps_its_time() {
    let mut view = View::Unknown;
    view.observe(Some(held(Some("other"), 4)), 5 * SECOND);
    view.observe(Some(held(Some("other"), 4)), 9 * SECOND);
    assert!(matches!(&view, View::Present { seen, .. } if *seen == 5 * SECOND));
    let renewed = Record { version: "2".into(), ..held(Some("other"), 4) };
    view.observe(Some(renewed), 9 * SECOND);
    assert!(matches!(&view, View::Present { seen, .. } if *seen == 9 * SECOND));
    view.observe(None, 10 * SECOND);
    view.observe(None, 12 * SECOND);
    assert_eq!(view, View::Absent { since: 10 * SECOND });
}

#[test]
fn a_refused_candidate_looks_more_and_more_slowly() {
    let slow = Policy::new(300 * SECOND, 200 * SECOND, 60 * SECOND).unwrap();
    let pauses: Vec<u64> = (0..6).map(|failures| pause(&slow, failures).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
    assert_eq!(pause(&policy(), u32::MAX), SECOND);
    let fast = Policy::new(4 * SECOND, 3 * SECOND, SECOND / 2).unwrap();
    assert_eq!(pause(&fast, 3), SECOND / 2);
}

#[test]
fn times_that_let_two_hold_are_refused() {
    let refused = |lease, renew, retry| {
        let error: PolicyError =
            Policy::new(SECOND * lease, SECOND * renew, SECOND * retry).unwrap_err();
        assert!(error.to_string().contains("must outlast"), "{error}");
    };
    refused(10, 10, 2);
    refused(15, 10, 9);
    refused(15, 10, 0);
    refused(3601, 10, 2);
    assert!(Policy::new(Duration::from_millis(1500), SECOND, SECOND / 4).is_err());
    assert_eq!(Policy::default(), policy());
}
