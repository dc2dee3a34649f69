//! A scripted node: TLS and gRPC are real, the answers are not.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use opaque_pir::geometry::Geometry;
use opaque_proto::v1::{query_server::Query, query_server::QueryServer, *};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer, pki_types::pem::PemObject};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming, metadata::MetadataValue, transport::Server,
};

use super::{
    honest::Honest,
    lookup::{INLINE, spoiled_bytes},
    watched::{Event, Watched},
};

/// The node's reply to the next lookup or scan.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A status, with its reason.
    Refuse(Code, &'static str),
    /// The same after a delay.
    RefuseLate(Duration, Code, &'static str),
    /// A header that announces `total` bytes, then chunks of these sizes.
    Answer { total: u64, chunks: Vec<usize> },
    /// A header, then these bytes.
    Bytes(Vec<u8>),
    /// Chunks without a header.
    Headless,
    /// Rows of a scan, and the bucket at which the reply claims to stop.
    Rows(Vec<ScannedRow>, u32),
    /// The reply of [`Node::honest`].
    Honest,
    /// An answer of the right size in which nothing decrypts.
    Spoiled,
    /// No reply, ever.
    Hang,
}

/// The requests that a node has received.
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
    /// Everything that arrived, connection after connection.
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) honest: Option<Arc<Honest>>,
    /// Blocks the runtime's worker before the next lookup is answered, until the other end is
    /// dropped.
    pub(crate) before_answering: Mutex<Option<mpsc::Receiver<()>>>,
    /// The reply when the script is over.
    pub(crate) at_last: Mutex<Option<Reply>>,
    pub(crate) script: Mutex<VecDeque<Reply>>,
    pub(crate) seen: Mutex<Seen>,
    /// Whether it accepts keys and never replies.
    pub(crate) keys_hang: bool,
    /// The reply to requests for public parts.
    pub(crate) public_parts: Mutex<Vec<Bytes>>,
    /// The single public part of each epoch, if [`Self::public_parts`] is empty.
    pub(crate) parts_of_epochs: Mutex<Vec<Vec<u8>>>,
    /// The replies to `describe`; the last one is repeated.
    pub(crate) tables: Mutex<VecDeque<TableDescription>>,
}

impl Node {
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    fn next(&self) -> Reply {
        let at_last = || self.at_last.lock().unwrap().clone();
        let next = self.script.lock().unwrap().pop_front().or_else(at_last);
        next.unwrap_or(Reply::Refuse(Code::Internal, "script is over"))
    }

    /// The geometry that is stated for a column.
    fn geometry(&self, column: u32) -> Geometry {
        let tables = self.tables.lock().unwrap();
        let mut indexes = tables[0].indexes.iter();
        let index = indexes.find(|index| index.column == column).unwrap();
        Geometry::new(index.bucket_bytes, index.buckets, index.page_rows).unwrap()
    }

    fn requested(&self, what: String) {
        self.events.lock().unwrap().push(Event::Request(what));
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The events after a connection was closed.
    pub(crate) async fn closed(&self) -> Vec<Event> {
        let closed = async {
            while !self.events().contains(&Event::Closed) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
        assert!(closed.is_ok(), "the connection is still open: {:?}", self.events());
        self.events()
    }
}

/// A CA, which signs certificates.
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

    /// Serves a node on loopback until the runtime ends. It offers session resumption, as rustls
    /// does by default.
    pub(crate) async fn serve(&self, node: &Arc<Node>) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let events = Arc::clone(&node.events);
        let accept = move |tcp: std::io::Result<_>| {
            let (tls, events) = (tls.clone(), Arc::clone(&events));
            async move { Ok(Watched::new(tls.accept(tcp?).await?, events)) }
        };
        let accepted = TcpListenerStream::new(listener).map(accept).buffer_unordered(64);
        let whole = accepted.filter_map(async |line: std::io::Result<_>| line.ok().map(Ok));
        let service = QueryServer::new(Handle(Arc::clone(node)));
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(whole.map(|line: Result<_, std::io::Error>| line)),
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
        let header: LookupHeader = header.unwrap();
        let LookupHeader { table, column, lookups, total_bytes, .. } = &header;
        let size = body.len();
        self.0.requested(format!("Lookup {table} {column} {lookups:?} {total_bytes:?} {size}"));
        self.0.seen.lock().unwrap().lookups.push((header.clone(), body.clone()));
        if let Some(until) = self.0.before_answering.lock().unwrap().take() {
            spawn_blocking(move || until.recv());
        }
        let whole = |bytes: Vec<u8>| {
            let total_bytes = Some(bytes.len() as u64);
            let header = AnswerHeader { total_bytes, ..AnswerHeader::default() };
            let body = lookup_response::Part::Chunk(bytes.into());
            vec![lookup_response::Part::Header(header), body]
        };
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
            Reply::Bytes(bytes) => whole(bytes),
            Reply::Honest => whole(self.0.honest.as_ref().unwrap().answer(&header, &body)),
            Reply::Spoiled => {
                whole(spoiled_bytes(&self.0.geometry(header.column), INLINE, &header))
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
        self.0.requested(format!("PublicParts {} {}", request.table, request.column));
        let honest = self.0.honest.as_ref().map(|honest| honest.public_parts(request.column));
        let mut seen = self.0.seen.lock().unwrap();
        seen.public_parts.push((request.table.clone(), request.epoch, request.column));
        let scripted = self.0.public_parts.lock().unwrap().clone();
        let of_epoch = || {
            let parts = self.0.parts_of_epochs.lock().unwrap();
            parts
                .get(usize::try_from(request.epoch).unwrap() - 1)
                .cloned()
                .map(|part| vec![part.into()])
        };
        let unscripted = || honest.or_else(of_epoch).unwrap_or_default();
        let parts = if scripted.is_empty() { unscripted() } else { scripted };
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
        let request = request.into_inner();
        let ScanRequest { table, first_bucket, end_bucket, rows_below, .. } = &request;
        self.0.requested(format!("Scan {table} {first_bucket} {end_bucket} {rows_below:?}"));
        self.0.seen.lock().unwrap().scans.push(request.clone());
        let rows = |rows, next_bucket| {
            let response = ScanResponse { rows, next_bucket };
            Ok(Response::new(stream::iter([Ok(response)]).boxed()))
        };
        match self.0.next() {
            Reply::Refuse(code, reason) => Err(refuse(code, reason)),
            Reply::Rows(sent, next_bucket) => rows(sent, next_bucket),
            Reply::Honest => {
                rows(self.0.honest.as_ref().unwrap().scan(&request), request.end_bucket)
            }
            // No row, or one that does not decode.
            Reply::Spoiled => {
                let row = ScannedRow { number: 0, row: vec![0xff; 3].into() };
                rows(vec![row], request.end_bucket)
            }
            // Not a valid reply to a scan: it stops at once.
            Reply::Answer { .. } | Reply::Bytes(_) | Reply::Headless => rows(Vec::new(), 0),
            Reply::RefuseLate(..) | Reply::Hang => std::future::pending().await,
        }
    }

    async fn describe_table(
        &self,
        request: Request<DescribeTableRequest>,
    ) -> Result<Response<TableDescription>, Status> {
        self.0.requested(format!("DescribeTable {}", request.into_inner().table));
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
