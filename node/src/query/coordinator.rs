//! Answers queries for the whole cluster: cuts each into slices, has every shard evaluate its
//! slice, and adds up the partial results.

mod gather;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opaque_pir::codec::{Combiner, Kind, Material, Partial, QueryView, probe_slice, slice};
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::InlineQuery;
use opaque_pir::probe::Probe;
use opaque_seal::EncryptedSecret;
use tokio::time::Instant as Deadline;

pub use self::gather::Patience;
pub(crate) use self::gather::gather;
use crate::error::NodeError;
use crate::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, NumberedRow, Replica, Replicas, RowsCall,
    RowsLimit, ShardCaller,
};
use crate::shard::demand::{self, Part};
use crate::shard::pass::Evaluated;
use crate::shard::pool::CpuPool;
use crate::shard::registry::Registry;
use crate::shard::served::{ServedIndex, ServedTable, Serving};

/// An answer and its costs.
#[derive(Debug)]
pub struct Answered {
    /// The encoded answer.
    pub answer: Bytes,
    /// Time of the slowest shard's scan.
    pub scan: Duration,
    /// Time of the slowest shard's hint products.
    pub hint: Duration,
    /// Time from reading the whole query to building the answer.
    pub total: Duration,
}

/// Number of lookups in a self-test.
#[expect(clippy::cast_possible_truncation, reason = "a constant below ten")]
const SECRETS: u16 = opaque_pir::probe::SECRETS as u16;

/// Scatters queries over the shards of a generation and gathers their partials.
pub struct Coordinator {
    caller: Arc<dyn ShardCaller>,
    pool: CpuPool,
    deadline: Duration,
}

impl Coordinator {
    /// A coordinator whose queries take at most `deadline`.
    pub fn new(caller: Arc<dyn ShardCaller>, pool: CpuPool, deadline: Duration) -> Self {
        Self { caller, pool, deadline }
    }

    /// Whether a query that starts now would have to wait.
    pub fn is_busy(&self) -> bool {
        self.pool.is_busy()
    }

    /// The deadline of a query that starts now, and the time after which its calls are hedged.
    pub fn patience(&self) -> Patience {
        Patience { deadline: Deadline::now() + self.deadline, hedge_after: self.deadline / 8 }
    }

    /// Answers one encoded query.
    ///
    /// **Guarantees.** The answer is the sum over every partition of the index at one generation
    /// and one epoch, or an error. It is never partial. **Assumes** that `body` has the size that
    /// the geometry requires, and that the caller holds memory for it.
    ///
    /// # Errors
    /// A malformed query, unknown keys, or a shard that did not answer (by name).
    pub async fn lookup(
        &self,
        serving: &Serving,
        table: &Arc<ServedTable>,
        index: &Arc<ServedIndex>,
        replicas: &Replicas,
        registry: &Registry,
        body: Bytes,
    ) -> Result<Answered, NodeError> {
        let started = Instant::now();
        let patience = self.patience();
        let (geometry, epoch) = (index.geometry, table.manifest.epoch);
        let view = QueryView::decode(&body, &geometry, epoch).map_err(query_error)?;
        let lookups = view.lookups();
        // This check comes early, so that a client that must register first, or sends nonsense,
        // causes no scan.
        let kind = view.material().kind();
        let checked = body.clone();
        let check = move || {
            let view = QueryView::decode(&checked, &geometry, epoch).map_err(query_error)?;
            check_secrets(&view)
        };
        self.pool.run(check).await??;
        if let Material::Registered(digest) = view.material() {
            registry.keys(&digest).await?;
        }

        let cut = self.slices(index, {
            let (body, index) = (body.clone(), Arc::clone(index));
            move |shard| {
                let view = QueryView::decode(&body, &index.geometry, epoch).map_err(query_error)?;
                let partitions = index.assignment.partitions(shard);
                slice(&view, partitions, index.assignment.has_planes(shard))
                    .map_err(NodeError::internal)
            }
        });
        let calls = self.calls(serving, table, index, (kind, lookups), cut.await?);
        // Only the slices are needed from here on.
        drop(body);
        let replies = self.evaluate(calls, geometry, kind, replicas, patience).await?;

        let slowest = |cost: fn(&Evaluated) -> Duration| {
            replies.iter().map(|(_, reply)| cost(reply)).max().unwrap_or_default()
        };
        let (scan, hint) = (slowest(|reply| reply.scan), slowest(|reply| reply.hint));
        let generation = serving.map.generation;
        let answer = self
            .pool
            .run(move || {
                combine(replies, &geometry, kind, generation, epoch, lookups)?
                    .finish()
                    .map_err(NodeError::internal)
            })
            .await??;
        Ok(Answered { answer: answer.into(), scan, hint, total: started.elapsed() })
    }

    /// Runs the self-test on one index: one ordinary query whose answer is known.
    ///
    /// # Errors
    /// [`NodeError::Refused`] if the shards of `replicas` together do not hold exactly this index
    /// with its hint; otherwise the errors of [`Coordinator::lookup`].
    pub async fn probe(
        &self,
        serving: &Serving,
        table: &Arc<ServedTable>,
        index: &Arc<ServedIndex>,
        replicas: &Replicas,
    ) -> Result<(), NodeError> {
        let (geometry, epoch) = (index.geometry, table.manifest.epoch);
        let lookups = SECRETS;
        let cut = self.slices(index, {
            let index = Arc::clone(index);
            move |shard| {
                let partitions = index.assignment.partitions(shard);
                let with_hint = index.assignment.has_planes(shard);
                probe_slice(&geometry, epoch, partitions, with_hint).map_err(NodeError::internal)
            }
        });
        let calls = self.calls(serving, table, index, (Kind::Probe, lookups), cut.await?);
        let replies =
            self.evaluate(calls, geometry, Kind::Probe, replicas, self.patience()).await?;
        let generation = serving.map.generation;
        let column = index.column;
        self.pool
            .run(move || {
                let refuse = |error: &dyn std::fmt::Display| {
                    NodeError::Refused(format!("the self-test of column {column} failed: {error}"))
                };
                let sums = combine(replies, &geometry, Kind::Probe, generation, epoch, lookups)
                    .map_err(|error| refuse(&error))?;
                let (scans, hints) = sums.finish_probe().map_err(|error| refuse(&error))?;
                Probe::check(&geometry, &scans, &hints).map_err(|error| refuse(&error))
            })
            .await?
    }

    /// Rows with numbers below `below` in the buckets `first..end` of one partition, from the shard
    /// that serves it.
    pub async fn read_rows(
        &self,
        serving: &Serving,
        table: &Arc<ServedTable>,
        index: &ServedIndex,
        replicas: &Replicas,
        (first, end): (u32, u32),
        below: Option<u64>,
    ) -> Result<Vec<NumberedRow>, NodeError> {
        let partition = Geometry::partition_of(first);
        let shard = index
            .assignment
            .owner(partition)
            .ok_or_else(|| NodeError::internal("a partition without a shard"))?;
        let call = RowsCall {
            generation: serving.map.generation,
            table: table.manifest.schema.table().into(),
            column: index.column,
            epoch: table.manifest.epoch,
            first,
            end,
            below,
            most: RowsLimit::of(&index.geometry, table.manifest.rows),
        };
        let owner = BTreeMap::from([(shard, replicas.get(&shard).cloned().unwrap_or_default())]);
        let replies = gather(&owner, self.patience(), |replica| {
            let (caller, call) = (Arc::clone(&self.caller), call.clone());
            async move { caller.read_rows(&replica, &call).await }
        });
        Ok(replies.await?.into_iter().flat_map(|(_, rows)| rows).collect())
    }

    /// Requests the description of a table's epoch from `replica`.
    ///
    /// # Errors
    /// As for [`ShardCaller::describe`].
    pub async fn describe(
        &self,
        replica: &Replica,
        table: &str,
        epoch: u64,
    ) -> Result<Description, CallError> {
        self.caller.describe(replica, table, epoch).await
    }

    /// Encodes a slice for every shard that has a part of the index.
    async fn slices(
        &self,
        index: &Arc<ServedIndex>,
        encode: impl Fn(u32) -> Result<Vec<u8>, NodeError> + Send + 'static,
    ) -> Result<BTreeMap<u32, Bytes>, NodeError> {
        let shards = index.assignment.shards();
        let encode_all =
            move || shards.into_iter().map(|shard| Ok((shard, encode(shard)?.into()))).collect();
        self.pool.run(encode_all).await?
    }

    fn calls(
        &self,
        serving: &Serving,
        table: &ServedTable,
        index: &ServedIndex,
        (kind, lookups): (Kind, u16),
        slices: BTreeMap<u32, Bytes>,
    ) -> BTreeMap<u32, EvaluateCall> {
        let name: Arc<str> = table.manifest.schema.table().into();
        let call = |(shard, body)| {
            let (partitions, planes) =
                (index.assignment.partitions(shard), index.assignment.planes(shard));
            let part = Part { partitions: partitions.len(), planes: planes.len() };
            let call = EvaluateCall {
                partitions: partitions.into(),
                planes: planes.into(),
                reply_bytes: demand::partial(&index.geometry, kind, lookups, part),
                generation: serving.map.generation,
                table: Arc::clone(&name),
                column: index.column,
                epoch: table.manifest.epoch,
                lookups,
                body,
            };
            (shard, call)
        };
        slices.into_iter().map(call).collect()
    }

    /// Has every shard evaluate its call. A partial result that does not decode counts as a failure
    /// of its replica, so that another one is tried.
    async fn evaluate(
        &self,
        calls: BTreeMap<u32, EvaluateCall>,
        geometry: Geometry,
        kind: Kind,
        replicas: &Replicas,
        patience: Patience,
    ) -> Result<Vec<(u32, Evaluated)>, NodeError> {
        let shards =
            calls.keys().map(|shard| (*shard, replicas.get(shard).cloned().unwrap_or_default()));
        let shards: Replicas = shards.collect();
        gather(&shards, patience, |replica| {
            let (caller, call) = (Arc::clone(&self.caller), calls.get(&replica.shard).cloned());
            async move {
                let call = call.ok_or_else(|| CallError::TryAnother("no slice".into()))?;
                let EvaluateReply { body, scan, hint } = caller.evaluate(&replica, &call).await?;
                let decode = move || Partial::decode(&body, &geometry, call.lookups, kind);
                match self.pool.run(decode).await {
                    Ok(Ok(partial)) => Ok(Evaluated { partial, scan, hint }),
                    Ok(Err(_)) => Err(CallError::TryAnother("a malformed partial".into())),
                    Err(error) => Err(CallError::TryAnother(error.class().1.into())),
                }
            }
        })
        .await
    }
}

/// Adds up the partial results of all shards.
fn combine(
    replies: Vec<(u32, Evaluated)>,
    geometry: &Geometry,
    kind: Kind,
    generation: u64,
    epoch: u64,
    lookups: u16,
) -> Result<Combiner, NodeError> {
    let mut combiner =
        Combiner::new(geometry, kind, generation, epoch, lookups).map_err(NodeError::internal)?;
    for (shard, Evaluated { partial, .. }) in replies {
        combiner
            .add(partial)
            .map_err(|error| NodeError::ShardUnavailable { shard, reason: error.to_string() })?;
    }
    Ok(combiner)
}

/// Refuses key material that queries cannot have, and secrets with a value out of range.
fn check_secrets(view: &QueryView<'_>) -> Result<(), NodeError> {
    let malformed = |what: &str| NodeError::Malformed(format!("malformed query: {what}"));
    for lookup in 0..view.lookups() {
        let secret = view.encrypted_secret(lookup).unwrap_or_default();
        match view.material() {
            Material::Registered(_) => {
                EncryptedSecret::check(secret).map_err(|_| malformed("encrypted secret"))?
            }
            Material::Inline => {
                InlineQuery::from_bytes(secret).map_err(|_| malformed("inline keys"))?;
            }
            _ => return Err(malformed("unknown key material")),
        }
    }
    Ok(())
}

/// The error that a client receives for a query that does not decode.
fn query_error(error: opaque_pir::codec::CodecError) -> NodeError {
    use opaque_pir::codec::CodecError;
    if let CodecError::Params { .. } = error {
        NodeError::Params
    } else {
        NodeError::Malformed(format!("malformed query: {error}"))
    }
}
