//! Requests that no honest client sends. Each gets a clear error, and the node continues.

use bytes::Bytes;
use opaque_client::description::Table;
use opaque_pir::codec::{KeyDigest, Material, QueryWriter, query_bytes};
use opaque_proto::v1::query_client::QueryClient;
use opaque_proto::v1::{
    KeyChunk, LoadCommit, LoadHeader, LoadRequest, LookupHeader, LookupRequest, RowBatch,
    ScanRequest, load_request, lookup_request,
};
use opaque_registered::EVALUATION_KEYS_BYTES;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::harness::{Cluster, rows, words};

type Node = QueryClient<Channel>;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_errors_and_harm_nothing() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let client = cluster.client();
    rows(&client, "SELECT * FROM weather WHERE city = 'Cairo'").await;
    let table = client.describe("weather").await.unwrap();
    let mut node = connect(&cluster);
    let pid = cluster.pid("shard-0-0");

    queries(&mut node, &table).await;
    keys(&mut node).await;
    scans_and_loads(&mut node, &table).await;

    let answer = rows(&cluster.client(), "SELECT country FROM weather WHERE city = 'Cairo'").await;
    assert_eq!(answer, [[words("EG")]]);
    assert_eq!(cluster.pid("shard-0-0"), pid, "the node is the same process");
    assert!(!cluster.logs().contains("panicked"), "{}", cluster.logs());
}

async fn queries(node: &mut Node, table: &Table) {
    let (column, _) = table.schema.column("city").unwrap();
    let index = table.index(column).unwrap();
    let geometry = &index.geometry;
    let column = u32::try_from(column).unwrap();
    let unknown = Material::Registered(KeyDigest::of(b"nobody's keys"));
    let query = |material: Material, fill| {
        let mut writer = QueryWriter::new(geometry, table.epoch, material, 1).unwrap();
        let words = vec![7; geometry.buckets() as usize];
        writer.lookup(&words, &vec![fill; material.kind().secret_bytes()]).unwrap();
        writer.finish().unwrap()
    };
    let good = query(unknown, 0);
    assert_eq!(good.len(), query_bytes(geometry, unknown.kind(), 1));
    let header = LookupHeader {
        table: "weather".to_owned(),
        column,
        epoch: Some(table.epoch),
        lookups: Some(1),
        total_bytes: Some(good.len() as u64),
    };
    let with = |change: &dyn Fn(&mut LookupHeader)| {
        let mut changed = header.clone();
        change(&mut changed);
        changed
    };
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    };

    let inline = |fill| {
        let bytes = query(Material::Inline, fill);
        (with(&|h| h.total_bytes = Some(bytes.len() as u64)), bytes)
    };
    // Keys that have the right form but are not real keys are answered, because no server can
    // distinguish them.
    let (zeros, body) = inline(0);
    lookup(node, zeros, body).await.unwrap();
    let (beyond, beyond_primes) = inline(0xff);
    // The size is that of one kind and the tag that of the other.
    let (tagged, mut wrong_tag) = inline(0);
    wrong_tag[44] = 0;

    // (what, header, body, code, reason)
    let cases: Vec<(&str, LookupHeader, Vec<u8>, Code, &str)> = vec![
        ("unknown keys", header.clone(), good.clone(), Code::FailedPrecondition, "unknown-keys"),
        (
            "truncated body",
            header.clone(),
            good[..good.len() - 1].to_vec(),
            Code::InvalidArgument,
            "malformed",
        ),
        ("no body", header.clone(), Vec::new(), Code::InvalidArgument, "malformed"),
        ("inline values out of range", beyond, beyond_primes, Code::InvalidArgument, "malformed"),
        ("another kind's tag", tagged, wrong_tag, Code::InvalidArgument, "malformed"),
        (
            "oversized body",
            header.clone(),
            [good.clone(), vec![0; 10]].concat(),
            Code::InvalidArgument,
            "malformed",
        ),
        (
            "a size announced too small",
            with(&|h| h.total_bytes = Some(100)),
            good[..100].to_vec(),
            Code::InvalidArgument,
            "malformed",
        ),
        (
            "a size announced of an exbibyte",
            with(&|h| h.total_bytes = Some(1 << 60)),
            good.clone(),
            Code::InvalidArgument,
            "malformed",
        ),
        ("wrong marker", header.clone(), damaged(0), Code::InvalidArgument, "malformed"),
        ("wrong version", header.clone(), damaged(1), Code::InvalidArgument, "malformed"),
        (
            "no lookups",
            with(&|h| h.lookups = Some(0)),
            good.clone(),
            Code::InvalidArgument,
            "malformed",
        ),
        (
            "too many lookups",
            with(&|h| h.lookups = Some(70_000)),
            good.clone(),
            Code::InvalidArgument,
            "malformed",
        ),
        (
            "unknown table",
            with(&|h| h.table = "rain".to_owned()),
            good.clone(),
            Code::NotFound,
            "unknown-table",
        ),
        (
            "payload column",
            with(&|h| h.column = 0),
            good.clone(),
            Code::InvalidArgument,
            "unknown-column",
        ),
        (
            "another epoch",
            with(&|h| h.epoch = Some(99)),
            good.clone(),
            Code::FailedPrecondition,
            "stale-epoch",
        ),
    ];
    for (what, header, body, code, reason) in cases {
        let refused = lookup(node, header, body).await.expect_err(what);
        assert_eq!((refused.code(), reason_of(&refused)), (code, reason), "{what}: {refused:?}");
        assert!(!refused.message().is_empty(), "{what}");
    }
    // A query for another geometry has another ParamsId: find that byte and change it.
    let mut params = 0;
    for at in 2..42 {
        let refused =
            lookup(node, header.clone(), damaged(at)).await.expect_err("a damaged header");
        params += u32::from(reason_of(&refused) == "params");
    }
    assert_eq!(params, 32, "every byte of the ParamsId counts, and the epoch's do not pass for it");

    // A stream without a header, and one that stops half way.
    let chunk = LookupRequest { part: Some(lookup_request::Part::Chunk(good.clone().into())) };
    let refused = node.lookup(tokio_stream::iter([chunk.clone()])).await.unwrap_err();
    assert_eq!(reason_of(&refused), "malformed");
    let empty = LookupRequest { part: None };
    assert_eq!(
        reason_of(&node.lookup(tokio_stream::iter([empty])).await.unwrap_err()),
        "malformed"
    );
}

async fn keys(node: &mut Node) {
    let total = EVALUATION_KEYS_BYTES as u64;
    let cases: Vec<(&str, u64, Vec<u8>)> = vec![
        ("nothing", total, Vec::new()),
        ("truncated", total, vec![1; EVALUATION_KEYS_BYTES - 1]),
        ("oversized", total, vec![1; EVALUATION_KEYS_BYTES + 1]),
        ("announced oversized", u64::MAX, vec![1; 100]),
        ("all zero", total, vec![0; EVALUATION_KEYS_BYTES]),
        ("all ones", total, vec![0xff; EVALUATION_KEYS_BYTES]),
    ];
    for (what, total_bytes, data) in cases {
        let chunks: Vec<KeyChunk> = data
            .chunks(100_000)
            .map(|data| KeyChunk { total_bytes, data: Bytes::copy_from_slice(data) })
            .collect();
        let refused = node.register_keys(tokio_stream::iter(chunks)).await.expect_err(what);
        assert_eq!(reason_of(&refused), "malformed", "{what}: {refused:?}");
    }
}

async fn scans_and_loads(node: &mut Node, table: &Table) {
    for (first_bucket, end_bucket) in [(5, 5), (9, 3), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        let table_name = "weather".to_owned();
        let request = ScanRequest {
            table: table_name,
            epoch: table.epoch,
            first_bucket,
            end_bucket,
            rows_below: None,
        };
        let refused = match node.scan(request).await {
            Err(refused) => refused,
            Ok(mut stream) => stream.get_mut().message().await.unwrap_err(),
        };
        assert_eq!(refused.code(), Code::InvalidArgument, "{first_bucket}..{end_bucket}");
    }
    let column = |name: &str, role| opaque_proto::v1::Column {
        name: name.to_owned(),
        r#type: 1,
        role,
        nullable: false,
    };
    let header = |columns| {
        load_request::Part::Header(LoadHeader {
            schema: Some(opaque_proto::v1::Schema { table: "evil".to_owned(), columns }),
            link_mbits: 0,
        })
    };
    let good = || header(vec![column("k", 1)]);
    let row = |bytes: &'static [u8]| {
        load_request::Part::Rows(RowBatch { rows: vec![Bytes::from_static(bytes)] })
    };
    let commit = |rows| load_request::Part::Commit(LoadCommit { rows });
    let cases: Vec<(&str, Vec<load_request::Part>)> = vec![
        ("nothing", vec![]),
        ("no schema", vec![row(b"\0\x02"), commit(1)]),
        ("no columns", vec![header(vec![]), commit(0)]),
        ("nothing searchable", vec![header(vec![column("k", 3)]), commit(0)]),
        ("a column twice", vec![header(vec![column("k", 1), column("K", 1)]), commit(0)]),
        ("an unknown role", vec![header(vec![column("k", 77)]), commit(0)]),
        ("a name that climbs", vec![header(vec![column("../k", 1)]), commit(0)]),
        ("a malformed row", vec![good(), row(b"\xff\xff\xff"), commit(1)]),
        ("no commit", vec![good(), row(b"\0\x02")]),
        ("another number of rows", vec![good(), row(b"\0\x02"), commit(2)]),
        ("a key twice", vec![good(), row(b"\0\x02"), row(b"\0\x02"), commit(2)]),
    ];
    for (what, parts) in cases {
        let requests: Vec<LoadRequest> =
            parts.into_iter().map(|part| LoadRequest { part: Some(part) }).collect();
        let refused = load(node, requests).await.expect_err(what);
        assert!(
            matches!(refused.code(), Code::InvalidArgument | Code::Aborted),
            "{what}: {refused:?}"
        );
    }
    let tables = node.list_tables(opaque_proto::v1::ListTablesRequest {}).await.unwrap();
    assert_eq!(tables.into_inner().tables.len(), 1, "none of these made a table");
}

async fn load(node: &mut Node, requests: Vec<LoadRequest>) -> Result<(), Status> {
    let mut stream = node.load(tokio_stream::iter(requests)).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

async fn lookup(node: &mut Node, header: LookupHeader, body: Vec<u8>) -> Result<(), Status> {
    let chunks = body
        .chunks(100_000)
        .map(|chunk| lookup_request::Part::Chunk(Bytes::copy_from_slice(chunk)));
    let parts: Vec<LookupRequest> = std::iter::once(lookup_request::Part::Header(header))
        .chain(chunks)
        .map(|part| LookupRequest { part: Some(part) })
        .collect();
    node.lookup(tokio_stream::iter(parts)).await.map(drop)
}

fn reason_of(status: &Status) -> &str {
    status.metadata().get("opaque-reason").map_or("none", |value| value.to_str().unwrap())
}

fn connect(cluster: &Cluster) -> Node {
    let config = cluster.config();
    let ca = Certificate::from_pem(config.ca_pem.unwrap());
    let channel = Endpoint::from(config.endpoints[0].uri().clone())
        .tls_config(ClientTlsConfig::new().ca_certificate(ca))
        .unwrap()
        .connect_lazy();
    QueryClient::new(channel)
}
