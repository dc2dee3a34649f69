//! What one client may use at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::error::NodeError;

/// Clients that are remembered at a time, before those that use nothing are forgotten.
const REMEMBERED: usize = 4096;

/// Requests in progress and requests per second, of each client alone.
#[derive(Debug)]
pub(super) struct Limits {
    concurrency: usize,
    /// Requests per second; 0 for no limit. As many may come at once after a quiet second.
    rate: u32,
    clients: Arc<Mutex<HashMap<Arc<str>, Usage>>>,
}

#[derive(Debug)]
struct Usage {
    running: usize,
    /// Requests that may come now.
    credit: f64,
    at: Instant,
}

impl Limits {
    pub(super) fn new(concurrency: usize, rate: u32) -> Self {
        Self { concurrency, rate, clients: Arc::default() }
    }

    /// Counts a request of `client` at `now`, until the permit is dropped.
    ///
    /// # Errors
    /// [`NodeError::TooMany`] when it has too many in progress or sends them too fast.
    pub(super) fn take(&self, client: &Arc<str>, now: Instant) -> Result<Permit, NodeError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = f64::from(self.rate);
        if clients.len() >= REMEMBERED && !clients.contains_key(client) {
            let idle = |usage: &Usage| {
                usage.running == 0 && now.saturating_duration_since(usage.at).as_secs() >= 1
            };
            clients.retain(|_, usage| !idle(usage));
        }
        let usage = clients.entry(Arc::clone(client)).or_insert(Usage {
            running: 0,
            credit: rate,
            at: now,
        });
        let passed = now.saturating_duration_since(usage.at).as_secs_f64();
        usage.credit = passed.mul_add(rate, usage.credit).min(rate);
        usage.at = now;
        let fast = self.rate > 0 && usage.credit < 1.0;
        if fast || usage.running >= self.concurrency {
            return Err(NodeError::TooMany(client.to_string()));
        }
        usage.credit -= 1.0;
        usage.running += 1;
        Ok(Permit { client: Arc::clone(client), clients: Arc::clone(&self.clients) })
    }
}

/// One request in progress.
#[derive(Debug)]
pub(super) struct Permit {
    client: Arc<str>,
    clients: Arc<Mutex<HashMap<Arc<str>, Usage>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = clients.get_mut(&self.client) {
            usage.running = usage.running.saturating_sub(1);
        }
    }
}
