//! Three shards in one process, and ways to damage them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opaque_node::coordination::Map;
use opaque_node::error::NodeError;
use opaque_node::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, Greeter, Hello, NumberedRow, Replica,
    Replicas, RowsCall, ShardCaller,
};
use opaque_node::map::placement::{self, Shards};
use opaque_node::query::coordinator::Coordinator;
use opaque_node::shard::keys::KeyCache;
use opaque_node::shard::loader::Loader;
use opaque_node::shard::local::LocalShard;
use opaque_node::shard::pool::CpuPool;
use opaque_node::shard::registry::Registry;
use opaque_node::shard::served::{ServedIndex, ServedTable, Serving};
use opaque_pir::machine::Kernels;
use opaque_seal::Bfv;
use opaque_store::{Store, UnixMillis};
use tempfile::TempDir;

use super::publish::squares;

pub(crate) const SHARDS: u32 = 3;

/// Three shards in one process, each loaded from the store like by a node.
pub(crate) struct Cluster {
    pub(crate) directory: TempDir,
    pub(crate) loaded: Vec<Serving>,
    pub(crate) bfv: Arc<Bfv>,
    pub(crate) pool: CpuPool,
    pub(crate) store: Store,
}

impl Cluster {
    /// Two epochs of one table are in the store. The first is loaded as `generation`.
    pub(crate) async fn start(generation: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store").to_str().unwrap()).unwrap();
        let pool = CpuPool::new(2, 64).unwrap();
        let bfv = Bfv::new().unwrap();
        // The same rows, so that both epochs have the same geometry. Their salts differ.
        for epoch in 1..=2 {
            squares(&store, "numbers", 5000, epoch).await;
        }
        let mut cluster = Self { directory, loaded: Vec::new(), bfv, pool, store };
        cluster.loaded = cluster.load(generation, 1).await;
        cluster
    }

    /// The data that each shard holds of an epoch.
    pub(crate) async fn load(&self, generation: u64, epoch: u64) -> Vec<Serving> {
        let map = Map {
            generation,
            placement: placement::VERSION,
            shards: Shards::equal(SHARDS).unwrap(),
            tables: BTreeMap::from([("numbers".to_owned(), epoch)]),
            owners: [].into(),
            proposed_at: UnixMillis(0),
        };
        let mut loaded = Vec::new();
        for shard in 0..SHARDS {
            let (store, pool) = (self.store.clone(), self.pool.clone());
            let loader = Loader::new(shard, store, pool, 2);
            loaded.push(loader.load(&map, None, &[], &|_| {}).await.unwrap());
        }
        loaded
    }

    /// Replaces one shard's part of the index.
    pub(crate) fn plant(&mut self, shard: usize, fault: impl FnOnce(&mut ServedIndex)) {
        let table = self.loaded[shard].tables.remove("numbers").unwrap();
        let ServedTable { manifest, mut indexes } = Arc::into_inner(table).unwrap();
        let mut index = Arc::into_inner(indexes.remove(&0).unwrap()).unwrap();
        fault(&mut index);
        indexes.insert(0, Arc::new(index));
        let table = Arc::new(ServedTable { manifest, indexes });
        self.loaded[shard].tables.insert("numbers".to_owned(), table);
    }

    /// Runs the self-test with shard 0's node as coordinator.
    pub(crate) async fn self_test(self) -> Result<(), NodeError> {
        let table = Arc::clone(&self.loaded[0].tables["numbers"]);
        let index = Arc::clone(&table.indexes[&0]);
        let map = self.loaded[0].map.clone();
        let tables = self.loaded[0].tables.clone();
        let (pool, caller) = (self.pool.clone(), Arc::new(self.into_caller()));
        let coordinator = Coordinator::new(caller, pool, Duration::from_secs(60));
        let replicas: Replicas = (0..SHARDS).map(|shard| (shard, vec![replica(shard)])).collect();
        let serving = Serving { map, tables, missing: [].into(), described: [].into() };
        coordinator.probe(&serving, &table, &index, &replicas).await
    }

    /// The present shards, including faults.
    pub(crate) fn into_caller(self) -> InProcess {
        let mut shards = BTreeMap::new();
        for (shard, serving) in (0..).zip(self.loaded) {
            let local = local(&self.store, &self.bfv, &self.pool);
            local.install(serving);
            shards.insert(shard, local);
        }
        InProcess { shards, directory: self.directory }
    }
}

/// A replica that holds nothing yet.
pub(crate) fn local(store: &Store, bfv: &Arc<Bfv>, pool: &CpuPool) -> LocalShard {
    let cache = KeyCache::new(NonZeroUsize::MIN, Duration::from_secs(1));
    let registry = Registry::new(cache, store.clone(), Arc::clone(bfv), pool.clone());
    LocalShard::new(Arc::new(registry), Arc::clone(bfv), pool.clone(), Kernels::best(), 1 << 30)
}

/// Calls without a network.
pub(crate) struct InProcess {
    pub(crate) shards: BTreeMap<u32, LocalShard>,
    /// The store, which exists as long as the shards.
    pub(crate) directory: TempDir,
}

#[async_trait]
impl ShardCaller for InProcess {
    async fn evaluate(
        &self,
        replica: &Replica,
        call: &EvaluateCall,
    ) -> Result<EvaluateReply, CallError> {
        let reply = self.shards[&replica.shard].evaluate(call).await;
        reply.map_err(|error| CallError::TryAnother(error.to_string()))
    }

    async fn read_rows(
        &self,
        replica: &Replica,
        call: &RowsCall,
    ) -> Result<Vec<NumberedRow>, CallError> {
        let rows = self.shards[&replica.shard].read_rows(call).await;
        rows.map_err(|error| CallError::TryAnother(error.to_string()))
    }

    async fn describe(&self, _: &Replica, _: &str, _: u64) -> Result<Description, CallError> {
        Err(CallError::TryAnother("every shard has every table".into()))
    }
}

#[async_trait]
impl Greeter for InProcess {
    async fn hello(&self, replica: &Replica, generation: u64) -> Result<Hello, CallError> {
        let holds = self.shards[&replica.shard].generation(generation).is_some();
        Ok(Hello { active_generation: generation, holds })
    }
}

fn replica(shard: u32) -> Replica {
    Replica { node: format!("node-{shard}"), shard, address: String::new() }
}
