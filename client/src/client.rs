//! The client: the tables and keys that it keeps, and the simple calls.

mod config;
mod public_parts;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opaque_pir::seed::IndexSeed;
use opaque_proto::v1::{
    DescribeTableRequest, Epoch, ListEpochsRequest, ListTablesRequest, ListTablesResponse,
    MissingTable, RollbackRequest, StatusRequest, StatusResponse,
};
#[cfg(feature = "test-randomness")]
use rand::rngs::StdRng;
use rand::rngs::SysRng;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    description::{InlineMeta, Table},
    error::Error,
    lookup::{LookupError, Seeds, index_keys::IndexKeys},
    profile::KeyMode,
    salts::ClusterId,
    session::{CallError, NodeClient, Session},
};
use public_parts::checked;

pub use config::{ClientConfig, Overrides};

/// Longest silence of a load, and longest rollback: an epoch is built, loaded and tested by every
/// node meanwhile.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(600);

/// Indexes whose inline keys are kept in memory: a megabyte each, at most.
const CACHED_INDEXES: usize = 64;

/// The tables of a cluster.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Those that can be asked.
    pub tables: Vec<Table>,
    /// Those that the asked node can neither load nor describe, and why.
    pub missing: Vec<(String, String)>,
}

/// What a long operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Buckets read by a public scan.
    Scanning {
        /// So far.
        buckets: u32,
        /// In all.
        total: u32,
    },
    /// Rows sent to the cluster.
    Sending {
        /// So far.
        rows: u64,
        /// In all.
        total: u64,
    },
    /// The cluster chooses the matrices' shapes.
    Planning,
    /// The cluster builds matrices and hints.
    Building {
        /// Bytes of matrices so far.
        bytes: u64,
        /// In all.
        total: u64,
    },
    /// Every node loads the epoch and the self-test runs.
    Activating,
}

/// Receives [`Event`]s; called from any thread and expected to return at once.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// Inline keys of an index, and what they were made of.
struct CachedKeys {
    seed: IndexSeed,
    of: InlineMeta,
    keys: Arc<IndexKeys>,
}

/// A client of one cluster.
///
/// Tasks and threads share it by reference or in an `Arc`: statements take `&self`. When it is
/// dropped, its connections are closed in the background; [`Client::close`] waits for that.
pub struct Client {
    session: Session,
    config: ClientConfig,
    /// Inline keys of the indexes that were asked, by table and column: those of the last
    /// description alone, so that a server that states another one and then the first again sees
    /// both fetched.
    inline: Mutex<HashMap<(String, u32), CachedKeys>>,
    /// Whose salts are remembered.
    cluster: ClusterId,
    tables: Mutex<HashMap<String, Arc<Table>>>,
    /// The operating system's randomness where there is none.
    #[cfg(feature = "test-randomness")]
    rng: Option<Mutex<StdRng>>,
}

const _: fn() = || {
    fn is_shared_by_threads<T: Send + Sync>() {}
    is_shared_by_threads::<Client>();
};

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.config.endpoints).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the operating system's randomness, asked anew for each lookup: this process
    /// keeps no state from which an earlier lookup's secret could be derived. Connects on first
    /// use; must be called within a tokio runtime.
    ///
    /// # Errors
    /// The credentials cannot be used, or `config` asks for registered keys without a key store.
    pub fn connect(config: ClientConfig) -> Result<Self, Error> {
        if config.keys == KeyMode::Registered && config.key_store.is_none() {
            return Err(Error::NoKeyStore);
        }
        let (ca_pem, credentials) = (config.ca_pem.as_deref(), &config.credentials);
        let session = Session::with_credentials(&config.endpoints, ca_pem, credentials)?;
        let cluster = ClusterId::new(&config.endpoints, ca_pem);
        Ok(Self {
            session,
            config,
            inline: Mutex::default(),
            cluster,
            tables: Mutex::default(),
            #[cfg(feature = "test-randomness")]
            rng: None,
        })
    }

    /// A client that draws the seeds of each lookup from `rng`, for tests that must be repeatable.
    /// For registered keys SEAL draws its own randomness from the system: keys, and what encrypts a
    /// scan's secret. Two lookups with one seed, by whatever processes, show both their buckets to
    /// the cluster.
    #[cfg(feature = "test-randomness")]
    pub fn with_randomness(config: ClientConfig, rng: StdRng) -> Result<Self, Error> {
        Ok(Self { rng: Some(Mutex::new(rng)), ..Self::connect(config)? })
    }

    /// Every table of the cluster, as one node knows them.
    pub async fn tables(&self) -> Result<Tables, Error> {
        let list = self.session.call(self.config.deadline, |mut client: NodeClient| async move {
            client.list_tables(ListTablesRequest {}).await
        });
        let ListTablesResponse { tables, missing } = list.await?.into_inner();
        let tables = tables.into_iter().map(Table::try_from).collect::<Result<_, _>>()?;
        let missing = missing.into_iter().map(|MissingTable { table, reason }| (table, reason));
        Ok(Tables { tables, missing: missing.collect() })
    }

    /// A table as it is served now.
    pub async fn describe(&self, table: &str) -> Result<Arc<Table>, Error> {
        let describe = self.session.call(self.config.deadline, |mut client: NodeClient| {
            let request = DescribeTableRequest { table: table.to_owned() };
            async move { client.describe_table(request).await }
        });
        let described = Arc::new(Table::try_from(describe.await?.into_inner())?);
        // Lookups are encrypted under what the name is part of.
        if !described.schema.table().eq_ignore_ascii_case(table) {
            return Err(CallError::Answer("it describes another table").into());
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.insert(table.to_ascii_lowercase(), Arc::clone(&described));
        Ok(described)
    }

    /// Epochs of a table that the store keeps.
    pub async fn epochs(&self, table: &str) -> Result<Vec<Epoch>, Error> {
        let list = self.session.call(self.config.deadline, |mut client: NodeClient| {
            let request = ListEpochsRequest { table: table.to_owned() };
            async move { client.list_epochs(request).await }
        });
        Ok(list.await?.into_inner().epochs)
    }

    /// Makes an older (or newer) kept epoch the one that is served.
    ///
    /// It is sent once, to a node that answers: sent again after a connection broke, it could undo
    /// a load that was activated meanwhile.
    ///
    /// # Errors
    /// [`Error::Rollback`] once it was sent. Unless a node refused, it may still complete.
    pub async fn rollback(&self, table: &str, epoch: u64) -> Result<Table, Error> {
        let mut node = self.session.reachable(self.config.deadline).await?;
        let request = RollbackRequest { table: table.to_owned(), epoch };
        let within = self.publish_deadline();
        let outcome = timeout(within, node.rollback(request)).await;
        // Whatever came of it: what was known of the table may be so no more.
        self.forget(table);
        let answer = outcome
            .map_err(|_| CallError::Deadline { within })
            .and_then(|answer| answer.map_err(|status| CallError::once(&status)))
            .map_err(Error::Rollback)?;
        Ok(Table::try_from(answer.into_inner().table.unwrap_or_default())?)
    }

    /// Who serves what.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        let status = self.session.call(self.config.deadline, |mut client: NodeClient| async move {
            client.status(StatusRequest {}).await
        });
        Ok(status.await?.into_inner())
    }

    /// The description that was fetched before, if any.
    pub(crate) fn cached(&self, table: &str) -> Option<Arc<Table>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.get(&table.to_ascii_lowercase()).cloned()
    }

    pub(crate) fn forget(&self, table: &str) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.remove(&table.to_ascii_lowercase());
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Closes every connection and returns once the close has been sent.
    pub async fn close(self) {
        self.session.close().await;
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.config.deadline
    }

    pub(crate) fn publish_deadline(&self) -> Duration {
        PUBLISH_DEADLINE.max(self.config.deadline)
    }

    /// The keys to ask one index with in a statement of so many lookups, and the bytes that had to
    /// be fetched for them.
    pub(crate) async fn index_keys(
        &self,
        table: &Arc<Table>,
        column: usize,
        lookups: u64,
    ) -> Result<(Arc<IndexKeys>, u64), Error> {
        self.cluster.admit(table)?;
        match self.config.keys {
            KeyMode::Inline => self.inline_keys(table, column).await,
            KeyMode::Registered => {
                let store = self.config.key_store.clone().ok_or(Error::NoKeyStore)?;
                let reserve = move || store.reserve(lookups);
                let keys = spawn_blocking(reserve).await.map_err(|_| Error::Worker)??;
                Ok((Arc::new(IndexKeys::Registered(keys)), 0))
            }
        }
    }

    /// Inline keys of one index: kept from before, else with public parts from a node.
    async fn inline_keys(
        &self,
        table: &Arc<Table>,
        column: usize,
    ) -> Result<(Arc<IndexKeys>, u64), Error> {
        let meta = table.inline(column).ok_or(LookupError::NoIndex)?.clone();
        let number = u32::try_from(column).map_err(|_| LookupError::TooMany)?;
        let seed = table.seed(column).ok_or(LookupError::NoIndex)?;
        let inline = || self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        // A node may have described the table wrongly once: not for ever, for one that describes it
        // right.
        let index = (table.schema.table().to_ascii_lowercase(), number);
        if let Some(kept) = inline().get(&index)
            && kept.seed == seed
            && kept.of == meta
        {
            return Ok((Arc::clone(&kept.keys), 0));
        }
        let parts = self.session.public_parts(self.config.deadline, table, number).await?;
        let fetched = parts.iter().map(|part| part.len() as u64).sum();
        let geometry = &table.index(column).ok_or(LookupError::NoIndex)?.geometry;
        let parts = checked(geometry, &meta.public_parts, &parts)
            .ok_or(CallError::Answer("a public part is not the one described"))?;
        let expand = move || IndexKeys::inline(&seed, parts);
        let keys = Arc::new(spawn_blocking(expand).await.map_err(|_| Error::Worker)?);
        let mut all = inline();
        if all.len() >= CACHED_INDEXES {
            all.clear();
        }
        all.insert(index, CachedKeys { seed, of: meta, keys: Arc::clone(&keys) });
        Ok((keys, fetched))
    }

    /// Fresh seeds for each of `count` lookups.
    pub(crate) fn seeds(&self, count: usize) -> Result<Vec<Seeds>, Error> {
        #[cfg(feature = "test-randomness")]
        if let Some(rng) = &self.rng {
            let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
            let drawn = (0..count).map(|_| Seeds::draw(&mut *rng));
            return Ok(drawn.map(|drawn| drawn.unwrap_or_else(|never| match never {})).collect());
        }
        let drawn = (0..count).map(|_| Seeds::draw(&mut SysRng)).collect::<Result<_, _>>();
        drawn.map_err(|error| Error::Randomness(io::Error::other(error)))
    }
}
