//! The material in use, and how a new set replaces it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use opaque_identity::Leaf;
use opaque_store::UnixMillis;
use rustls::crypto::ring;
use tokio::sync::watch;

use super::clients::ClientTrust;
use super::files::{ClientFiles, Files};
use super::{Material, PeerError, Presented, Settings, TlsError};
use crate::config::ClientAuth;
use crate::reading::{Kept, Look, Standing};

/// Interval at which the directory is read.
const LOOK: Duration = Duration::from_secs(2);

/// Result of reading the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The files are unchanged.
    Unchanged,
    /// A new set is in use.
    Reloaded,
    /// The files are not consistent. The previous set stays in use.
    Refused,
}

/// TLS of a node.
pub struct Tls {
    settings: Settings,
    /// The material for verifying clients, in mode `mtls`. It is read separately, so that nothing
    /// else delays it.
    clients: Option<Kept<ClientTrust>>,
    current: ArcSwap<Material>,
    changed: watch::Sender<u64>,
    reloaded: AtomicU64,
    refused: AtomicU64,
    /// The last refused set's error, so that it is logged and counted once.
    last_refused: Mutex<Option<String>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads and checks the first set.
    ///
    /// # Errors
    /// Anything is missing or does not match. A node without this material must not start. The
    /// material for verifying clients may come later.
    pub fn open(settings: Settings) -> Result<Arc<Self>, TlsError> {
        let clients = (settings.client_auth == ClientAuth::Mtls)
            .then(|| Kept::new(read_trust(&settings), Instant::now()));
        let trust = clients.as_ref().and_then(Kept::last);
        let material = Material::new(&settings, &Files::read(&settings.dir)?, trust, 0)?;
        if let Some(clients) = &clients {
            warn(clients);
        }
        Ok(Arc::new(Self {
            settings,
            clients,
            current: ArcSwap::from_pointee(material),
            changed: watch::Sender::new(0),
            reloaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_refused: Mutex::default(),
        }))
    }

    /// The set in use.
    pub fn material(&self) -> Arc<Material> {
        self.current.load_full()
    }

    /// The version of the set in use, updated whenever it changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Numbers of sets that were put into use and refused since the start.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloaded.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Whether the last reading found inconsistent material.
    pub fn is_refused(&self) -> bool {
        self.lock().is_some()
    }

    /// The content of a client's certificate, if it is still valid.
    ///
    /// # Errors
    /// Why it is not valid, or that this is unknown because the files could not be read for two
    /// minutes.
    pub fn client(&self, presented: &Presented, now: Instant) -> Result<Leaf, PeerError> {
        let clients = self.clients.as_ref().ok_or(PeerError::Anonymous)?;
        if clients.current(now).is_none() {
            let reason = "the authorities of clients cannot be read";
            return Err(PeerError::Chain(reason.to_owned()));
        }
        self.material().client(presented)
    }

    /// State of the material for verifying clients.
    pub fn standing(&self, now: Instant, clock: UnixMillis) -> Standing {
        let Some(clients) = &self.clients else { return Standing::default() };
        let clock = i64::try_from(clock.seconds()).unwrap_or(i64::MAX);
        let current = clients.current(now);
        let reason = match &current {
            Some(trust) => trust.closed(clock),
            None => Some(clients.error().unwrap_or_else(|| {
                format!("reading {} takes too long", self.settings.dir.display())
            })),
        };
        Standing {
            closed: reason.map(|reason| format!("no client may ask: {reason}")),
            void: current.map_or(0, |trust| trust.void.len()),
            unread: clients.age(now),
        }
    }

    /// Reads the directory repeatedly. Never ends.
    pub async fn follow(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let this = Arc::clone(&self);
            // A panic is a bug in this file, and was reported. The next reading may succeed.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Puts the content of the directory into use if it has changed and is consistent.
    pub fn look(&self) -> Outcome {
        let trust = self.look_at_clients(Instant::now());
        let current = self.material();
        let same = match (&trust, &current.trust_in_clients) {
            (Some(trust), Some(before)) => Arc::ptr_eq(trust, before),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        match self.read(&current, trust.clone()) {
            Ok(material) => {
                *self.lock() = None;
                match (material, trust) {
                    (Some(material), _) => self.take(material),
                    (None, Some(trust)) if !same => self.take_clients(&current, trust),
                    (None, _) => Outcome::Unchanged,
                }
            }
            Err(error) => {
                let error = error.to_string();
                let mut last = self.lock();
                if last.as_ref() != Some(&error) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error, "TLS material refused; the previous one stays in use");
                    *last = Some(error);
                }
                drop(last);
                if let Some(trust) = trust.filter(|_| !same) {
                    self.take_clients(&current, trust);
                }
                Outcome::Refused
            }
        }
    }

    /// Reads the material for verifying clients. Returns the last successful reading.
    fn look_at_clients(&self, now: Instant) -> Option<Arc<ClientTrust>> {
        let clients = self.clients.as_ref()?;
        if clients.look(read_trust(&self.settings), now) != Look::Unchanged {
            warn(clients);
        }
        clients.last()
    }

    fn take_clients(&self, current: &Material, trust: Arc<ClientTrust>) -> Outcome {
        match current.with_clients(trust) {
            Ok(material) => self.take(material),
            // The set in use has the same key and certificate, so this should not fail.
            Err(error) => {
                tracing::error!(%error, "cannot set up the listener for clients again");
                Outcome::Refused
            }
        }
    }

    fn take(&self, material: Material) -> Outcome {
        tracing::info!(
            version = material.version,
            serial = material.serial,
            server = material.server_serial,
            trust = material.trust,
            "TLS material reloaded"
        );
        let version = material.version;
        self.current.store(Arc::new(material));
        self.reloaded.fetch_add(1, Ordering::Relaxed);
        self.changed.send_replace(version);
        Outcome::Reloaded
    }

    fn read(
        &self,
        current: &Material,
        trust: Option<Arc<ClientTrust>>,
    ) -> Result<Option<Material>, TlsError> {
        let files = Files::read(&self.settings.dir)?;
        if files.digest() == current.digest {
            return Ok(None);
        }
        let material = Material::new(&self.settings, &files, trust, current.version + 1)?;
        if material.own != current.own {
            return Err(TlsError::Own {
                path: self.settings.dir.join("peer.crt"),
                expected: current.own.to_string(),
                found: material.own.to_string(),
            });
        }
        Ok(Some(material))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_trust(settings: &Settings) -> Result<ClientTrust, String> {
    let files = ClientFiles::read(&settings.dir)?;
    Ok(ClientTrust::new(&files, &Arc::new(ring::default_provider())))
}

fn warn(clients: &Kept<ClientTrust>) {
    if let Some(error) = clients.error() {
        tracing::warn!(error, "the last authorities of clients are valid for two minutes");
    }
    for void in clients.last().iter().flat_map(|trust| &trust.void) {
        tracing::warn!(
            void,
            "part of the material for verifying clients is void; the rest is in use"
        );
    }
}
