//! The `Query` service, which every node offers to clients.

mod load;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream::try_unfold;
use opaque_pir::codec::{Kind, LOOKUPS_PER_MESSAGE, query_bytes};
use opaque_pir::geometry::Geometry;
use opaque_proto::v1::query_server::Query;
use opaque_proto::v1::{
    AnswerHeader, DescribeTableRequest, Epoch, KeyChunk, ListEpochsRequest, ListEpochsResponse,
    ListTablesRequest, ListTablesResponse, LoadRequest, LoadResponse, LookupHeader, LookupRequest,
    LookupResponse, MissingTable, PublicPartsRequest, PublicPartsResponse, RegisterKeysResponse,
    RollbackRequest, RollbackResponse, ScanRequest, ScanResponse, ScannedRow, StatusRequest,
    StatusResponse, TableDescription, lookup_request, lookup_response,
};
use opaque_seal::EVALUATION_KEYS_BYTES;
use opaque_store::{Store, StoreError, Writer};
use rayon::ThreadPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Config;
use crate::coordination::Change;
use crate::error::NodeError;
use crate::metrics::{Metrics, Stages};
use crate::query::cluster::{Cluster, index_of};
use crate::query::coordinator::{self, Coordinator};
use crate::query::description::description;
use crate::query::peers::Peers;
use crate::shard::demand;
use crate::shard::local::LocalShard;
use crate::shard::registry::{Registry, store_error};
use crate::shard::served::Serving;
use crate::stream::answers::holding;
use crate::stream::chunks::{Collector, cut};
use crate::stream::pace::{Pace, Reading};
use crate::stream::rows::{batches, micros};

/// How long a peer may take to accept forwarded keys.
const FORWARD: Duration = Duration::from_secs(10);

/// Answers clients for the whole cluster.
pub struct QueryService {
    /// Settings.
    pub config: Config,
    /// The active state.
    pub cluster: Arc<Cluster>,
    /// Scatters queries.
    pub coordinator: Arc<Coordinator>,
    /// Evaluation keys.
    pub registry: Arc<Registry>,
    /// Memory permits.
    pub local: Arc<LocalShard>,
    /// Sends keys to other nodes.
    pub peers: Arc<Peers>,
    /// Epochs.
    pub store: Store,
    /// Builds epochs. Separate from the pool that answers queries.
    pub builders: Arc<ThreadPool>,
    /// Identity of this process as a writer of epochs.
    pub writer: Writer,
    /// Loads in progress.
    pub loads: Arc<Semaphore>,
    /// Counters.
    pub metrics: Metrics,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Query for QueryService {
    type LookupStream = Responses<LookupResponse>;
    type ScanStream = Responses<ScanResponse>;
    type LoadStream = Responses<LoadResponse>;

    async fn list_tables(
        &self,
        _: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        let serving = self.cluster.active()?;
        Ok(Response::new(list(&serving)))
    }

    async fn describe_table(
        &self,
        request: Request<DescribeTableRequest>,
    ) -> Result<Response<TableDescription>, Status> {
        let (serving, table) = self.cluster.table(&request.into_inner().table)?;
        Ok(Response::new(description(&table.manifest, serving.map.generation)))
    }

    async fn public_parts(
        &self,
        request: Request<PublicPartsRequest>,
    ) -> Result<Response<PublicPartsResponse>, Status> {
        let PublicPartsRequest { table, epoch, column } = request.into_inner();
        let (_, table) = self.cluster.table_at(&table, epoch)?;
        let parts = index_of(&table, column)?.public_parts.clone();
        // Both the parts and their message are in memory.
        let memory = self.local.reserve(parts.iter().map(bytes::Bytes::len).sum())?;
        Ok(holding(Response::new(PublicPartsResponse { parts }), memory))
    }

    async fn register_keys(
        &self,
        request: Request<Streaming<KeyChunk>>,
    ) -> Result<Response<RegisterKeysResponse>, Status> {
        let reading = self.read_keys(request.into_inner());
        let keys = timeout(self.config.query_deadline(), reading).await;
        let (keys, memory) = keys.map_err(|_| NodeError::Deadline("reading evaluation keys"))??;
        // Held until every replica has received the keys or timed out.
        let memory = Arc::new(memory);
        let digest = self.registry.register(keys.clone()).await?;
        let digest_bytes = bytes::Bytes::copy_from_slice(digest.as_bytes());
        for replica in self.cluster.nodes() {
            let (peers, digest, keys) =
                (Arc::clone(&self.peers), digest_bytes.clone(), keys.clone());
            let memory = Arc::clone(&memory);
            // The client does not wait for this. A replica that misses the keys fetches them by
            // digest.
            tokio::spawn(async move {
                let _held = memory;
                let forwarding = peers.register_keys(&replica, digest, keys);
                if !matches!(timeout(FORWARD, forwarding).await, Ok(Ok(()))) {
                    tracing::debug!(node = %replica.node, "could not forward keys");
                }
            });
        }
        Ok(Response::new(RegisterKeysResponse { digest: digest_bytes }))
    }

    async fn lookup(
        &self,
        request: Request<Streaming<LookupRequest>>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let observed = self.metrics.query();
        let answering = self.answer(request.into_inner());
        let answered = timeout(self.config.query_deadline() * 2, answering).await;
        let answered = answered.unwrap_or_else(|_| Err(NodeError::Deadline("answering").into()));
        observed.end(&answered);
        let (parts, memory) = answered?;
        let answer: Self::LookupStream = Box::pin(tokio_stream::iter(parts.into_iter().map(Ok)));
        Ok(holding(Response::new(answer), memory))
    }

    async fn scan(
        &self,
        request: Request<ScanRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let ScanRequest { table, epoch, first_bucket, end_bucket, rows_below } =
            request.into_inner();
        let (serving, table) = self.cluster.table_at(&table, epoch)?;
        let column = table.indexes.keys().next().copied();
        let index = index_of(&table, column.unwrap_or_default())?;
        if first_bucket >= end_bucket || end_bucket > index.geometry.buckets() {
            return Err(NodeError::Malformed(format!(
                "buckets {first_bucket}..{end_bucket} of {}",
                index.geometry.buckets()
            ))
            .into());
        }
        let (cluster, coordinator) = (Arc::clone(&self.cluster), Arc::clone(&self.coordinator));
        let local = Arc::clone(&self.local);
        let partitions = try_unfold(first_bucket, move |first| {
            let (cluster, coordinator) = (Arc::clone(&cluster), Arc::clone(&coordinator));
            let local = Arc::clone(&local);
            let (serving, table, index) =
                (Arc::clone(&serving), Arc::clone(&table), Arc::clone(&index));
            async move {
                if first >= end_bucket {
                    return Ok::<_, Status>(None);
                }
                let partition = Geometry::buckets_of(Geometry::partition_of(first));
                let end = end_bucket.min(partition.end);
                let replicas = cluster.replicas(&serving, &table);
                let range = (first, end);
                // Held until the client has taken these rows.
                let memory = local.reserve(index.geometry.partition_bytes())?;
                let rows = coordinator
                    .read_rows(&serving, &table, &index, &replicas, range, rows_below)
                    .await?;
                let memory = local.extend(memory, demand::of_rows(&rows))?;
                Ok(Some((messages(rows, end, memory), end)))
            }
        });
        use futures::TryStreamExt;
        Ok(Response::new(Box::pin(partitions.try_flatten())))
    }

    async fn load(
        &self,
        request: Request<Streaming<LoadRequest>>,
    ) -> Result<Response<Self::LoadStream>, Status> {
        Ok(Response::new(self.start_load(request.into_inner())))
    }

    async fn list_epochs(
        &self,
        request: Request<ListEpochsRequest>,
    ) -> Result<Response<ListEpochsResponse>, Status> {
        let (name, active) = self.cluster.entry(&request.into_inner().table)?;
        let mut epochs = Vec::new();
        for epoch in self.store.epochs(&name).await.map_err(store_error)? {
            // One damaged epoch must not hide the others.
            let Ok(manifest) = self.store.manifest(&name, epoch).await.map_err(store_error) else {
                continue;
            };
            let digest = manifest.digest().map_err(NodeError::internal)?;
            epochs.push(Epoch {
                epoch,
                rows: manifest.rows,
                bytes: manifest.matrix_bytes(),
                created: i64::try_from(manifest.created.seconds()).unwrap_or(i64::MAX),
                active: epoch == active,
                digest: digest.0.to_vec().into(),
            });
        }
        Ok(Response::new(ListEpochsResponse { epochs }))
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<RollbackResponse>, Status> {
        let RollbackRequest { table, epoch } = request.into_inner();
        self.cluster.check_owner(&table)?;
        // Also for a table that cannot be loaded, since another epoch repairs it.
        let (name, _) = self.cluster.entry(&table)?;
        let manifest = self.store.manifest(&name, epoch).await.map_err(|error| match error {
            StoreError::NotFound { .. } | StoreError::Abandoned { .. } => NodeError::Refused(
                format!("table {name:?} has no epoch {epoch}: `opaque epochs {name}` lists them"),
            ),
            other => store_error(other),
        })?;
        let change = Change::Table { table: name, epoch: Some(epoch) };
        let generation = self.cluster.change(change, self.config.activation_deadline).await?;
        Ok(Response::new(RollbackResponse { table: Some(description(&manifest, generation)) }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.cluster.status()))
    }
}

impl QueryService {
    /// Reads evaluation keys. Returns them with the memory that they use.
    async fn read_keys(
        &self,
        mut stream: Streaming<KeyChunk>,
    ) -> Result<(bytes::Bytes, OwnedSemaphorePermit), Status> {
        let memory = self.local.reserve(EVALUATION_KEYS_BYTES)?;
        let mut collector = Collector::new(EVALUATION_KEYS_BYTES);
        let mut reading = Reading::at(Pace::REQUEST);
        while let Some(KeyChunk { total_bytes, data }) =
            reading.next(stream.message(), "reading evaluation keys").await??
        {
            if total_bytes != EVALUATION_KEYS_BYTES as u64 {
                return Err(NodeError::Malformed(format!(
                    "evaluation keys have {EVALUATION_KEYS_BYTES} bytes, not {total_bytes}"
                ))
                .into());
            }
            collector.push(&data)?;
            reading.came(data.len());
        }
        Ok((collector.finish()?, memory))
    }

    /// Reads one query within its permits and answers it. The answer comes with its memory permit.
    async fn answer(
        &self,
        mut stream: Streaming<LookupRequest>,
    ) -> Result<(Vec<LookupResponse>, OwnedSemaphorePermit), Status> {
        const DOING: &str = "reading the query";
        let started = Instant::now();
        let mut reading = Reading::at(Pace::REQUEST);
        let malformed = |what: &str| NodeError::Malformed(format!("malformed query: {what}"));
        let first = reading.next(stream.message(), DOING).await??.and_then(|request| request.part);
        let Some(lookup_request::Part::Header(header)) = first else {
            return Err(malformed("no header").into());
        };
        let LookupHeader { table, column, epoch, lookups, total_bytes } = header;
        let (Some(epoch), Some(lookups), Some(total)) = (epoch, lookups, total_bytes) else {
            return Err(malformed("an incomplete header").into());
        };
        let (serving, table) = self.cluster.table_at(&table, epoch)?;
        let index = index_of(&table, column)?;
        let lookups = u16::try_from(lookups).ok().filter(|n| (1..=LOOKUPS_PER_MESSAGE).contains(n));
        let lookups = lookups
            .ok_or_else(|| malformed(&format!("1 to {LOOKUPS_PER_MESSAGE} lookups a request")))?;
        // Both kinds of keys are possible. The size of the query tells which one it uses.
        let sizes = [Kind::Inline, Kind::Registered]
            .map(|kind| (kind, query_bytes(&index.geometry, kind, lookups)));
        let found = sizes.into_iter().find(|(_, size)| total == *size as u64);
        let (kind, expected) = found.ok_or_else(|| {
            let [(_, inline), (_, registered)] = sizes;
            malformed(&format!("{total} bytes instead of {inline} or {registered}"))
        })?;
        let demand = demand::of_query(&index.geometry, &index.assignment, kind, lookups);
        let memory = self.local.reserve(demand)?;
        let mut collector = Collector::new(expected);
        while let Some(request) = reading.next(stream.message(), DOING).await?? {
            let Some(lookup_request::Part::Chunk(chunk)) = request.part else {
                return Err(malformed("a second header").into());
            };
            collector.push(&chunk)?;
            reading.came(chunk.len());
        }
        let body = collector.finish()?;
        let replicas = self.cluster.replicas(&serving, &table);
        let answered = self
            .coordinator
            .lookup(&serving, &table, &index, &replicas, &self.registry, body)
            .await?;
        let memory = LocalShard::keep(memory, answered.answer.len());
        let coordinator::Answered { scan, hint, total, .. } = answered;
        self.metrics.answered(Stages { scan, hint, total }, started);
        let name = table.manifest.schema.table();
        tracing::debug!(
            table = name,
            column,
            epoch,
            lookups,
            total_us = micros(answered.total),
            "answered"
        );
        let header = AnswerHeader {
            generation: Some(serving.map.generation),
            epoch: Some(epoch),
            total_bytes: Some(answered.answer.len() as u64),
            scan_us: Some(micros(answered.scan)),
            hint_us: Some(micros(answered.hint)),
            total_us: Some(micros(answered.total)),
            active_epoch: Some(self.cluster.entry(name).map_or(epoch, |(_, active)| active)),
        };
        let parts = std::iter::once(lookup_response::Part::Header(header))
            .chain(cut(answered.answer).map(lookup_response::Part::Chunk))
            .map(|part| LookupResponse { part: Some(part) });
        Ok((parts.collect(), memory))
    }
}

/// Every table of a generation, with its description or the reason why it is missing.
fn list(serving: &Serving) -> ListTablesResponse {
    let generation = serving.map.generation;
    let mut response = ListTablesResponse::default();
    for name in serving.map.tables.keys() {
        match serving.table(name) {
            Ok(table) => response.tables.push(description(&table.manifest, generation)),
            Err(error) => {
                let reason = error.to_string();
                response.missing.push(MissingTable { table: name.clone(), reason });
            }
        }
    }
    response
}

/// The rows of one partition as messages. The last message states how far the scan has come.
fn messages(
    rows: Vec<(u64, Vec<u8>)>,
    end: u32,
    memory: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<ScanResponse, Status>> {
    let rows = rows.into_iter().map(|(number, row)| ScannedRow { number, row: row.into() });
    let messages = batches(rows).map(|rows| ScanResponse { rows, next_bucket: 0 });
    let last = ScanResponse { rows: Vec::new(), next_bucket: end };
    tokio_stream::iter(messages.chain([last]).map(move |message| {
        let _held = &memory;
        Ok(message)
    }))
}
