//! When clients are let in and turned away, and when old generations go.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic_health::ServingStatus;

use super::{DRAINING, Lifecycle};

impl Lifecycle {
    /// How long a superseded generation stays: as long as a query that began under it may take,
    /// reading included.
    pub(super) fn grace(&self) -> Duration {
        self.config.query_deadline * 2
    }

    /// Lets older generations go after the grace time, whatever this node is loading meanwhile, and
    /// whether or not it has caught up: its peers no longer hold them, so that nothing could be
    /// answered from them.
    pub(super) async fn retire(&self, mut stop: watch::Receiver<bool>) {
        let mut snapshots = self.coordination.watch();
        let mut newest = None;
        let mut due = VecDeque::new();
        loop {
            let active = snapshots.borrow_and_update().active.as_ref().map(|map| map.generation);
            if let Some(generation) = active.filter(|_| active > newest) {
                newest = active;
                due.push_back((Instant::now() + self.grace(), generation));
            }
            let next = due.front().map(|(at, _)| *at);
            let next = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = next => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let now = Instant::now();
            while let Some((_, generation)) = due.pop_front_if(|(at, _)| *at <= now) {
                self.local.retire_below(generation);
                self.turn_away().await;
            }
        }
    }

    /// The generation that is active by now: the snapshot that this node works on may be older.
    pub(super) fn active_now(&self) -> Option<u64> {
        self.coordination.watch().borrow().active.as_ref().map(|map| map.generation)
    }

    /// Lets clients in, unless this node is on its way out, another node serves them better, or another
    /// generation than the one that it has loaded is active by now: its peers let this one go at any
    /// moment.
    pub(super) async fn serves(&self, generation: u64) {
        if *self.retiring.borrow() || self.active_now() != Some(generation) {
            return;
        }
        if let Some(reason) = self.turned_away.reason() {
            return self.readiness.not_ready(reason);
        }
        self.readiness.ready();
        self.health.set_service_status("", ServingStatus::Serving).await;
        // Whatever retires this node or its generations may have come between.
        self.turn_away().await;
    }

    /// Turns clients away if this node is on its way out, has nothing left to answer from, or another
    /// node serves them better.
    pub(super) async fn turn_away(&self) {
        let reason = if *self.retiring.borrow() {
            DRAINING.to_owned()
        } else if self.local.generations().is_empty() {
            "the active generation is not loaded yet".to_owned()
        } else if let Some(reason) = self.turned_away.reason() {
            reason
        } else {
            return;
        };
        // A node that is not ready has said more precisely why.
        if self.readiness.is_ready() {
            self.readiness.not_ready(reason);
        }
        self.health.set_service_status("", ServingStatus::NotServing).await;
    }

    /// Waits for another map, and says so.
    pub(super) async fn waits(&self, reason: &str) -> bool {
        self.state.doing(reason);
        self.readiness.not_ready(reason);
        self.health.set_service_status("", ServingStatus::NotServing).await;
        true
    }

    /// Gives probes the reason why this node does not serve yet, if it does not.
    pub(super) fn not_ready_yet(&self, reason: &str) {
        if !self.readiness.is_ready() && !*self.retiring.borrow() {
            self.readiness.not_ready(reason);
        }
    }
}
