//! Limits on one client, one peer and one long request, and how a node ends.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use opaque_client::{Overrides, QueryOptions};
use opaque_identity::Extension;
use opaque_pir::codec::{Material, QueryWriter};
use opaque_proto::v1::query_client::QueryClient;
use opaque_proto::v1::shard_server::{Shard, ShardServer};
use opaque_proto::v1::{
    DescribeRequest, DescribeResponse, EvaluateRequest, EvaluateResponse, HelloRequest,
    HelloResponse, LookupHeader, LookupRequest, ReadRowsRequest, ReadRowsResponse,
    RegisterPeerKeysRequest, RegisterPeerKeysResponse, ReplicaStatus, ScannedRow,
    ShardStatusRequest, StatusRequest, lookup_request,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Request, Response, Status, Streaming};

use super::bare::Bare;
use super::harness::{Cluster, PATIENCE, path, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_status_right_after_a_load_says_that_every_shard_serves() {
    let cluster = Cluster::start(&[]).await;
    for price in 0..16 {
        cluster.load(
            "CREATE TABLE prices (item TEXT KEY, price INT)",
            &format!("item,price\na,{price}\n"),
        );
        let status = cluster.ok(&["status"]);
        assert!(status.contains("\nserving: ") && !status.contains("preparing"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_client_are_bounded_and_those_that_are_there_go_on() {
    let limits = ["--client-connections", "3", "--client-concurrency", "8"];
    let nodes = Bare::start(1, &limits, |_| {}).await;
    nodes.load_weather(&[]);
    // The connections of the commands close by themselves.
    let mut held = Vec::new();
    let begun = Instant::now();
    while held.len() < 3 {
        assert!(begun.elapsed() < PATIENCE, "{} connections", held.len());
        match status_of(&nodes).await {
            Ok(connection) => held.push(connection),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    status_of(&nodes).await.expect_err("a fourth connection is answered");
    for connection in &mut held {
        connection.status(StatusRequest {}).await.expect("an open connection is answered");
    }
    // A slot is free as soon as its connection ends.
    held.pop();
    let begun = Instant::now();
    while status_of(&nodes).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the place stays taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_progress_are_bounded_where_clients_prove_nothing() {
    let limits = ["--client-concurrency", "4", "--requests", "6"];
    let nodes = Bare::start(1, &limits, |_| {}).await;
    nodes.load_weather(&[]);
    let mut node = connect(&nodes, 0).await.unwrap();
    // Queries that have not been sent completely. A query that arrives while a status is answered
    // may be refused, and is sent again.
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let mut node = node.clone();
        waiting.spawn(async move {
            loop {
                let (_sender, receiver) = mpsc::channel::<LookupRequest>(1);
                drop(node.lookup(ReceiverStream::new(receiver)).await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let begun = Instant::now();
    let refused = loop {
        match node.status(StatusRequest {}).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(refused) => break refused,
        }
        assert!(begun.elapsed() < PATIENCE, "a fifth request is answered");
    };
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    drop(waiting);
    let begun = Instant::now();
    while node.status(StatusRequest {}).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the places stay taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A query in progress when a node gets SIGTERM is answered, even after the time that nodes used to
/// wait; and a node without requests in progress stops at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_a_slow_query_and_for_nothing_else() {
    let mut nodes = Bare::start(1, &[], |_| {}).await;
    nodes.load_weather(&[]);
    let table = nodes.client(0).describe("weather").await.unwrap();
    let (column, _) = table.schema.column("city").unwrap();
    let geometry = &table.index(column).unwrap().geometry;
    let lookups = 8;
    let material = Material::Inline;
    let mut writer = QueryWriter::new(geometry, table.epoch, material, lookups).unwrap();
    let secret = vec![0; material.kind().secret_bytes()];
    let words = vec![7; geometry.buckets() as usize];
    (0..lookups).for_each(|_| writer.lookup(&words, &secret).unwrap());
    let body = Bytes::from(writer.finish().unwrap());
    let header = LookupHeader {
        table: "weather".to_owned(),
        column: u32::try_from(column).unwrap(),
        epoch: Some(table.epoch),
        lookups: Some(lookups.into()),
        total_bytes: Some(body.len() as u64),
    };
    let (sender, receiver) = mpsc::channel(1);
    let send = async |part| sender.send(LookupRequest { part: Some(part) }).await.unwrap();
    let mut node = connect(&nodes, 0).await.unwrap();
    let call = tokio::spawn(async move { node.lookup(ReceiverStream::new(receiver)).await });
    send(lookup_request::Part::Header(header)).await;
    // All but the last bytes, so that the sender meets the required rate.
    let (most, last) = body.split_at(body.len() - 3);
    for chunk in most.chunks(100_000) {
        send(lookup_request::Part::Chunk(Bytes::copy_from_slice(chunk))).await;
    }
    nodes.terminate(0);
    for byte in last {
        tokio::time::sleep(Duration::from_secs(8)).await;
        send(lookup_request::Part::Chunk(Bytes::copy_from_slice(&[*byte]))).await;
    }
    drop(sender);
    let answer = call.await.unwrap().expect("the query was cut off");
    let (mut answer, mut chunks) = (answer.into_inner(), 0);
    while answer.message().await.expect("the answer was cut off").is_some() {
        chunks += 1;
    }
    assert!(chunks > 1);
    let answered = Instant::now();
    nodes.ended(0).await;
    println!("ended {:?} after its last answer", answered.elapsed());
    // The whole drain may take 65 s; the test must not have waited for that.
    assert!(answered.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_rows_for_ever_is_named() {
    let nodes = Bare::start(2, &[], |_| {}).await;
    nodes.load_weather(&[]);
    // Each table has one partition, on either shard, so some are on the second.
    let tables: Vec<String> = (0..8).map(|table| format!("t{table}")).collect();
    for table in &tables {
        let (schema, data) = (nodes.path("schema.sql"), nodes.path("data.csv"));
        std::fs::write(&schema, format!("CREATE TABLE {table} (k INT KEY)")).unwrap();
        std::fs::write(&data, "k\n1\n2\n").unwrap();
        let loaded = nodes.cli(&["load", path(&schema), path(&data)]);
        assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    }
    let client = nodes.client(0);
    let scan = async |table: &str| {
        let mut options = QueryOptions::default();
        options.plan.allow_public_scan = true;
        client.query(&format!("SELECT k FROM {table}"), &options).await
    };
    for table in &tables {
        assert_eq!(scan(table).await.unwrap().0.rows.len(), 2);
    }

    nodes.kill(1);
    let extension = Extension::node(1, "", "").unwrap();
    let (certificate, key) = nodes.peers.peer(1, 77, &extension);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(&nodes.peers.pem));
    let begun = Instant::now();
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", nodes.peer_port(1))).await {
            Ok(listener) => break listener,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let server = Server::builder().tls_config(tls).unwrap().add_service(ShardServer::new(Endless));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let begun = Instant::now();
    'asking: loop {
        for table in &tables {
            let Err(error) = scan(table).await else { continue };
            if error.to_string().contains("node-1 sent more than") {
                break 'asking;
            }
            assert!(begun.elapsed() < PATIENCE, "{error}");
        }
    }
    assert!(!nodes.log(0).contains("panicked"));
}

/// A shard whose rows never end.
struct Endless;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Shard for Endless {
    type EvaluateStream = Responses<EvaluateResponse>;
    type ReadRowsStream = Responses<ReadRowsResponse>;
    type DescribeStream = Responses<DescribeResponse>;

    async fn evaluate(
        &self,
        _: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_keys(
        &self,
        _: Request<RegisterPeerKeysRequest>,
    ) -> Result<Response<RegisterPeerKeysResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn read_rows(
        &self,
        _: Request<ReadRowsRequest>,
    ) -> Result<Response<Self::ReadRowsStream>, Status> {
        let row = || ScannedRow { number: 0, row: Bytes::from_static(&[7; 1000]) };
        let message = move || Ok(ReadRowsResponse { rows: vec![row(); 100], next_bucket: 0 });
        let endless: Self::ReadRowsStream =
            Box::pin(tokio_stream::iter(std::iter::repeat_with(message)));
        Ok(Response::new(endless))
    }

    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<Self::DescribeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn status(
        &self,
        _: Request<ShardStatusRequest>,
    ) -> Result<Response<ReplicaStatus>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A separate connection, which has been used once.
async fn status_of(nodes: &Bare) -> Result<QueryClient<Channel>, String> {
    let mut node = connect(nodes, 0).await?;
    node.status(StatusRequest {}).await.map_err(|status| status.to_string())?;
    Ok(node)
}

async fn connect(nodes: &Bare, shard: u32) -> Result<QueryClient<Channel>, String> {
    let config = nodes.config(shard, Overrides::default());
    let ca = Certificate::from_pem(config.ca_pem.unwrap());
    let endpoint = Endpoint::from(config.endpoints[0].uri().clone());
    let endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).unwrap();
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    Ok(QueryClient::new(channel))
}
