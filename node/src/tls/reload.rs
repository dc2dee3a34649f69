//! The material in use, and how another set takes its place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::files::Files;
use super::{Material, Settings, TlsError};

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a look at the directory brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The files are those in use.
    Unchanged,
    /// Another set is in use now.
    Reloaded,
    /// The files do not hold together; what was in use stays.
    Refused,
}

/// TLS of a node.
#[derive(Debug)]
pub struct Tls {
    settings: Settings,
    current: ArcSwap<Material>,
    changed: watch::Sender<u64>,
    reloaded: AtomicU64,
    refused: AtomicU64,
    /// What was refused last, so that it is logged and counted once.
    last_refused: Mutex<Option<String>>,
}

impl Tls {
    /// Reads and checks the first set.
    ///
    /// # Errors
    /// Whatever is missing or does not fit; a node without this material must not start.
    pub fn open(settings: Settings) -> Result<Arc<Self>, TlsError> {
        let material = Material::new(&settings, &Files::read(&settings.dir)?, 0)?;
        Ok(Arc::new(Self {
            settings,
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

    /// The version of the set in use, whenever it changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Sets taken, and sets refused, since the start.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloaded.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Looks at the directory again and again; never ends.
    pub async fn follow(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let this = Arc::clone(&self);
            // A panic is a bug of this file, and was reported; the next look may do better.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes the directory's set if it is another one and holds together.
    pub fn look(&self) -> Outcome {
        let current = self.material();
        match self.read(&current) {
            Ok(None) => Outcome::Unchanged,
            Ok(Some(material)) => {
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
                *self.lock() = None;
                self.changed.send_replace(version);
                Outcome::Reloaded
            }
            Err(error) => {
                let error = error.to_string();
                let mut last = self.lock();
                if last.as_ref() != Some(&error) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error, "TLS material refused; the one before stays in use");
                    *last = Some(error);
                }
                Outcome::Refused
            }
        }
    }

    fn read(&self, current: &Material) -> Result<Option<Material>, TlsError> {
        let files = Files::read(&self.settings.dir)?;
        if files.digest() == current.digest {
            return Ok(None);
        }
        let material = Material::new(&self.settings, &files, current.version + 1)?;
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
