//! The `Shard` service, which this node offers to peers over mutual TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use opaque_identity::Capability;
use opaque_pir::codec::KeyDigest;
use opaque_proto::v1::shard_server::Shard;
use opaque_proto::v1::{
    DescribeRequest, DescribeResponse, EvaluateHeader, EvaluateRequest, EvaluateResponse,
    HelloRequest, HelloResponse, PartialHeader, ReadRowsRequest, ReadRowsResponse,
    RegisterPeerKeysRequest, RegisterPeerKeysResponse, ReplicaStatus, ScannedRow,
    ShardStatusRequest, evaluate_request, evaluate_response,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::error::NodeError;
use crate::map::call::{EvaluateCall, RowsCall, RowsLimit};
use crate::shard::local::LocalShard;
use crate::shard::registry::Registry;
use crate::shard::replica::ReplicaState;
use crate::shard::{demand, describe};
use crate::stream::answers::holding;
use crate::stream::chunks::{Collector, cut};
use crate::stream::pace::{Pace, Reading};
use crate::stream::rows::{batches, micros};
use crate::tls::{Caller, PeerError, Tls};

/// Answers peers.
pub struct ShardService {
    /// Data and computations of this node.
    pub local: Arc<LocalShard>,
    /// Evaluation keys.
    pub registry: Arc<Registry>,
    /// State of this node.
    pub state: Arc<ReplicaState>,
    /// Decides which peers are trusted.
    pub tls: Arc<Tls>,
    /// How long a peer may take to send a slice.
    pub deadline: Duration,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Shard for ShardService {
    type EvaluateStream = Responses<EvaluateResponse>;
    type ReadRowsStream = Responses<ReadRowsResponse>;
    type DescribeStream = Responses<DescribeResponse>;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        self.check_peer(&request, &[Capability::Coordinate])?;
        let reading = self.read_slice(request.into_inner());
        let read = timeout(self.deadline, reading).await;
        let (call, memory) = read.map_err(|_| NodeError::Deadline("reading a slice"))??;
        let reply = self.local.evaluate(&call).await?;
        let header = PartialHeader {
            generation: call.generation,
            epoch: call.epoch,
            total_bytes: reply.body.len() as u64,
            scan_us: micros(reply.scan),
            hint_us: micros(reply.hint),
        };
        let memory = LocalShard::keep(memory, reply.body.len());
        let parts = std::iter::once(evaluate_response::Part::Header(header))
            .chain(cut(reply.body).map(evaluate_response::Part::Chunk))
            .map(|part| Ok(EvaluateResponse { part: Some(part) }));
        let answer: Self::EvaluateStream = Box::pin(tokio_stream::iter(parts));
        Ok(holding(Response::new(answer), memory))
    }

    async fn register_keys(
        &self,
        request: Request<RegisterPeerKeysRequest>,
    ) -> Result<Response<RegisterPeerKeysResponse>, Status> {
        // A coordinating node forwards keys of its clients.
        self.check_peer(&request, &[Capability::Transfer, Capability::Coordinate])?;
        let RegisterPeerKeysRequest { digest, keys } = request.into_inner();
        let _memory = self.local.reserve(keys.len())?;
        let digest = <[u8; 32]>::try_from(digest.as_ref())
            .map_err(|_| NodeError::Malformed("malformed digest".into()))?;
        self.registry.accept(KeyDigest::from_bytes(digest), keys).await?;
        Ok(Response::new(RegisterPeerKeysResponse {}))
    }

    async fn read_rows(
        &self,
        request: Request<ReadRowsRequest>,
    ) -> Result<Response<Self::ReadRowsStream>, Status> {
        self.check_peer(&request, &[Capability::Coordinate])?;
        let request = request.into_inner();
        let call = RowsCall {
            generation: request.generation,
            table: request.table.into(),
            column: request.column,
            epoch: request.epoch,
            first: request.first_bucket,
            end: request.end_bucket,
            below: request.rows_below,
            // The reply is read on this side only, so no limit applies.
            most: RowsLimit::default(),
        };
        let bytes = self.local.partition_bytes(&call)?;
        let memory = self.local.reserve(bytes)?;
        let rows = self.local.read_rows(&call).await?;
        let memory = self.local.extend(memory, demand::of_rows(&rows))?;
        let rows = rows.into_iter().map(|(number, row)| ScannedRow { number, row: row.into() });
        let end = call.end;
        let messages =
            batches(rows).map(move |rows| Ok(ReadRowsResponse { rows, next_bucket: end }));
        let answer: Self::ReadRowsStream = Box::pin(tokio_stream::iter(messages));
        Ok(holding(Response::new(answer), memory))
    }

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<Self::DescribeStream>, Status> {
        self.check_peer(&request, &[Capability::Coordinate])?;
        let DescribeRequest { table, epoch } = request.into_inner();
        let table = self.local.table(&table, epoch)?;
        let manifest = table.manifest.encode().map_err(NodeError::internal)?;
        // The public parts are in memory already.
        let memory = self.local.reserve(manifest.len())?;
        let messages = describe::messages(manifest.into(), &table).map(move |message| {
            let _held = &memory;
            Ok(message)
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn status(
        &self,
        request: Request<ShardStatusRequest>,
    ) -> Result<Response<ReplicaStatus>, Status> {
        self.check_peer(&request, &[])?;
        Ok(Response::new(self.state.to_proto(self.local.resident_bytes())))
    }

    async fn hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloResponse>, Status> {
        self.check_peer(&request, &[])?;
        let HelloRequest { generation } = request.into_inner();
        let holds = self.local.generation(generation).is_some();
        let active_generation = self.state.active_generation();
        Ok(Response::new(HelloResponse { active_generation, holds }))
    }
}

impl ShardService {
    /// Reads a slice. Returns it with the memory that its answer needs.
    async fn read_slice(
        &self,
        mut stream: Streaming<EvaluateRequest>,
    ) -> Result<(EvaluateCall, OwnedSemaphorePermit), Status> {
        const DOING: &str = "reading a slice";
        let mut reading = Reading::at(Pace::REQUEST);
        let malformed = || NodeError::Malformed("malformed slice".into());
        let first = reading.next(stream.message(), DOING).await??.and_then(|request| request.part);
        let Some(evaluate_request::Part::Header(header)) = first else {
            return Err(malformed().into());
        };
        let EvaluateHeader { generation, table, column, epoch, lookups, total_bytes } = header;
        let total = usize::try_from(total_bytes).map_err(|_| malformed())?;
        let lookups = u16::try_from(lookups).map_err(|_| malformed())?;
        let mut call = EvaluateCall {
            generation,
            table: table.into(),
            column,
            epoch,
            lookups,
            // The parts are named in the slice itself, which is compared with what this node holds.
            partitions: Arc::default(),
            planes: Arc::default(),
            body: Bytes::new(),
            reply_bytes: 0,
        };
        let memory = self.local.reserve(self.local.slice_demand(&call, total)?)?;
        let mut collector = Collector::new(total);
        while let Some(request) = reading.next(stream.message(), DOING).await?? {
            let Some(evaluate_request::Part::Chunk(chunk)) = request.part else {
                return Err(malformed().into());
            };
            collector.push(&chunk)?;
            reading.came(chunk.len());
        }
        call.body = collector.finish()?;
        Ok((call, memory))
    }

    /// Checks that the certificate of the connection is still valid and grants one of `needed`. If
    /// `needed` is empty, every node of the cluster is allowed.
    fn check_peer<T>(&self, request: &Request<T>, needed: &[Capability]) -> Result<(), Status> {
        let refuse = |error: PeerError| {
            tracing::debug!(%error, "peer refused");
            Status::from(NodeError::Forbidden(error.to_string()))
        };
        let caller = request.extensions().get::<Caller>();
        let presented = caller.and_then(|caller| caller.presented.as_deref());
        let presented = presented.ok_or_else(|| refuse(PeerError::Anonymous))?;
        let identity = self.tls.material().caller(presented).map_err(refuse)?;
        match needed {
            [] => Ok(()),
            [first, ..] if !needed.iter().any(|one| identity.capabilities.has(*one)) => {
                Err(refuse(PeerError::Capability(first.name())))
            }
            _ => Ok(()),
        }
    }
}
