//! Coordination through a directory that all nodes of a machine share.
//!
//! ```text
//! members/<node>.json     active.json     proposed.json     rejected/<generation>.json
//! leader.json             name and fencing token of the last leader
//! waited.json             how long the proposal has waited
//! leader.lock             locked (flock) by the leader while it lives
//! state.lock              locked during each change of the state
//! ```
//!
//! **Crash safety.** A change is one rename: writing `active.json` activates, and writing
//! `rejected/<g>.json` rejects or withdraws. The `proposed.json` that either leaves behind is void,
//! because its generation is not above the active one, or is rejected. Readers skip it.
//!
//! **Lost files.** Members write their records again with the next heartbeat, and the leader writes
//! the served map again. `leader.json` contains the leader's name in addition to its token, since
//! tokens may repeat if the file was lost.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opaque_store::UnixMillis;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::directory::{Directory, check_name};
use super::files::{self, Durability, io_error};
use super::heard::Heard;
use super::vanished::Vanished;
use super::{
    Change, Coordination, CoordinationError, Hold, Leader, Leadership, Map, MemberRecord, Outcome,
    Rhythm, Snapshot, Waited,
};
use crate::map::placement::Shards;

/// Polling interval of the directory.
const POLL: Duration = Duration::from_millis(100);
/// How long a change waits for another process's change.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// Interval between attempts to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(3);

/// Coordination through a shared directory. See the module's documentation.
pub struct FileCoordination {
    directory: Arc<Directory>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    heard: Heard,
    poll: AbortHandle,
}

impl FileCoordination {
    /// Opens the directory, creating it if it is absent, and watches it from now on.
    ///
    /// Must be called in a tokio runtime.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, CoordinationError> {
        let directory = Arc::new(Directory::new(directory.into()));
        let opened = Arc::clone(&directory);
        let first = blocking(move || {
            opened.create()?;
            opened.snapshot(&Snapshot::default())
        })
        .await?;
        let (sender, snapshots) = watch::channel(Arc::new(first));
        let heard = Heard::new();
        let polling = poll(Arc::clone(&directory), sender, heard.clone());
        let poll = tokio::spawn(polling).abort_handle();
        Ok(Self { directory, snapshots, heard, poll })
    }

    /// The last state that this process has seen.
    fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Reads on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, CoordinationError> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let directory = Arc::clone(&self.directory);
        blocking(move || work(&directory)).await
    }

    /// Runs a change while no other process changes the state. A change that has started is not
    /// cancelled.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, CoordinationError> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let path = self.directory.lock("state.lock");
        let lock = open_lock(&path)?;
        let start = Instant::now();
        while !try_lock(&lock, &path)? {
            if start.elapsed() > LOCK_DEADLINE {
                return Err(CoordinationError::Busy(LOCK_DEADLINE));
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
        let directory = Arc::clone(&self.directory);
        blocking(move || {
            let result = work(&directory);
            drop(lock);
            result
        })
        .await
    }
}

impl Drop for FileCoordination {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

#[async_trait]
impl Coordination for FileCoordination {
    async fn heartbeat(&self, member: &MemberRecord) -> Result<(), CoordinationError> {
        let member = member.clone();
        self.read(move |directory| {
            let path = directory.member(&member.node)?;
            files::write(&path, "opaque-member", &member, Durability::Ephemeral)
        })
        .await
    }

    async fn leave(&self, node: &str) -> Result<(), CoordinationError> {
        let node = node.to_owned();
        self.read(move |directory| files::remove(&directory.member(&node)?)).await
    }

    async fn members(&self) -> Result<Vec<MemberRecord>, CoordinationError> {
        self.read(Directory::members).await
    }

    async fn try_lead(&self, node: &str) -> Result<Option<Leadership>, CoordinationError> {
        check_name(node)?;
        let path = self.directory.lock("leader.lock");
        let lock = open_lock(&path)?;
        if !try_lock(&lock, &path)? {
            return Ok(None);
        }
        let (node, known) = (node.to_owned(), self.known());
        let leader = self
            .change(move |directory| directory.next_leader(node, known.leader.as_ref()))
            .await?;
        Ok(Some(Leadership::new(leader.node, leader.token, Box::new(lock))))
    }

    async fn leader(&self) -> Result<Option<Leader>, CoordinationError> {
        self.read(Directory::leader).await
    }

    async fn active(&self) -> Result<Option<Map>, CoordinationError> {
        let known = self.known();
        self.read(move |directory| Ok(directory.state()?.read(&known).active)).await
    }

    async fn proposed(&self) -> Result<Option<Map>, CoordinationError> {
        let known = self.known();
        self.read(move |directory| Ok(directory.state()?.read(&known).proposed)).await
    }

    async fn initialize(&self, shards: Shards) -> Result<Map, CoordinationError> {
        let known = self.known();
        self.change(move |directory| directory.initialize(shards, &known)).await
    }

    async fn restore(
        &self,
        leadership: &Leadership,
        shards: Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError> {
        let (lead, known) = (leadership.leader(), self.known());
        self.change(move |directory| directory.restore(&lead, &shards, &known, now)).await
    }

    async fn propose(
        &self,
        change: Change,
        expected: u64,
        now: UnixMillis,
    ) -> Result<Map, CoordinationError> {
        let known = self.known();
        self.change(move |directory| directory.propose(change, expected, &known, now)).await
    }

    async fn activate(
        &self,
        leadership: &Leadership,
        generation: u64,
    ) -> Result<Map, CoordinationError> {
        let (lead, known) = (leadership.leader(), self.known());
        self.change(move |directory| directory.activate(&lead, generation, &known)).await
    }

    async fn reject(
        &self,
        leadership: &Leadership,
        generation: u64,
        reason: &str,
    ) -> Result<(), CoordinationError> {
        let (lead, known, reason) = (leadership.leader(), self.known(), reason.to_owned());
        self.change(move |directory| directory.reject(&lead, generation, reason, &known)).await
    }

    async fn withdraw(&self, generation: u64, reason: &str) -> Result<(), CoordinationError> {
        let (known, reason) = (self.known(), reason.to_owned());
        self.change(move |directory| directory.withdraw(generation, reason, &known)).await
    }

    async fn note_wait(
        &self,
        leadership: &Leadership,
        waited: Waited,
    ) -> Result<(), CoordinationError> {
        let (lead, known) = (leadership.leader(), self.known());
        self.change(move |directory| directory.note_wait(&lead, waited, &known)).await
    }

    async fn outcome(&self, generation: u64) -> Result<Outcome, CoordinationError> {
        let known = self.known();
        self.change(move |directory| directory.outcome(generation, &known)).await
    }

    fn silence(&self) -> Duration {
        self.heard.silence()
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }
}

/// A locked file. Only the end of its process releases it.
#[async_trait]
impl Hold for File {
    async fn lost(&self) {
        std::future::pending().await
    }

    async fn release(self: Box<Self>) {}
}

/// Polls the directory until there is no receiver left. A failed poll keeps the last state. Only
/// the first of several failures in a row is logged.
async fn poll(directory: Arc<Directory>, snapshots: watch::Sender<Arc<Snapshot>>, heard: Heard) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut failing, mut vanished) = (false, Vanished::default());
    while !snapshots.is_closed() {
        ticks.tick().await;
        let (looked, known) = (Arc::clone(&directory), Arc::clone(&snapshots.borrow()));
        let members = known.members.clone();
        match blocking(move || looked.snapshot(&known)).await {
            Ok(mut snapshot) => {
                failing = false;
                heard.note();
                let ttl = Rhythm::default().member_ttl;
                vanished.put_back(&members, &mut snapshot, UnixMillis::now(), ttl);
                snapshots.send_if_modified(|last| {
                    let changed = **last != snapshot;
                    if changed {
                        *last = Arc::new(snapshot);
                    }
                    changed
                });
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot read the cluster's state; keeping the last one");
                }
                failing = true;
            }
        }
    }
}

fn open_lock(path: &Path) -> Result<File, CoordinationError> {
    let open = || File::options().write(true).create(true).truncate(false).open(path);
    let opened = match open() {
        // The directory was removed while the cluster runs.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(directory).and_then(|()| open())
        }
        opened => opened,
    };
    opened.map_err(|error| io_error(path, error))
}

/// Whether this open file now holds the lock. The lock is released when the file is closed, and
/// thus also when the process dies.
fn try_lock(lock: &File, path: &Path) -> Result<bool, CoordinationError> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(io_error(path, error)),
    }
}

/// Runs file operations on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CoordinationError> + Send + 'static,
) -> Result<T, CoordinationError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| CoordinationError::Interrupted)?
}
