//! The self-test holds on an honest cluster and catches each kind of fault, over real shards that
//! loaded a real epoch from a real store.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opaque_node::assignment::Assignment;
use opaque_node::call::{
    CallError, EvaluateCall, EvaluateReply, NumberedRow, Replica, RowsCall, ShardCaller,
};
use opaque_node::coordination::{Map, UnixMillis};
use opaque_node::coordinator::{Coordinator, Replicas};
use opaque_node::error::NodeError;
use opaque_node::keys::KeyCache;
use opaque_node::loader::Loader;
use opaque_node::local::LocalShard;
use opaque_node::placement::{self, Shards};
use opaque_node::pool::CpuPool;
use opaque_node::prepare::{self, Load};
use opaque_node::registry::Registry;
use opaque_node::served::{ServedIndex, ServedTable, Serving};
use opaque_node::store::{Store, Writer};
use opaque_pir::probe::Probe;
use opaque_pir::scan::{Kernel, Partition};
use opaque_pir::table::{Column, ColumnType, Role, Schema, Value, encode_row};
use opaque_seal::Bfv;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

const SHARDS: u32 = 3;

/// Three shards in one process, each loaded from the store as a node would.
struct Cluster {
    _store: TempDir,
    loaded: Vec<Serving>,
    bfv: Arc<Bfv>,
    pool: CpuPool,
    store: Store,
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_str().unwrap()).unwrap();
        let pool = CpuPool::new(2, 64).unwrap();
        let bfv = Bfv::new().unwrap();
        for epoch in 1..=2 {
            publish(&store, epoch).await;
        }
        let mut cluster = Self { _store: directory, loaded: Vec::new(), bfv, pool, store };
        cluster.loaded = cluster.load(1).await;
        cluster
    }

    async fn load(&self, epoch: u64) -> Vec<Serving> {
        let map = Map {
            generation: 1,
            placement: placement::VERSION,
            shards: Shards::equal(SHARDS).unwrap(),
            tables: BTreeMap::from([("numbers".to_owned(), epoch)]),
            proposed_at: UnixMillis(0),
        };
        let mut loaded = Vec::new();
        for shard in 0..SHARDS {
            let (store, bfv) = (self.store.clone(), Arc::clone(&self.bfv));
            let loader = Loader { shard, store, bfv, pool: self.pool.clone() };
            loaded.push(loader.load(&map, &[]).await.unwrap());
        }
        loaded
    }

    /// Replaces one shard's part of the index.
    fn plant(&mut self, shard: usize, fault: impl FnOnce(&mut ServedIndex)) {
        let table = self.loaded[shard].tables.remove("numbers").unwrap();
        let ServedTable { manifest, mut indexes } = Arc::into_inner(table).unwrap();
        let mut index = Arc::into_inner(indexes.remove(&0).unwrap()).unwrap();
        fault(&mut index);
        indexes.insert(0, Arc::new(index));
        let table = Arc::new(ServedTable { manifest, indexes });
        self.loaded[shard].tables.insert("numbers".to_owned(), table);
    }

    /// Runs the self-test with shard 0's node as coordinator.
    async fn self_test(self) -> Result<(), NodeError> {
        let table = Arc::clone(&self.loaded[0].tables["numbers"]);
        let index = Arc::clone(&table.indexes[&0]);
        let map = self.loaded[0].map.clone();
        let tables = self.loaded[0].tables.clone();
        let mut shards = BTreeMap::new();
        for (shard, serving) in (0..).zip(self.loaded) {
            let cache = KeyCache::new(NonZeroUsize::MIN, Duration::from_secs(1));
            let (bfv, pool) = (Arc::clone(&self.bfv), self.pool.clone());
            let registry = Registry::new(cache, self.store.clone(), Arc::clone(&bfv), pool.clone());
            let local = LocalShard::new(Arc::new(registry), bfv, pool, Kernel::best(), 1 << 30);
            local.install(serving);
            shards.insert(shard, local);
        }
        let caller = Arc::new(InProcess(shards));
        let coordinator = Coordinator::new(caller, self.pool.clone(), Duration::from_secs(60));
        let replicas: Replicas = (0..SHARDS).map(|shard| (shard, vec![replica(shard)])).collect();
        let probe = Arc::new(Probe::random(&mut StdRng::seed_from_u64(11)));
        let serving = Serving { map, tables, missing: BTreeMap::new() };
        coordinator.probe(&serving, &table, &index, &replicas, probe).await
    }
}

struct InProcess(BTreeMap<u32, LocalShard>);

#[async_trait]
impl ShardCaller for InProcess {
    async fn evaluate(
        &self,
        replica: &Replica,
        call: &EvaluateCall,
    ) -> Result<EvaluateReply, CallError> {
        let reply = self.0[&replica.shard].evaluate(call).await;
        reply.map_err(|error| CallError::TryAnother(error.to_string()))
    }

    async fn read_rows(
        &self,
        replica: &Replica,
        call: &RowsCall,
    ) -> Result<Vec<NumberedRow>, CallError> {
        let rows = self.0[&replica.shard].read_rows(call).await;
        rows.map_err(|error| CallError::TryAnother(error.to_string()))
    }
}

fn replica(shard: u32) -> Replica {
    Replica { node: format!("node-{shard}"), shard, address: String::new() }
}

/// The same rows each time, so that both epochs have one geometry; their salts differ.
async fn publish(store: &Store, seed: u64) {
    let column = |name: &str, role| Column {
        name: name.to_owned(),
        column_type: ColumnType::Int,
        role,
        nullable: false,
    };
    let columns = vec![column("n", Role::Key), column("square", Role::Payload)];
    let schema = Schema::new("numbers".to_owned(), columns).unwrap();
    let row = |n: i64| encode_row(&schema, &[Value::Int(n), Value::Int(n * n)]).unwrap();
    let load = Load {
        schema: schema.clone(),
        rows: (0..5000).map(row).collect(),
        created: UnixMillis(0),
        writer: Writer { node: "test".to_owned(), incarnation: seed.to_string() },
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let rng = StdRng::seed_from_u64(seed);
    prepare::prepare(store, load, rng, |_| {}, &pool).await.unwrap();
}

/// A shard that has a partition, and the number of the first one.
fn some_partition(cluster: &Cluster) -> (usize, u32) {
    let first = |serving: &Serving| {
        serving.tables["numbers"].indexes[&0].partitions.first().map(|(number, _)| *number)
    };
    cluster.loaded.iter().enumerate().find_map(|(shard, s)| Some((shard, first(s)?))).unwrap()
}

/// Every partition's and plane's owner, changed by `change`.
fn reassign(index: &mut ServedIndex, change: impl FnOnce(&mut Vec<u32>)) {
    let owners = (0..index.geometry.partitions()).map(|j| index.assignment.owner(j).unwrap());
    let mut owners: Vec<u32> = owners.collect();
    let plane_owner = |plane: u16| {
        (0..SHARDS).find(|shard| index.assignment.planes(*shard).contains(&plane)).unwrap()
    };
    let planes: Vec<u32> = (0..index.geometry.planes() as u16).map(plane_owner).collect();
    change(&mut owners);
    index.assignment = Assignment::new(owners, &planes);
}

#[tokio::test]
async fn holds_on_an_honest_cluster() {
    Cluster::start().await.self_test().await.unwrap();
}

#[tokio::test]
async fn catches_one_flipped_bit_in_a_loaded_partition() {
    let mut cluster = Cluster::start().await;
    let (shard, _) = some_partition(&cluster);
    cluster.plant(shard, |index| {
        let (_, partition) = &mut index.partitions[0];
        let mut bytes = partition.bytes().to_vec();
        bytes[123_457] ^= 1;
        *partition = Partition::try_from((bytes, &index.geometry)).unwrap();
    });
    let refused = cluster.self_test().await.unwrap_err();
    assert!(matches!(refused, NodeError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn catches_a_partition_served_in_the_place_of_another() {
    let mut cluster = Cluster::start().await;
    let donor = |serving: &Serving| {
        let index = &serving.tables["numbers"].indexes[&0];
        index.partitions.first().map(|(_, data)| data.bytes().to_vec())
    };
    let copies: Vec<_> = cluster.loaded.iter().filter_map(donor).collect();
    assert!(copies.len() > 1, "the partitions lie on several shards");
    let (shard, _) = some_partition(&cluster);
    cluster.plant(shard, |index| {
        index.partitions[0].1 = Partition::try_from((copies[1].clone(), &index.geometry)).unwrap();
    });
    let refused = cluster.self_test().await.unwrap_err();
    assert!(matches!(refused, NodeError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn catches_a_partition_that_two_shards_serve() {
    let mut cluster = Cluster::start().await;
    let (owner, number) = some_partition(&cluster);
    let index = &cluster.loaded[owner].tables["numbers"].indexes[&0];
    let bytes = index.partitions[0].1.bytes().to_vec();
    let thief = (owner + 1) % SHARDS as usize;
    // The second shard holds the partition too, and says so although it was not asked for it.
    cluster.plant(thief, |index| {
        let copy = Partition::try_from((bytes, &index.geometry)).unwrap();
        index.partitions.push((number, copy));
        index.partitions.sort_by_key(|(number, _)| *number);
    });
    let failed = cluster.self_test().await.unwrap_err();
    assert!(failed.to_string().contains(&format!("shard {thief}")), "{failed}");
}

#[tokio::test]
async fn catches_a_partition_that_nobody_serves() {
    let mut cluster = Cluster::start().await;
    let (owner, number) = some_partition(&cluster);
    cluster.plant(owner, |index| {
        index.partitions.retain(|(held, _)| *held != number);
    });
    let failed = cluster.self_test().await.unwrap_err();
    assert!(failed.to_string().contains(&format!("shard {owner}")), "{failed}");
}

#[tokio::test]
async fn catches_a_map_that_gives_a_partition_to_the_wrong_shard() {
    let mut cluster = Cluster::start().await;
    let (owner, number) = some_partition(&cluster);
    let other = (owner as u32 + 1) % SHARDS;
    cluster.plant(0, |index| reassign(index, |owners| owners[number as usize] = other));
    assert!(cluster.self_test().await.is_err());
}

#[tokio::test]
async fn catches_the_hint_of_another_epoch() {
    let mut cluster = Cluster::start().await;
    let mut others = cluster.load(2).await;
    let owner = others
        .iter()
        .position(|serving| !serving.tables["numbers"].indexes[&0].planes.is_empty())
        .unwrap();
    let other = Arc::into_inner(others[owner].tables.remove("numbers").unwrap()).unwrap();
    let mut indexes = other.indexes;
    let other = Arc::into_inner(indexes.remove(&0).unwrap()).unwrap();
    cluster.plant(owner, |index| {
        assert_eq!(index.geometry, other.geometry);
        index.planes = other.planes;
    });
    let refused = cluster.self_test().await.unwrap_err();
    assert!(matches!(refused, NodeError::Refused(_)), "{refused}");
}
