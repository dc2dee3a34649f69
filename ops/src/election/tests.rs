//! Candidates with clocks of their own, a Lease, and a network that loses, delays and repeats nothing
//! in order: never do two hold, and tokens only grow.

use std::time::Duration;

use proptest::prelude::*;

use super::decision::{Decision, Lead, Policy, PolicyError, Record, View, decide};

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy::new(15 * SECOND, 10 * SECOND, 2 * SECOND).unwrap()
}

/// One of the model's events.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Milliseconds pass.
    Pass(u64),
    /// A candidate that waits for nothing decides; a write is sent, not yet applied.
    Decide(usize),
    /// A write that was sent reaches the API server; its sender may hear of it.
    Deliver { write: usize, heard: bool },
    /// A sender gives a write up, which may still arrive.
    GiveUp(usize),
    /// A candidate is told the present state, or an old one.
    Tell { candidate: usize, stale: bool },
    /// A candidate's process ends and starts again under another identity.
    Restart(usize),
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

struct Candidate {
    identity: String,
    /// Its clock: an offset, and a rate in thousandths of true time.
    clock: (u64, u64),
    view: View,
    lead: Option<Lead>,
    /// The write that it waits for.
    waits: Option<u64>,
}

struct Write {
    id: u64,
    sender: usize,
    over: Option<String>,
    record: Record,
    sent: Duration,
}

struct World {
    millis: u64,
    candidates: Vec<Candidate>,
    /// Every version of the Lease, in order.
    history: Vec<Record>,
    writes: Vec<Write>,
    next: u64,
    leads: Vec<u64>,
}

impl World {
    fn new(clocks: &[(u64, u64)]) -> Self {
        let candidate = |(index, clock): (usize, &(u64, u64))| Candidate {
            identity: format!("{index}_0"),
            clock: *clock,
            view: View::Unknown,
            lead: None,
            waits: None,
        };
        let candidates = clocks.iter().enumerate().map(candidate).collect();
        Self {
            millis: 0,
            candidates,
            history: Vec::new(),
            writes: Vec::new(),
            next: 0,
            leads: Vec::new(),
        }
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
            Event::Tell { candidate, stale } => {
                let now = self.now(candidate);
                let older = self.history.len().saturating_sub(1 + usize::from(stale));
                let found = self.history.get(older).cloned();
                self.candidates[candidate].view.observe(found, now);
            }
            Event::Restart(candidate) => {
                self.next += 1;
                let identity = format!("{candidate}_{}", self.next);
                let candidate = &mut self.candidates[candidate];
                *candidate = Candidate {
                    identity,
                    clock: candidate.clock,
                    view: View::Unknown,
                    lead: None,
                    waits: None,
                };
            }
        }
    }

    fn decide(&mut self, index: usize) {
        let now = self.now(index);
        let newest = self.history.last().cloned();
        let id = self.next;
        let candidate = &mut self.candidates[index];
        if candidate.waits.is_some() {
            return;
        }
        let own = candidate.identity.clone();
        let decision = decide(&own, &candidate.view, candidate.lead.as_ref(), 0, now, &policy());
        let token = match (decision, candidate.lead.as_mut()) {
            (Decision::Look, _) => return candidate.view.observe(newest, now),
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
            View::Absent | View::Unknown => None,
        };
        let version = format!("v{id}");
        let record =
            Record { holder: Some(own), duration: 15 * SECOND, transitions: token, version };
        candidate.waits = Some(id);
        self.next += 1;
        self.writes.push(Write { id, sender: index, over, record, sent: now });
    }

    /// The API server applies a write if it is over the newest version.
    fn deliver(&mut self, write: usize, heard: bool) {
        if write >= self.writes.len() {
            return;
        }
        let Write { id, sender, over, record, sent } = self.writes.remove(write);
        let applied = over.as_ref() == self.history.last().map(|newest| &newest.version);
        if applied {
            self.history.push(record.clone());
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
        let token = record.transitions;
        candidate.view.observe(Some(record), now);
        match &mut candidate.lead {
            Some(lead) => lead.renewed = sent,
            None => {
                candidate.lead = Some(Lead { token, renewed: sent, tried: sent });
                self.leads.push(token);
            }
        }
    }

    /// Those that think that they lead, by their own clocks.
    fn holders(&self) -> usize {
        let holds = |(index, candidate): (usize, &Candidate)| {
            candidate.lead.is_some_and(|lead| self.now(index) < lead.deadline(&policy()))
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

    /// From wherever faults have led, a quiet network elects one.
    #[test]
    fn when_faults_end_one_leads(
        clocks in prop::collection::vec((0..100_000_000u64, 900..1100u64), 3),
        events in prop::collection::vec(event(), 0..100),
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
    Record { holder, duration: 15 * SECOND, transitions, version: "1".into() }
}

fn view(record: Record, seen: Duration) -> View {
    View::Present { record, seen }
}

#[test]
fn a_released_lease_is_taken_at_once_and_a_held_one_after_its_time() {
    let policy = policy();
    let stand = |view: &View, floor, now| decide("me", view, None, floor, now, &policy);
    assert_eq!(stand(&View::Unknown, 0, SECOND), Decision::Look);
    assert_eq!(stand(&View::Absent, 6, SECOND), Decision::Acquire { token: 7 });
    let free = view(held(None, 4), SECOND);
    assert_eq!(stand(&free, 0, SECOND), Decision::Acquire { token: 5 });
    let taken = view(held(Some("other"), 4), SECOND);
    assert_eq!(stand(&taken, 9, 15 * SECOND), Decision::Wait { until: 16 * SECOND });
    assert_eq!(stand(&taken, 9, 16 * SECOND), Decision::Acquire { token: 10 });
    // A holder that asks for a longer time gets it.
    let long = Record { duration: 40 * SECOND, ..held(Some("other"), 4) };
    assert_eq!(stand(&view(long, SECOND), 0, 16 * SECOND), Decision::Wait { until: 41 * SECOND });
    // An attempt whose answer was lost.
    let own = view(held(Some("me"), 4), SECOND);
    assert_eq!(stand(&own, 0, SECOND), Decision::Acquire { token: 5 });
}

#[test]
fn a_holder_renews_in_time_or_stops() {
    let policy = policy();
    let lead = Lead { token: 4, renewed: SECOND, tried: SECOND };
    let keep = |view: &View, now| decide("me", view, Some(&lead), 0, now, &policy);
    let own = view(held(Some("me"), 4), SECOND);
    assert_eq!(keep(&own, 2 * SECOND), Decision::Wait { until: 3 * SECOND });
    assert_eq!(keep(&own, 3 * SECOND), Decision::Renew);
    assert_eq!(keep(&own, 11 * SECOND), Decision::Lost);
    assert_eq!(keep(&View::Unknown, 3 * SECOND), Decision::Look);
    for other in [held(Some("other"), 5), held(Some("me"), 5), held(None, 4)] {
        assert_eq!(keep(&view(other, SECOND), 2 * SECOND), Decision::Lost);
    }
    assert_eq!(keep(&View::Absent, 2 * SECOND), Decision::Lost);
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
    assert_eq!(view, View::Absent);
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
