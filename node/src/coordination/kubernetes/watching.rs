//! This node's view of the cluster: watches of the Leases and of the map, combined into one
//! [`Snapshot`].
//!
//! A broken watch is opened again, and its last state is kept. A damaged object is logged once per
//! version, and is otherwise treated as unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::runtime::watcher as watch_all;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use opaque_crds::OpaqueShardMap;
use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster::Origin;
use super::map::Maps;
use super::member::{self, Hearing};
use super::{HEARTBEAT, LABEL_LEASE, LEADER, MEMBER};
use crate::coordination::written::{Reading, Served, Written};
use crate::coordination::{Leader, MemberRecord, Snapshot};

/// How long after an event the API is assumed to be reachable.
const HEARS: Duration = HEARTBEAT.saturating_add(Duration::from_secs(1));
/// Interval at which the members' times are adjusted.
const LOOK: Duration = Duration::from_secs(1);
/// Largest error of a member's time.
const SLACK: Duration = Duration::from_millis(500);

pub(super) type LeaseEvent = Result<Event<Lease>, watcher::Error>;
/// `None` if there is no map, or no longer.
pub(super) type MapEvent = Result<Option<DeserializeGuard<OpaqueShardMap>>, watcher::Error>;

/// Follows both watches until there is no receiver left.
pub(super) async fn follow(
    leases: impl Stream<Item = LeaseEvent> + Send,
    maps: impl Stream<Item = MapEvent> + Send,
    origin: Arc<Origin>,
    sender: watch::Sender<Arc<Snapshot>>,
) {
    let (mut leases, mut maps) = (pin!(leases), pin!(maps));
    let mut seen = Seen::new(origin, Instant::now());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some(event) = leases.next() => seen.lease(event),
            Some(event) = maps.next() => seen.map(event),
            _ = look.tick() => seen.restamp(Instant::now(), UnixMillis::now()),
            () = sender.closed() => return,
        }
        // One snapshot for all events that have arrived.
        while let Some(Some(event)) = leases.next().now_or_never() {
            seen.lease(event);
        }
        sender.send_if_modified(|last| {
            let snapshot = seen.snapshot(last);
            let changed = **last != snapshot;
            if changed {
                *last = Arc::new(snapshot);
            }
            changed
        });
    }
}

/// A member and the time of its last sign of life.
#[derive(Debug)]
struct Seated {
    record: MemberRecord,
    /// UID of the OpaqueCluster to which the member belongs, if its Lease names it.
    origin: Option<String>,
    version: String,
    /// Time of the last sign of life, on the clock of [`Hearing`].
    at: Duration,
}

#[derive(Debug)]
struct Seen {
    origin: Arc<Origin>,
    hearing: Hearing,
    members: BTreeMap<String, Seated>,
    leader: Option<Leader>,
    maps: Option<Maps>,
    /// Whether all Leases have been listed once. Until then no map is trusted, since members may
    /// serve a newer one.
    complete: bool,
    /// Names of Leases so far, in a list that is being read.
    listed: BTreeSet<String>,
    /// Versions of damaged objects that were logged.
    damaged: BTreeMap<String, String>,
    failing: bool,
}

impl Seen {
    fn new(origin: Arc<Origin>, now: Instant) -> Self {
        Self {
            origin,
            hearing: Hearing::new(now, HEARS),
            members: BTreeMap::new(),
            leader: None,
            maps: None,
            complete: false,
            listed: BTreeSet::new(),
            damaged: BTreeMap::new(),
            failing: false,
        }
    }

    fn lease(&mut self, event: LeaseEvent) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.fails("the Leases", &error),
        };
        self.failing = false;
        let now = Instant::now();
        self.hearing.hear(now);
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(lease) => {
                self.listed.insert(lease.name_any());
                self.apply(&lease, now);
            }
            Event::InitDone => {
                self.complete = true;
                let listed = std::mem::take(&mut self.listed);
                self.members.retain(|name, _| listed.contains(name));
                self.damaged.retain(|name, _| listed.contains(name));
            }
            Event::Apply(lease) => self.apply(&lease, now),
            Event::Delete(lease) => {
                if lease.labels().get(LABEL_LEASE).is_some_and(|kind| kind == LEADER) {
                    self.leader = None;
                }
                self.members.remove(&lease.name_any());
            }
        }
    }

    fn apply(&mut self, lease: &Lease, now: Instant) {
        let version = lease.resource_version().unwrap_or_default();
        match lease.labels().get(LABEL_LEASE).map(String::as_str) {
            Some(LEADER) => self.leader = super::lead::leader(lease),
            Some(MEMBER) => match member::read(lease) {
                Ok(record) => self.seat(record, member::origin(lease), version, now),
                Err(error) => self.damage(lease.name_any(), version, &error),
            },
            Some(_) | None => {}
        }
    }

    fn seat(&mut self, record: MemberRecord, origin: Option<&str>, version: String, now: Instant) {
        let known = self.members.get(&record.node);
        if known.is_some_and(|known| known.version == version) {
            return;
        }
        let heartbeat = UnixMillis::now();
        let at = self.hearing.time(now);
        let name = record.node.clone();
        let record = MemberRecord { heartbeat, ..record };
        let origin = origin.map(str::to_owned);
        self.members.insert(name, Seated { record, origin, version, at });
    }

    fn map(&mut self, event: MapEvent) {
        let object = match event {
            Ok(None) => {
                self.maps = None;
                return;
            }
            Ok(Some(DeserializeGuard(Ok(object)))) => object,
            Ok(Some(DeserializeGuard(Err(invalid)))) => {
                let name = invalid.metadata.name.clone().unwrap_or_default();
                let version = invalid.metadata.resource_version.clone().unwrap_or_default();
                return self.damage(format!("OpaqueShardMap {name}"), version, &invalid);
            }
            Err(error) => return self.fails("the shard map", &error),
        };
        if !self.origin.is_ours(&object.metadata) {
            tracing::warn!(
                "the shard map belongs to a newer OpaqueCluster of the same name than this node"
            );
            self.maps = None;
            return;
        }
        match Maps::read(&object) {
            Ok(maps) => self.maps = Some(maps),
            Err(error) => {
                let version = object.resource_version().unwrap_or_default();
                self.damage(format!("OpaqueShardMap {}", object.name_any()), version, &error);
            }
        }
    }

    /// Adjusts the members' times to the clock of [`Hearing`], and to changes of the wall clock.
    fn restamp(&mut self, now: Instant, wall: UnixMillis) {
        let time = self.hearing.time(now);
        for member in self.members.values_mut() {
            let age = u64::try_from(time.saturating_sub(member.at).as_millis()).unwrap_or(u64::MAX);
            let stamp = UnixMillis(wall.0.saturating_sub(age));
            let off = stamp.0.abs_diff(member.record.heartbeat.0);
            if Duration::from_millis(off) > SLACK {
                member.record.heartbeat = stamp;
            }
        }
    }

    /// The state from the point of view of a node that knows `known`.
    fn snapshot(&self, known: &Snapshot) -> Snapshot {
        let ours = self.members.values().filter(|m| self.origin.agrees(m.origin.as_deref()));
        let members: Vec<MemberRecord> = ours.map(|member| member.record.clone()).collect();
        let maps = self.maps.as_ref().filter(|_| self.complete);
        let written = maps.map_or(Written::nothing(), Maps::written);
        let Reading { active, uid, proposed, standing, highest } =
            written.read(&Served::new(known, &members));
        let leader = self.leader.clone();
        let waited = maps.and_then(|maps| maps.waited);
        Snapshot { active, proposed, leader, members, map_uid: uid, standing, highest, waited }
    }

    fn fails(&mut self, what: &str, error: &watcher::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "cannot watch {what}; continuing with the last state");
        }
    }

    fn damage(&mut self, object: String, version: String, error: &dyn std::error::Error) {
        if self.damaged.get(&object) != Some(&version) {
            tracing::warn!(%object, %error, "ignoring a damaged object");
            self.damaged.insert(object, version);
        }
    }
}

/// The records in a list of Leases, ordered by name, with the times at which this node saw them. A
/// record that it has not seen yet gets the present time.
pub(super) fn records(leases: &[Lease], origin: &Origin, snapshot: &Snapshot) -> Vec<MemberRecord> {
    let record = |lease: &Lease| {
        let record = match member::read(lease) {
            Ok(record) => record,
            Err(error) => {
                tracing::debug!(%error, "ignoring a damaged record");
                return None;
            }
        };
        let known = snapshot.members.iter().find(|known| known.node == record.node);
        let heartbeat = known.map_or_else(UnixMillis::now, |known| known.heartbeat);
        Some(MemberRecord { heartbeat, ..record })
    };
    let ours = leases.iter().filter(|lease| origin.agrees(member::origin(lease)));
    let mut members: Vec<MemberRecord> = ours.filter_map(record).collect();
    members.sort_by(|one, other| one.node.cmp(&other.node));
    members
}

/// The map's object whenever it changes; `None` while it does not exist.
pub(super) fn one(
    api: Api<DeserializeGuard<OpaqueShardMap>>,
    name: &str,
    seconds: u32,
) -> impl Stream<Item = MapEvent> + Send + use<> {
    let config =
        watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(seconds);
    let mut listed = false;
    watch_all(api, config).filter_map(move |event| {
        let event = match event {
            Ok(Event::Apply(object)) => Some(Ok(Some(object))),
            Ok(Event::InitApply(object)) => {
                listed = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::Init) => {
                listed = false;
                None
            }
            Ok(Event::InitDone) => (!listed).then_some(Ok(None)),
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        };
        ready(event)
    })
}
