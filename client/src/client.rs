//! The client: its cached tables and keys, and the calls that need no query plan.

mod config;

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
    lookup::{
        LookupError, Seeds,
        index_keys::{IndexKeys, checked_parts},
    },
    profile::KeyMode,
    salts::ClusterId,
    session::{CallError, NodeClient, Session},
};

pub use config::{ClientConfig, Overrides};

/// Longest time without progress of a load, and longest duration of a rollback. Within this time
/// every node must build, load and test an epoch.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(600);

/// Maximum number of indexes whose inline keys are cached; each takes at most one megabyte.
const CACHED_INDEXES: usize = 64;

/// The tables of a cluster.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The tables that can be queried.
    pub tables: Vec<Table>,
    /// Names of the tables that this node can neither load nor describe, each with the reason.
    pub missing: Vec<(String, String)>,
}

/// Progress of a long operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A public scan reads buckets.
    Scanning {
        /// Buckets read so far.
        buckets: u32,
        /// Buckets in total.
        total: u32,
    },
    /// The client sends rows to the cluster.
    Sending {
        /// Rows sent so far.
        rows: u64,
        /// Rows in total.
        total: u64,
    },
    /// The cluster chooses the matrices' shapes.
    Planning,
    /// The cluster builds matrices and hints.
    Building {
        /// Bytes of matrices built so far.
        bytes: u64,
        /// Bytes of matrices in total.
        total: u64,
    },
    /// Every node loads the epoch and the self-test runs.
    Activating,
}

/// Receives [`Event`]s. It is called from any thread and must return quickly.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// Inline keys of one index, with the values from which they were derived.
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
    /// Cached inline keys by table and column. Only the keys of the last description are kept. A
    /// server that alternates between two descriptions therefore sees a fetch for each change.
    inline: Mutex<HashMap<(String, u32), CachedKeys>>,
    /// The cluster to which remembered salts belong.
    cluster: ClusterId,
    tables: Mutex<HashMap<String, Arc<Table>>>,
    /// A fixed generator for tests; `None` uses the operating system's randomness.
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
    /// Creates a client that draws fresh randomness from the operating system for each lookup. The
    /// process keeps no state from which the secret of an earlier lookup could be derived. The
    /// client connects on first use and must be created within a tokio runtime.
    ///
    /// # Errors
    /// The credentials cannot be used, or `config` selects registered keys without a key store.
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

    /// Creates a client that draws the seeds of each lookup from `rng`, for reproducible tests.
    /// With registered keys, SEAL still draws its own randomness from the system, both for the keys
    /// and for the encryption of a scan's secret. Two lookups with the same seed, even from
    /// different processes, reveal both their buckets to the cluster.
    #[cfg(feature = "test-randomness")]
    pub fn with_randomness(config: ClientConfig, rng: StdRng) -> Result<Self, Error> {
        Ok(Self { rng: Some(Mutex::new(rng)), ..Self::connect(config)? })
    }

    /// All tables of the cluster, as reported by one node.
    pub async fn tables(&self) -> Result<Tables, Error> {
        let list = self.session.call(self.config.deadline, |mut client: NodeClient| async move {
            client.list_tables(ListTablesRequest {}).await
        });
        let ListTablesResponse { tables, missing } = list.await?.into_inner();
        let tables = tables.into_iter().map(Table::try_from).collect::<Result<_, _>>()?;
        let missing = missing.into_iter().map(|MissingTable { table, reason }| (table, reason));
        Ok(Tables { tables, missing: missing.collect() })
    }

    /// The description of a table's active epoch.
    pub async fn describe(&self, table: &str) -> Result<Arc<Table>, Error> {
        let describe = self.session.call(self.config.deadline, |mut client: NodeClient| {
            let request = DescribeTableRequest { table: table.to_owned() };
            async move { client.describe_table(request).await }
        });
        let described = Arc::new(Table::try_from(describe.await?.into_inner())?);
        // The table's name is an input of the encryption, so a description of another table must be
        // refused.
        if !described.schema.table().eq_ignore_ascii_case(table) {
            return Err(CallError::Answer("it describes another table").into());
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.insert(table.to_ascii_lowercase(), Arc::clone(&described));
        Ok(described)
    }

    /// The epochs of a table that the object store still holds.
    pub async fn epochs(&self, table: &str) -> Result<Vec<Epoch>, Error> {
        let list = self.session.call(self.config.deadline, |mut client: NodeClient| {
            let request = ListEpochsRequest { table: table.to_owned() };
            async move { client.list_epochs(request).await }
        });
        Ok(list.await?.into_inner().epochs)
    }

    /// Activates another stored epoch of the table, older or newer.
    ///
    /// The request is sent once, to a node that answers. A repetition after a broken connection
    /// could undo a load that was activated in between.
    ///
    /// # Errors
    /// [`Error::Rollback`] after the request was sent. Unless a node refused it, the rollback may
    /// still complete.
    pub async fn rollback(&self, table: &str, epoch: u64) -> Result<Table, Error> {
        let mut node = self.session.reachable(self.config.deadline).await?;
        let request = RollbackRequest { table: table.to_owned(), epoch };
        let within = self.publish_deadline();
        let outcome = timeout(within, node.rollback(request)).await;
        // The cached description may be outdated whatever the result was.
        self.forget(table);
        let answer = outcome
            .map_err(|_| CallError::Deadline { within })
            .and_then(|answer| answer.map_err(|status| CallError::once(&status)))
            .map_err(Error::Rollback)?;
        Ok(Table::try_from(answer.into_inner().table.unwrap_or_default())?)
    }

    /// Which nodes serve which tables.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        let status = self.session.call(self.config.deadline, |mut client: NodeClient| async move {
            client.status(StatusRequest {}).await
        });
        Ok(status.await?.into_inner())
    }

    /// The cached description of a table, if any.
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

    /// The keys for a statement with `lookups` lookups of one index, and the number of bytes that
    /// had to be fetched for them.
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

    /// Inline keys of one index, from the cache or made from public parts that a node sends.
    async fn inline_keys(
        &self,
        table: &Arc<Table>,
        column: usize,
    ) -> Result<(Arc<IndexKeys>, u64), Error> {
        let meta = table.inline(column).ok_or(LookupError::NoIndex)?.clone();
        let number = u32::try_from(column).map_err(|_| LookupError::TooMany)?;
        let seed = table.seed(column).ok_or(LookupError::NoIndex)?;
        let inline = || self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        // A cached entry is used only if it matches the description: one wrong description from a
        // node must not affect later lookups.
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
        let parts = checked_parts(geometry, &meta.public_parts, &parts)
            .ok_or(CallError::Answer("a public part does not match its digest"))?;
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
