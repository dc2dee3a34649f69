//! Limits for one client and for all together: requests in progress, or connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Number of clients that are remembered. Above it, idle clients are forgotten.
const REMEMBERED: usize = 4096;

/// Places in use and uses per second, for each client and for all together.
#[derive(Debug)]
pub struct Limits {
    all: usize,
    each: usize,
    /// Uses per second and client; 0 for no limit. After a quiet second, this many may come at
    /// once.
    rate: u32,
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    running: usize,
    clients: HashMap<Arc<str>, Usage>,
}

#[derive(Debug)]
struct Usage {
    running: usize,
    /// Uses that are allowed now.
    credit: f64,
    at: Instant,
}

/// Why a place is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All places are taken.
    All,
    /// The client has reached its limit, or is too fast.
    Client,
}

impl Limits {
    /// `all` places for all clients together. Each client may have `each` of them, and take at most
    /// `rate` per second.
    pub fn new(all: usize, each: usize, rate: u32) -> Self {
        Self { all, each, rate, used: Arc::default() }
    }

    /// A place for `client` at `now`, until the permit is dropped.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn take(&self, client: &Arc<str>, now: Instant) -> Result<Permit, Refusal> {
        let mut used = lock(&self.used);
        if used.running >= self.all {
            return Err(Refusal::All);
        }
        let Used { running, clients } = &mut *used;
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
        if fast || usage.running >= self.each {
            return Err(Refusal::Client);
        }
        usage.credit -= 1.0;
        usage.running += 1;
        *running += 1;
        Ok(Permit { client: Arc::clone(client), used: Arc::clone(&self.used) })
    }
}

/// A place in use.
#[derive(Debug)]
pub struct Permit {
    client: Arc<str>,
    used: Arc<Mutex<Used>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = lock(&self.used);
        used.running = used.running.saturating_sub(1);
        if let Some(usage) = used.clients.get_mut(&self.client) {
            usage.running = usage.running.saturating_sub(1);
        }
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client that an address stands for if clients do not authenticate. An IPv6 network of 64 bits
/// is one client, since its machines choose the rest of the address freely.
pub fn client_at(address: IpAddr) -> Arc<str> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string().into(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network}/64").into()
        }
    }
}
