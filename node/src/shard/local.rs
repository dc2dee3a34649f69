//! This node as a replica: the generations that it holds, and the computations on them.

mod generations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use opaque_pir::codec::{LOOKUPS_PER_MESSAGE, Slice, SliceMaterial, slice_max_bytes};
use opaque_pir::machine::Kernels;
use opaque_seal::Bfv;
use rayon::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::generations::Generations;
use crate::error::NodeError;
use crate::map::call::{EvaluateCall, EvaluateReply, NumberedRow, RowsCall};
use crate::map::placement::Shards;
use crate::shard::demand::{self, Part};
use crate::shard::memory::{Memory, Need, Reservation};
use crate::shard::pass::{Evaluated, RegisteredKeys, Request};
use crate::shard::pool::CpuPool;
use crate::shard::registry::Registry;
use crate::shard::served::{ServedIndex, ServedTable, Serving, resident_bytes, tables_of};

/// The unit in which request memory is granted.
const MEMORY_UNIT: usize = 64 << 10;

/// The data and resources with which this node serves its shard.
pub struct LocalShard {
    generations: Generations,
    registry: Arc<Registry>,
    bfv: Arc<Bfv>,
    pool: CpuPool,
    kernels: Kernels,
    memory: Arc<Semaphore>,
    memory_units: u32,
    /// Admits data that stays in memory.
    resident: Arc<Memory>,
    passes: Arc<Passes>,
}

/// Counts of computations since the node started.
#[derive(Default)]
struct Passes {
    passes: AtomicU64,
    lookups: AtomicU64,
}

impl LocalShard {
    /// A replica that holds nothing yet. Requests may use `memory` bytes at a time.
    pub fn new(
        registry: Arc<Registry>,
        bfv: Arc<Bfv>,
        pool: CpuPool,
        kernels: Kernels,
        memory: usize,
    ) -> Self {
        let memory_units = u32::try_from(memory.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
        let memory = Arc::new(Semaphore::new(memory_units as usize));
        Self {
            generations: Generations::default(),
            registry,
            bfv,
            pool,
            kernels,
            memory,
            memory_units,
            resident: Memory::unlimited(),
            passes: Arc::default(),
        }
    }

    /// Keeps in memory only what `memory` admits.
    pub fn admitted_by(self, memory: Arc<Memory>) -> Self {
        Self { resident: memory, ..self }
    }

    /// Memory for a request of `bytes` bytes, reserved before its body is read.
    ///
    /// # Errors
    /// [`NodeError::Busy`] if other requests hold too much; [`NodeError::TooLarge`] if there is
    /// never enough.
    pub fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NodeError> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
        if units > self.memory_units {
            return Err(NodeError::TooLarge(format!(
                "the request needs {} MiB, above this node's limit of {} MiB: send fewer lookups, or start the node with a larger --request-memory-mib (OPAQUE_REQUEST_MEMORY_MIB)",
                bytes >> 20,
                (self.memory_units as usize * MEMORY_UNIT) >> 20,
            )));
        }
        Arc::clone(&self.memory).try_acquire_many_owned(units).map_err(|_| NodeError::Busy)
    }

    /// Reduces `memory` to the part that is still needed for `bytes`.
    pub fn keep(memory: OwnedSemaphorePermit, bytes: usize) -> OwnedSemaphorePermit {
        let mut memory = memory;
        let surplus = memory.num_permits().saturating_sub(bytes.div_ceil(MEMORY_UNIT));
        drop(memory.split(surplus));
        memory
    }

    /// Extends `memory` to at least `bytes`.
    ///
    /// # Errors
    /// As for [`reserve`](Self::reserve).
    pub fn extend(
        &self,
        memory: OwnedSemaphorePermit,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, NodeError> {
        let mut memory = memory;
        let missing = bytes.saturating_sub(memory.num_permits() * MEMORY_UNIT);
        if missing > 0 {
            memory.merge(self.reserve(missing)?);
        }
        Ok(memory)
    }

    /// Memory for rows of a load, in addition to the tables in memory, until the reservation is
    /// dropped.
    ///
    /// # Errors
    /// [`NodeError::Refused`] if too little is left.
    pub fn reserve_rows(&self, bytes: u64) -> Result<Reservation, NodeError> {
        let need = Need { resident: 0, building: bytes };
        self.resident.admit(self.resident_bytes(), need).map_err(NodeError::rows_memory)
    }

    /// The generation, if it is loaded.
    pub fn generation(&self, generation: u64) -> Option<Arc<Serving>> {
        self.generations.find(generation)
    }

    /// Every loaded generation, oldest first.
    pub fn generations(&self) -> Vec<Arc<Serving>> {
        self.generations.all()
    }

    /// Every generation whose tables are in memory, so that the next one may share them. This
    /// includes one that was loaded too late to be used.
    pub fn in_memory(&self) -> Vec<Arc<Serving>> {
        self.generations.in_memory()
    }

    /// Adds a loaded generation. Returns `false` if it has already been retired. It then answers no
    /// queries.
    pub fn install(&self, serving: Serving) -> bool {
        self.generations.install(serving)
    }

    /// Applies `change` to every generation with these `shards` that lacks `table` at `epoch`.
    pub fn amend(&self, shards: &Shards, table: &str, epoch: u64, change: impl Fn(&mut Serving)) {
        self.generations.amend(shards, table, epoch, change);
    }

    /// A table at an epoch in the newest generation that has it, with or without this shard's part.
    ///
    /// # Errors
    /// [`NodeError::StaleEpoch`] if no generation has it.
    pub fn table(&self, table: &str, epoch: u64) -> Result<Arc<ServedTable>, NodeError> {
        let held = self.generations();
        let tables = held.iter().rev().filter_map(|serving| serving.table(table).ok());
        let mut tables = tables.filter(|table| table.manifest.epoch == epoch);
        let stale = || NodeError::StaleEpoch { table: table.to_owned(), epoch };
        tables.next().cloned().ok_or_else(stale)
    }

    /// Drops one generation that will never become active, if it is held.
    pub fn discard(&self, generation: u64) {
        self.generations.discard(generation);
    }

    /// Drops every generation below `oldest`. Those that are still being loaded are dropped when
    /// they are complete. Queries that use one may finish.
    pub fn retire_below(&self, oldest: u64) {
        self.generations.retire_below(oldest);
    }

    /// Bytes of tables in memory. Shared ones count once.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(&self.in_memory())
    }

    /// The part of [`resident_bytes`](Self::resident_bytes) that is in large pages, as far as the
    /// system accepted the request.
    pub fn large_page_bytes(&self) -> u64 {
        tables_of(&self.in_memory()).iter().map(|table| table.large_page_bytes()).sum()
    }

    /// Passes since the node started, and the lookups that they answered.
    pub fn passes(&self) -> (u64, u64) {
        let Passes { passes, lookups } = &*self.passes;
        (passes.load(Ordering::Relaxed), lookups.load(Ordering::Relaxed))
    }

    /// Evaluates one slice, in a pass with other requests for the same index.
    ///
    /// # Errors
    /// Before any work: an unknown generation, table or column, a malformed slice, a slice of other
    /// partitions, unknown keys, or too many waiting jobs.
    pub async fn evaluate(&self, call: &EvaluateCall) -> Result<EvaluateReply, NodeError> {
        let index = self.index(call.generation, &call.table, call.column, call.epoch)?;
        let slice = {
            let (call, index) = (call.clone(), Arc::clone(&index));
            self.pool.run(move || decode(&call, &index)).await??
        };
        let keys = self.keys_of(&slice, &index).await?;
        let lookups = usize::from(slice.lookups());
        let batcher = match slice.material() {
            SliceMaterial::Registered(_) => &index.registered_batcher,
            _ => &index.batcher,
        };
        let request = Request { generation: call.generation, epoch: call.epoch, slice, keys };
        let (shared, kernels) = (Arc::clone(&index), self.kernels);
        let passes = Arc::clone(&self.passes);
        let pass = move |requests: Vec<Request>| {
            let lookups = requests.iter().map(|request| u64::from(request.slice.lookups())).sum();
            passes.passes.fetch_add(1, Ordering::Relaxed);
            passes.lookups.fetch_add(lookups, Ordering::Relaxed);
            let evaluated = shared.part().pass(&requests, kernels, &mut |_| ());
            evaluated.into_par_iter().map(|one| encode(one?, &shared)).collect()
        };
        batcher.run(&self.pool, request, lookups, pass).await?
    }

    /// Memory for evaluating a slice of `bytes` bytes.
    ///
    /// # Errors
    /// The index is not served here, or the slice is too large for it.
    pub fn slice_demand(&self, call: &EvaluateCall, bytes: usize) -> Result<usize, NodeError> {
        let index = self.index(call.generation, &call.table, call.column, call.epoch)?;
        let largest = slice_max_bytes(&index.geometry, call.lookups);
        if !(1..=LOOKUPS_PER_MESSAGE).contains(&call.lookups) || bytes > largest {
            return Err(NodeError::Malformed("malformed slice".into()));
        }
        let part = Part { partitions: index.partitions.len(), planes: index.planes.len() };
        Ok(demand::of_slice(&index.geometry, call.lookups, part, bytes))
    }

    /// Size of a partition of the index that a call reads, which bounds the size of its rows.
    pub fn partition_bytes(&self, call: &RowsCall) -> Result<usize, NodeError> {
        let index = self.index(call.generation, &call.table, call.column, call.epoch)?;
        Ok(index.geometry.partition_bytes())
    }

    /// Reads rows of one partition.
    pub async fn read_rows(&self, call: &RowsCall) -> Result<Vec<NumberedRow>, NodeError> {
        let index = self.index(call.generation, &call.table, call.column, call.epoch)?;
        let (first, end, below) = (call.first, call.end, call.below.unwrap_or(u64::MAX));
        let read = move || {
            let mut rows = index.rows(first, end)?;
            rows.retain(|(number, _)| *number < below);
            Ok(rows)
        };
        self.pool.run(read).await?
    }

    /// The evaluation keys that a slice names, with the index prepared for them. `None` if there is
    /// nothing to evaluate with them.
    async fn keys_of(
        &self,
        slice: &Slice,
        index: &Arc<ServedIndex>,
    ) -> Result<Option<RegisteredKeys>, NodeError> {
        match slice.material() {
            SliceMaterial::Registered(digest) if !index.planes.is_empty() => {
                let keys = self.registry.keys(digest).await?;
                let admit = |need| {
                    let admitted = self.resident.admit(self.resident_bytes(), need);
                    admitted.map_err(NodeError::registered_memory)
                };
                index.serve_registered(&self.bfv, &self.pool, admit).await?;
                Ok(Some(RegisteredKeys { bfv: Arc::clone(&self.bfv), keys }))
            }
            _ => Ok(None),
        }
    }

    fn index(
        &self,
        generation: u64,
        table: &str,
        column: u32,
        epoch: u64,
    ) -> Result<Arc<ServedIndex>, NodeError> {
        let serving =
            self.generation(generation).ok_or(NodeError::UnknownGeneration(generation))?;
        let unknown = || match serving.missing.get(table).cloned() {
            Some(reason) => NodeError::TableMissing { table: table.to_owned(), reason },
            None => NodeError::UnknownTable(table.to_owned()),
        };
        let served = serving.tables.get(table).ok_or_else(unknown)?;
        if served.manifest.epoch != epoch {
            return Err(NodeError::StaleEpoch { table: table.to_owned(), epoch });
        }
        let unknown = || NodeError::UnknownColumn { table: table.to_owned(), column };
        served.indexes.get(&column).cloned().ok_or_else(unknown)
    }
}

fn decode(call: &EvaluateCall, index: &ServedIndex) -> Result<Slice, NodeError> {
    let malformed = || NodeError::Malformed("malformed slice".into());
    let slice = Slice::decode(&call.body, &index.geometry, call.epoch).map_err(|_| malformed())?;
    if slice.lookups() != call.lookups {
        return Err(malformed());
    }
    match index.partition_numbers().eq(slice.partitions().iter().copied()) {
        true => Ok(slice),
        false => Err(NodeError::WrongPartitions(call.generation)),
    }
}

fn encode(evaluated: Evaluated, index: &ServedIndex) -> Result<EvaluateReply, NodeError> {
    let Evaluated { partial, scan, hint } = evaluated;
    let body = partial.encode(&index.geometry).map_err(NodeError::internal)?;
    Ok(EvaluateReply { body: Bytes::from(body), scan, hint })
}
