//! Whole lives of tables: the operator's decisions against a model of Jobs, nodes, people and
//! restarts, in any order.
//!
//! Every event carries out one decision, or half of one, so that the interleavings include an
//! operator that is killed between two writes. After every event, every epoch that is served,
//! proposed or listed in a status is in the store.

mod life;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use opaque_crds::OpaqueShardMap;
use opaque_crds::shard_map::{Rejection, ShardMap};
use opaque_crds::table::Epoch;
use proptest::prelude::*;

use life::Life;

use crate::labels::TABLES;
use crate::table::decide::{Action, decide};
use crate::table::facts::{Facts, JobFacts, JobState, SourceFacts};
use crate::table::fixtures;
use crate::table::map_view::MapView;
use crate::table::propose::{ClusterTables, Outcome, Proposal, propose};
use crate::table::retry::Retry;
use crate::table::run;

/// An event. The first number selects a table.
#[derive(Debug, Clone)]
enum Event {
    /// The operator reconciles a table. With `false` it is killed after the status is written.
    Reconcile(usize, bool),
    /// The operator reconciles the map.
    Propose,
    /// A Job, possibly one that is being stopped, publishes its epoch and removes old ones, without
    /// reporting yet.
    Publish(usize),
    /// A Job succeeds.
    Succeed(usize),
    /// A Job reports a failure.
    Fail(usize),
    /// A Job ends without a report.
    Crash(usize),
    /// A finished Job is removed, because its time is over or because a person deletes it.
    Remove(usize),
    /// The nodes activate the proposed map.
    Activate,
    /// The nodes reject the proposed map.
    Reject,
    /// Data of the ConfigMap changes.
    Edit(usize, u8),
    /// `spec.epoch` changes.
    Pin(usize, Option<i64>),
    /// `spec.retainEpochs` changes.
    Retain(usize, i32),
    /// Minutes pass.
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let table = || 0..2_usize;
    prop_oneof![
        6 => (table(), any::<bool>()).prop_map(|(at, whole)| Event::Reconcile(at, whole)),
        4 => Just(Event::Propose),
        1 => table().prop_map(Event::Publish),
        3 => table().prop_map(Event::Succeed),
        1 => table().prop_map(Event::Fail),
        1 => table().prop_map(Event::Crash),
        1 => table().prop_map(Event::Remove),
        3 => Just(Event::Activate),
        1 => Just(Event::Reject),
        2 => (table(), 0..3_u8).prop_map(|(at, data)| Event::Edit(at, data)),
        1 => (table(), prop::option::of(1..8_i64)).prop_map(|(at, pin)| Event::Pin(at, pin)),
        1 => (table(), 1..4).prop_map(|(at, retain)| Event::Retain(at, retain)),
        2 => (1..20_i64).prop_map(Event::Pass),
    ]
}

/// Two tables of the operator, one that it does not own, and their map.
struct World {
    lives: Vec<Life>,
    map: OpaqueShardMap,
    now: Timestamp,
    /// How often an epoch was proposed: table, epoch, generation of the table's spec.
    proposals: BTreeMap<(String, i64, i64), usize>,
}

impl World {
    fn new() -> Self {
        Self {
            lives: vec![Life::new("one"), Life::new("two")],
            map: fixtures::map(1, &[("loaded", 5)], &[]),
            now: Timestamp::from_second(1_000_000).unwrap(),
            proposals: BTreeMap::new(),
        }
    }

    /// The tables have epochs 1 to 4 of earlier sources, and 4 is served.
    fn aged() -> Self {
        let mut world = Self::new();
        for life in &mut world.lives {
            life.age(4);
        }
        world.map = fixtures::map(1, &[("loaded", 5), ("one", 4), ("two", 4)], &["one", "two"]);
        world
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Reconcile(at, whole) => {
                self.reconcile(*at, *whole);
            }
            Event::Propose => {
                self.propose();
            }
            Event::Publish(at) => self.lives[*at].publish(self.now),
            Event::Succeed(at) => self.lives[*at].succeed(self.now),
            Event::Fail(at) => self.lives[*at].fail(),
            Event::Crash(at) => {
                self.lives[*at].end(JobState::Failed("crashed".into()));
            }
            Event::Remove(at) => {
                self.lives[*at].jobs.retain(|job| job.state == JobState::Active);
            }
            Event::Activate => self.activate(),
            Event::Reject => self.reject(),
            Event::Edit(at, data) => self.lives[*at].data = vec![*data],
            Event::Pin(at, pin) => {
                let table = &mut self.lives[*at].table;
                if table.spec.epoch != *pin {
                    table.spec.epoch = *pin;
                    table.metadata.generation = table.metadata.generation.map(|one| one + 1);
                }
            }
            Event::Retain(at, retain) => {
                let table = &mut self.lives[*at].table;
                if table.spec.retain_epochs != *retain {
                    table.spec.retain_epochs = *retain;
                    table.metadata.generation = table.metadata.generation.map(|one| one + 1);
                }
            }
            Event::Pass(minutes) => self.now += SignedDuration::from_mins(*minutes),
        }
        self.check_store();
    }

    /// Checks that every epoch that can be served is in the store, because a starting pod must load
    /// it.
    fn check_store(&self) {
        let map = MapView::new(&self.map);
        for life in &self.lives {
            let name = life.table.sql_name();
            let lost = |epoch: &i64| !life.holds(*epoch);
            assert_eq!(map.active_epoch(&name).filter(lost), None, "served, and removed");
            let proposed = map.proposed_epoch(&name).filter(|_| map.is_waiting());
            assert_eq!(proposed.filter(lost), None, "proposed, and removed");
            let listed = life.table.status.iter().flat_map(|status| &status.epochs);
            assert_eq!(listed.map(|entry| entry.epoch).find(lost), None, "listed, and removed");
        }
    }

    fn facts(&self, at: usize) -> Facts {
        let life = &self.lives[at];
        let mut facts = fixtures::facts(life.table.clone());
        facts.source = SourceFacts::Data(life.data.clone());
        facts.jobs = life.jobs.clone();
        facts.report = life.report.clone();
        facts.map = Some(self.map.clone());
        facts.now = self.now;
        facts
    }

    /// Returns whether anything changed.
    fn reconcile(&mut self, at: usize, whole: bool) -> bool {
        let decision = decide(&self.facts(at), &Retry::default());
        let life = &mut self.lives[at];
        let changed = life.table.status.as_ref() != Some(&decision.status);
        life.table.status = Some(decision.status);
        match decision.action {
            Action::Stop(name) if whole => {
                let job = life.jobs.iter_mut().find(|job| job.name == name).unwrap();
                job.state = JobState::Leaving;
            }
            Action::Start(start) if whole => life.start(start),
            Action::None => return changed,
            Action::Stop(_) | Action::Start(_) => {}
        }
        true
    }

    fn proposal(&self) -> Outcome {
        let readable = self.lives.iter().map(|life| life.table.clone()).collect();
        let tables = ClusterTables { readable, ..ClusterTables::default() };
        propose(&MapView::new(&self.map), &tables, self.now)
    }

    /// Returns whether anything changed.
    fn propose(&mut self) -> bool {
        let Outcome::Propose(Proposal { map, withdraws, owned }) = self.proposal() else {
            return false;
        };
        if let Some(reason) = withdraws {
            self.withdraw(&reason);
        }
        let owned = serde_json::to_string(&owned).unwrap();
        self.map.metadata.annotations.get_or_insert_default().insert(TABLES.into(), owned);
        if let Some(next) = map {
            self.check(&next);
            self.map.spec.map = next;
        }
        true
    }

    /// Checks the properties of every proposal.
    fn check(&mut self, next: &ShardMap) {
        assert!(!self.waits(), "a proposal while another waits");
        assert!(next.generation > self.map.spec.map.generation, "the generation fell");
        let active = self.map.status.as_ref().unwrap().active.as_ref().unwrap();
        assert_eq!((&next.shards, next.virtual_nodes), (&active.shards, active.virtual_nodes));
        assert_eq!(epoch_in(next, "loaded"), Some(5), "a foreign table was changed");
        let differs = |life: &&Life| {
            let name = life.table.sql_name();
            epoch_in(next, &name) != epoch_in(active, &name)
        };
        let changed: Vec<&Life> = self.lives.iter().filter(differs).collect();
        assert!(changed.len() <= 1, "two tables at a time");
        let Some(life) = changed.first() else { return };
        let name = life.table.sql_name();
        let epoch = epoch_in(next, &name).unwrap();
        assert!(life.holds(epoch), "it is not in the store");
        let key = (name, epoch, life.table.metadata.generation.unwrap());
        *self.proposals.entry(key).or_default() += 1;
    }

    /// The proposal is no longer wanted; a table may request its epoch again.
    fn withdraw(&mut self, reason: &str) {
        assert!(self.waits(), "withdrawn: {reason}; what was decided");
        let generation = self.map.spec.map.generation;
        self.map.spec.withdraw(generation, reason);
        let proposed = MapView::new(&self.map);
        for life in &self.lives {
            let name = life.table.sql_name();
            let Some(epoch) = proposed.proposed_epoch(&name) else { continue };
            if proposed.active_epoch(&name) != Some(epoch) {
                self.proposals.retain(|(table, number, _), _| (table, *number) != (&name, epoch));
            }
        }
    }

    fn waits(&self) -> bool {
        MapView::new(&self.map).is_waiting()
    }

    fn activate(&mut self) {
        if self.waits() {
            let proposed = self.map.spec.map.clone();
            self.map.status.as_mut().unwrap().active = Some(proposed);
        }
    }

    fn reject(&mut self) {
        if self.waits() {
            let generation = self.map.spec.map.generation;
            let rejected = &mut self.map.status.as_mut().unwrap().rejected;
            rejected.push(Rejection { generation, reason: "no".into() });
            let surplus = rejected.len().saturating_sub(16);
            rejected.drain(..surplus);
        }
    }

    /// From here on everything goes well, until nothing changes.
    fn settle(&mut self) {
        for _ in 0..100 {
            // Longer than any pause.
            self.now += SignedDuration::from_hours(2);
            let mut busy = false;
            for at in 0..self.lives.len() {
                busy |= self.reconcile(at, true);
                let life = &mut self.lives[at];
                busy |= life.jobs.iter().any(JobFacts::is_live);
                life.jobs.retain(|job| job.state != JobState::Leaving);
                life.succeed(self.now);
            }
            busy |= self.propose() || self.waits();
            self.activate();
            self.check_store();
            if !busy {
                return;
            }
        }
        panic!("it does not settle");
    }
}

fn epoch_in(map: &ShardMap, table: &str) -> Option<i64> {
    map.tables.iter().find(|entry| entry.table == table).map(|entry| entry.epoch)
}

proptest! {
    // Each decision evaluates all rules of the kind, which takes a while.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_life_of_two_tables_settles_on_what_their_specs_say(
        events in prop::collection::vec(event(), 0..80)
    ) {
        let mut world = World::aged();
        for event in &events {
            world.happen(event);
        }
        world.settle();
        for life in &world.lives {
            let status = life.table.status.as_ref().unwrap();
            let run = run::id(&life.table, &fixtures::cluster(), Some(&life.data));
            prop_assert_eq!(status.source_digest.as_ref(), Some(&run));
            let generation = life.table.metadata.generation.unwrap();
            let refused = |epoch: &&Epoch| {
                epoch.rejected.as_ref().is_some_and(|one| one.observed_generation == generation)
            };
            let wanted = match life.table.spec.epoch {
                Some(pin) => status.epochs.iter().find(|one| one.epoch == pin),
                None => status.epochs.iter().max_by_key(|one| one.epoch),
            };
            // An unknown pin, or an epoch that the nodes reject, keeps the previous epoch.
            if let Some(wanted) = wanted.filter(|wanted| !refused(wanted)) {
                prop_assert_eq!(status.active_epoch, Some(wanted.epoch));
            }
        }
    }

    /// While a spec stays the same, a rejected epoch is not proposed again.
    #[test]
    fn an_epoch_is_proposed_once(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::aged();
        for event in &events {
            world.happen(event);
        }
        for (proposal, times) in &world.proposals {
            prop_assert!(*times == 1, "{:?} was proposed {} times", proposal, times);
        }
    }
}

/// A rollback at night: the newest epoch is bad, and an old one is pinned while its successor is
/// built.
#[test]
fn an_epoch_that_is_pinned_while_a_job_runs_outlives_the_job() {
    let mut world = World::new();
    for data in 1..=5 {
        world.lives[0].data = vec![data];
        world.settle();
    }
    let epochs = |world: &World| -> Vec<i64> {
        world.lives[0].store.iter().map(|entry| entry.epoch).collect()
    };
    assert_eq!(epochs(&world), [5, 4, 3, 2], "three are retained in addition to the new one");
    world.lives[0].data = vec![6];
    world.reconcile(0, true);
    world.happen(&Event::Pin(0, Some(3)));
    world.reconcile(0, true);
    assert!(world.propose(), "a rollback does not wait for the Job");
    world.activate();
    assert_eq!(MapView::new(&world.map).active_epoch("one"), Some(3));
    world.happen(&Event::Succeed(0));
    assert_eq!(epochs(&world), [6, 5, 4, 3]);
    world.settle();
}

#[test]
fn a_table_that_never_rests_does_not_hold_back_the_others() {
    let mut world = World::new();
    for round in 0_u8..20 {
        world.now += SignedDuration::from_mins(1);
        // The first table gets an epoch each round; the nodes activate one map per round.
        world.lives[0].data = vec![round];
        for at in 0..2 {
            world.reconcile(at, true);
            world.lives[at].succeed(world.now);
            world.reconcile(at, true);
        }
        world.propose();
        world.activate();
        let served = MapView::new(&world.map).active_epoch("two");
        assert!(round < 2 || served.is_some(), "held back in round {round}");
    }
}

#[test]
fn a_deleted_table_goes_from_the_map_and_others_stay() {
    let mut world = World::new();
    world.settle();
    world.lives.remove(0);
    assert!(world.propose());
    world.activate();
    assert!(world.propose(), "its name is still in the annotation");
    let view = MapView::new(&world.map);
    assert_eq!(view.active_epoch("one"), None);
    assert_eq!(view.active_epoch("two"), Some(1));
    assert_eq!(view.owned, BTreeSet::from(["two".to_owned()]));
    assert_eq!(world.proposal(), Outcome::Settled);
}

#[test]
fn a_rejected_removal_rests_for_a_while() {
    let mut world = World::new();
    world.settle();
    world.lives.remove(0);
    assert!(world.propose());
    assert_eq!(world.proposal(), Outcome::Settled, "it waits");
    world.reject();
    assert!(matches!(world.proposal(), Outcome::Later(at) if at > world.now));
    world.now += SignedDuration::from_mins(6);
    assert!(matches!(world.proposal(), Outcome::Propose(_)));
}

#[test]
fn a_table_that_cannot_be_read_stays_in_the_map() {
    let mut world = World::new();
    world.settle();
    let readable = vec![world.lives[1].table.clone()];
    let tables = ClusterTables {
        readable,
        unreadable: BTreeSet::from(["one".to_owned()]),
        loses_owners: false,
    };
    assert_eq!(propose(&MapView::new(&world.map), &tables, world.now), Outcome::Settled);
}
