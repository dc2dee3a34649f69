//! A node of lies: TLS and gRPC are real, what it says is scripted.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use opaque_proto::v1::{query_server::Query, query_server::QueryServer, *};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::MetadataValue,
    transport::{Identity, Server, ServerTlsConfig},
};

/// What a node says to the next lookup or scan.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A status, with its reason.
    Refuse(Code, &'static str),
    /// The same after a while.
    RefuseLate(Duration, Code, &'static str),
    /// A header that announces `total` bytes, then chunks of these sizes.
    Answer { total: u64, chunks: Vec<usize> },
    /// A header, then these bytes.
    Bytes(Vec<u8>),
    /// Chunks without a header.
    Headless,
    /// Rows of a scan, and where it says to have stopped.
    Rows(Vec<ScannedRow>, u32),
    /// Nothing, for ever.
    Hang,
}

/// What a node has been sent.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) lookups: Vec<(LookupHeader, Vec<u8>)>,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) public_parts: Vec<(String, u64, u32)>,
    pub(crate) scans: Vec<ScanRequest>,
    pub(crate) describes: usize,
    pub(crate) loads: usize,
    pub(crate) rollbacks: usize,
}

#[derive(Default)]
pub(crate) struct Node {
    pub(crate) script: Mutex<VecDeque<Reply>>,
    pub(crate) seen: Mutex<Seen>,
    /// Whether it takes keys and says nothing, for ever.
    pub(crate) keys_hang: bool,
    /// Said to whoever asks for public parts.
    pub(crate) public_parts: Mutex<Vec<Bytes>>,
    /// Said to each `describe`, the last one for ever.
    pub(crate) tables: Mutex<VecDeque<TableDescription>>,
}

impl Node {
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    fn next(&self) -> Reply {
        let refuse = Reply::Refuse(Code::Internal, "script is over");
        self.script.lock().unwrap().pop_front().unwrap_or(refuse)
    }
}

/// A CA and what it signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Serves a node on loopback until the runtime ends.
    pub(crate) async fn serve(&self, node: &Arc<Node>) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
        let tls = ServerTlsConfig::new().identity(identity);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Server::builder().tls_config(tls).unwrap();
        let service = QueryServer::new(Handle(Arc::clone(node)));
        tokio::spawn(
            server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }
}

struct Handle(Arc<Node>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refuse(code: Code, reason: &'static str) -> Status {
    let mut status = Status::new(code, format!("scripted: {reason}"));
    status.metadata_mut().insert("opaque-reason", MetadataValue::from_static(reason));
    status
}

#[tonic::async_trait]
impl Query for Handle {
    type LookupStream = Responses<LookupResponse>;
    type ScanStream = Responses<ScanResponse>;
    type LoadStream = Responses<LoadResponse>;

    async fn lookup(
        &self,
        request: Request<Streaming<LookupRequest>>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let mut stream = request.into_inner();
        let (mut header, mut body) = (None, Vec::new());
        while let Some(request) = stream.message().await? {
            match request.part.unwrap() {
                lookup_request::Part::Header(part) => header = Some(part),
                lookup_request::Part::Chunk(chunk) => body.extend_from_slice(&chunk),
            }
        }
        self.0.seen.lock().unwrap().lookups.push((header.unwrap(), body));
        let chunk = |size| lookup_response::Part::Chunk(Bytes::from(vec![7; size]));
        let parts = match self.0.next() {
            Reply::Refuse(code, reason) => return Err(refuse(code, reason)),
            Reply::RefuseLate(pause, code, reason) => {
                tokio::time::sleep(pause).await;
                return Err(refuse(code, reason));
            }
            Reply::Answer { total, chunks } => {
                let header = AnswerHeader { total_bytes: Some(total), ..AnswerHeader::default() };
                let mut parts = vec![lookup_response::Part::Header(header)];
                parts.extend(chunks.into_iter().map(chunk));
                parts
            }
            Reply::Bytes(bytes) => {
                let total_bytes = Some(bytes.len() as u64);
                let header = AnswerHeader { total_bytes, ..AnswerHeader::default() };
                let body = lookup_response::Part::Chunk(bytes.into());
                vec![lookup_response::Part::Header(header), body]
            }
            Reply::Headless => vec![chunk(10)],
            Reply::Rows(..) | Reply::Hang => std::future::pending().await,
        };
        let parts = parts.into_iter().map(|part| Ok(LookupResponse { part: Some(part) }));
        Ok(Response::new(stream::iter(parts).boxed()))
    }

    async fn public_parts(
        &self,
        request: Request<PublicPartsRequest>,
    ) -> Result<Response<PublicPartsResponse>, Status> {
        let request = request.into_inner();
        let mut seen = self.0.seen.lock().unwrap();
        seen.public_parts.push((request.table, request.epoch, request.column));
        let parts = self.0.public_parts.lock().unwrap().clone();
        Ok(Response::new(PublicPartsResponse { parts }))
    }

    async fn register_keys(
        &self,
        request: Request<Streaming<KeyChunk>>,
    ) -> Result<Response<RegisterKeysResponse>, Status> {
        let mut stream = request.into_inner();
        let mut keys = Vec::new();
        while let Some(chunk) = stream.message().await? {
            keys.extend_from_slice(&chunk.data);
        }
        let digest = opaque_pir::codec::KeyDigest::of(&keys).as_bytes().to_vec().into();
        self.0.seen.lock().unwrap().keys.push(keys);
        if self.0.keys_hang {
            return std::future::pending().await;
        }
        Ok(Response::new(RegisterKeysResponse { digest }))
    }

    async fn scan(
        &self,
        request: Request<ScanRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        self.0.seen.lock().unwrap().scans.push(request.into_inner());
        match self.0.next() {
            Reply::Refuse(code, reason) => Err(refuse(code, reason)),
            Reply::Rows(rows, next_bucket) => {
                let response = ScanResponse { rows, next_bucket };
                Ok(Response::new(stream::iter([Ok(response)]).boxed()))
            }
            Reply::RefuseLate(..)
            | Reply::Answer { .. }
            | Reply::Bytes(_)
            | Reply::Headless
            | Reply::Hang => std::future::pending().await,
        }
    }

    async fn describe_table(
        &self,
        _: Request<DescribeTableRequest>,
    ) -> Result<Response<TableDescription>, Status> {
        self.0.seen.lock().unwrap().describes += 1;
        let mut tables = self.0.tables.lock().unwrap();
        let table = if tables.len() > 1 { tables.pop_front() } else { tables.front().cloned() };
        table.map(Response::new).ok_or_else(|| refuse(Code::NotFound, "unknown-table"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse::default()))
    }

    async fn load(
        &self,
        _: Request<Streaming<LoadRequest>>,
    ) -> Result<Response<Self::LoadStream>, Status> {
        self.0.seen.lock().unwrap().loads += 1;
        Err(refuse(Code::Unavailable, "not-ready"))
    }

    async fn list_tables(
        &self,
        _: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_epochs(
        &self,
        _: Request<ListEpochsRequest>,
    ) -> Result<Response<ListEpochsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn rollback(
        &self,
        _: Request<RollbackRequest>,
    ) -> Result<Response<RollbackResponse>, Status> {
        self.0.seen.lock().unwrap().rollbacks += 1;
        Err(refuse(Code::Unavailable, "draining"))
    }
}
