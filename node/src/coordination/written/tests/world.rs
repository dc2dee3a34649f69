//! Nodes, their leader, and an object that people and accidents change. Whatever happens in
//! whichever order, everything that is served stays.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const NODES: usize = 3;
const TABLES: [&str; 3] = ["t", "u", "v"];

#[derive(Debug, Clone)]
struct Object {
    uid: String,
    newest: Map,
    active: Option<Map>,
    active_uid: Option<String>,
    rejected: Vec<u64>,
}

impl Object {
    fn written(&self) -> Written<'_> {
        Written {
            active: self.active.as_ref(),
            newest: Some(&self.newest),
            rejected: self.rejected.contains(&self.newest.generation),
            highest_rejected: self.rejected.iter().copied().max().unwrap_or(0),
            uid: Some(&self.uid),
            active_uid: self.active_uid.as_deref(),
        }
    }

    /// The rules of the kind.
    fn becomes(&mut self, next: Self) {
        let newest = (&self.newest, &next.newest);
        assert!(newest.0 == newest.1 || newest.1.generation > newest.0.generation, "{next:?}");
        if let (Some(before), Some(after)) = (&self.active, &next.active) {
            assert!(before == after || after.generation > before.generation, "{next:?}");
        }
        let active = next.active.as_ref().map_or(0, |map| map.generation);
        assert!(active <= next.newest.generation, "{next:?}");
        *self = next;
    }

    fn activate(&mut self, map: Map) {
        let active_uid = Some(self.uid.clone());
        self.becomes(Self { active: Some(map), active_uid, ..self.clone() });
    }
}

/// What a node knows, and what it serves and has prepared.
#[derive(Debug, Clone, Default)]
struct Node {
    known: Snapshot,
    serves: Option<Map>,
    prepared: u64,
}

#[derive(Debug, Clone)]
enum Event {
    /// A node reads the present object.
    Look(usize),
    /// A node leads for one step.
    Lead(usize),
    /// A table gets another epoch, or is dropped.
    Change {
        by: usize,
        table: usize,
        drops: bool,
    },
    Reject(usize),
    Restart(usize),
    Backup,
    Delete,
    /// A person creates the object again, without tables.
    MakeEmpty(u64),
    /// The operator creates the object again, from what it knows.
    MakeAnew,
    /// The object is restored from a backup.
    Restore {
        status: bool,
        same_uid: bool,
    },
    LoseStatus,
}

struct World {
    object: Option<Object>,
    backup: Option<Object>,
    nodes: Vec<Node>,
    uids: u32,
    epochs: u64,
    /// Tables whose removal was once requested.
    dropped: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let nodes = vec![Node::default(); NODES];
        let (object, backup, dropped) = (None, None, BTreeSet::new());
        let mut world = Self { object, backup, nodes, uids: 0, epochs: 0, dropped };
        world.make(of(1, &[]));
        world
    }

    fn make(&mut self, newest: Map) {
        self.uids += 1;
        let (uid, rejected) = (format!("uid-{}", self.uids), Vec::new());
        self.object = Some(Object { uid, newest, active: None, active_uid: None, rejected });
    }

    fn records(&self) -> Vec<MemberRecord> {
        let record = |(number, node): (usize, &Node)| {
            let serves = node.serves.clone().unwrap_or_else(|| of(0, &[]));
            let (map, prepared_generation) = (node.known.map_uid.clone(), node.prepared);
            MemberRecord { map, prepared_generation, ..member(&number.to_string(), &serves) }
        };
        self.nodes.iter().enumerate().map(record).collect()
    }

    /// Tables that a node serves and whose removal was never requested.
    fn needed(&self) -> BTreeSet<String> {
        let newest = self.nodes.iter().filter_map(|node| node.serves.as_ref());
        let newest = newest.max_by_key(|map| map.generation);
        let tables = newest.into_iter().flat_map(|map| map.tables.keys().cloned());
        tables.filter(|table| !self.dropped.contains(table)).collect()
    }

    fn look(&mut self, number: usize) {
        let records = self.records();
        let written = self.object.as_ref().map_or(Written::nothing(), Object::written);
        let node = &mut self.nodes[number];
        let reading = written.read(&Served::new(&node.known, &records));
        let before = node.known.active.as_ref().map_or(0, |map| map.generation);
        let after = reading.active.as_ref().map_or(0, |map| map.generation);
        assert!(after >= before, "active went back from {before} to {after}");
        let Reading { active, uid, proposed, standing, highest } = reading;
        let prepares = proposed.as_ref().map_or(node.prepared, |map| map.generation);
        node.prepared = prepares.max(after);
        node.serves.clone_from(&active);
        let rest = Snapshot::default();
        node.known = Snapshot { active, map_uid: uid, proposed, standing, highest, ..rest };
    }

    /// Acts as the leader: writes the served map, and activates a proposal that every node has
    /// prepared.
    fn lead(&mut self, number: usize) {
        self.look(number);
        let (records, needed) = (self.records(), self.needed());
        let keeps = |map: &Map| needed.iter().all(|table| map.tables.contains_key(table));
        let Some(object) = &mut self.object else { return };
        let served = Served::new(&self.nodes[number].known, &records);
        match object.written().mend(&served, &shards(), NOW) {
            Mend::Nothing => {}
            Mend::Forget => {
                object.becomes(Object { active: None, active_uid: None, ..object.clone() });
            }
            Mend::Activate(map) => {
                let lost: Vec<u64> = object.written().lost(&served, &map).collect();
                object.rejected.extend(lost);
                object.activate(map);
            }
            Mend::Propose(map) => {
                assert!(records.iter().all(|r| map.generation > r.prepared_generation));
                assert!(keeps(&map), "{needed:?} in {map:?}");
                object.becomes(Object { newest: map, ..object.clone() });
            }
        }
        let Some(proposal) = object.written().proposal(&served).cloned() else { return };
        if self.nodes.iter().all(|node| node.prepared == proposal.generation) {
            assert!(records.iter().all(|r| proposal.generation > r.active_generation));
            assert!(keeps(&proposal), "{needed:?} in {proposal:?}");
            object.activate(proposal);
        }
    }

    fn change(&mut self, by: usize, table: &str, drops: bool) {
        let records = self.records();
        let Some(object) = &mut self.object else { return };
        let reading = object.written().read(&Served::new(&self.nodes[by].known, &records));
        let free = reading.proposed.is_none() && reading.standing == Standing::Agreed;
        let Some(active) = reading.active.filter(|_| free) else { return };
        let highest = object.rejected.iter().copied().max().unwrap_or(0);
        let generation = object.newest.generation.max(highest) + 1;
        let mut newest = Map { generation, ..active };
        if drops {
            newest.tables.remove(table);
            self.dropped.insert(table.to_owned());
        } else {
            self.epochs += 1;
            newest.tables.insert(table.to_owned(), self.epochs);
        }
        object.becomes(Object { newest, ..object.clone() });
    }

    fn reject(&mut self, by: usize) {
        let records = self.records();
        let Some(object) = &mut self.object else { return };
        let served = Served::new(&self.nodes[by].known, &records);
        let proposal = object.written().proposal(&served).map(|map| map.generation);
        object.rejected.extend(proposal);
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Look(node) => self.look(*node),
            Event::Lead(node) => self.lead(*node),
            Event::Change { by, table, drops } => self.change(*by, TABLES[*table], *drops),
            Event::Reject(node) => self.reject(*node),
            Event::Restart(node) => self.nodes[*node] = Node::default(),
            Event::Backup => self.backup.clone_from(&self.object),
            Event::Delete => self.object = None,
            Event::MakeEmpty(generation) => self.make(of(*generation, &[])),
            Event::MakeAnew => self.make_anew(),
            Event::Restore { status, same_uid } => {
                let Some(mut object) = self.backup.clone() else { return };
                if !status {
                    (object.active, object.active_uid, object.rejected) = (None, None, Vec::new());
                }
                if !same_uid {
                    self.uids += 1;
                    object.uid = format!("uid-{}", self.uids);
                }
                self.object = Some(object);
            }
            Event::LoseStatus => {
                if let Some(object) = &mut self.object {
                    (object.active, object.active_uid, object.rejected) = (None, None, Vec::new());
                }
            }
        }
    }

    fn make_anew(&mut self) {
        let mut records = self.records();
        let number = |r: &MemberRecord| r.active_generation.max(r.prepared_generation);
        let mut newest = of(records.iter().map(number).max().unwrap_or(0) + 1, &[]);
        records.sort_by_key(|record| record.active_generation);
        for record in records {
            newest.tables.extend(record.tables);
        }
        self.make(newest);
    }

    /// Calm: a leader leads, and all nodes read the object.
    fn settle(&mut self, leader: usize) {
        if self.object.is_none() {
            self.make_anew();
        }
        let needed = self.needed();
        let agrees =
            |node: &Node| node.known.standing == Standing::Agreed && node.known.proposed.is_none();
        let agreed = |world: &Self| world.nodes.iter().all(agrees);
        for _ in 0..20 {
            self.lead(leader);
            (0..NODES).for_each(|node| self.look(node));
            if agreed(self) {
                break;
            }
        }
        // A rejected first map is not tried again for a minute.
        let rests = |object: &Object| object.written().rejected && object.active.is_none();
        let rests = self.object.as_ref().is_some_and(rests);
        assert!(agreed(self) || rests, "{:?} {:?}", self.object, self.nodes);
        let kept = |node: &Node| {
            let tables = node.serves.iter().flat_map(|map| map.tables.keys().cloned());
            needed.is_subset(&tables.collect())
        };
        assert!(self.nodes.iter().all(kept), "{needed:?} of {:?}", self.nodes);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES;
    let change = (node.clone(), 0..TABLES.len(), prop::bool::weighted(0.2));
    let restore = (any::<bool>(), any::<bool>());
    prop_oneof![
        8 => node.clone().prop_map(Event::Look),
        12 => node.clone().prop_map(Event::Lead),
        6 => change.prop_map(|(by, table, drops)| Event::Change { by, table, drops }),
        1 => node.clone().prop_map(Event::Reject),
        1 => node.prop_map(Event::Restart),
        2 => Just(Event::Backup),
        1 => Just(Event::Delete),
        1 => (1..30_u64).prop_map(Event::MakeEmpty),
        1 => Just(Event::MakeAnew),
        1 => restore.prop_map(|(status, same_uid)| Event::Restore { status, same_uid }),
        1 => Just(Event::LoseStatus),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_happens_to_the_object_what_is_served_stays(
        events in prop::collection::vec(event(), 1..60),
        leader in 0..NODES,
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.settle(leader);
    }
}
