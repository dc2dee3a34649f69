//! Public scans and republished tables, seen through [`Client::query`].

use std::{collections::VecDeque, sync::Arc};

use opaque_client::{
    Client, ClientConfig, Error, QueryOptions,
    profile::NodeUrl,
    sql::{Options, Parameters},
};
use opaque_pir::{
    geometry::Geometry,
    inline::{self, PublicPart, public_bytes},
    table::{Column, ColumnType, Role, Schema, Value, encode_row},
};
use opaque_proto::v1::{Index, ScannedRow, TableDescription};
use tonic::Code;

use super::{QUICK, fake::Authority, fake::Node, fake::Reply, keys::FakeKeyStore, nowhere, url};

fn schema() -> Schema {
    let column = Column {
        name: "id".to_owned(),
        column_type: ColumnType::Int,
        role: Role::Key,
        nullable: false,
    };
    Schema::new("t".to_owned(), vec![column]).unwrap()
}

/// A public part. It belongs to no real plane, but all bytes are a valid public part.
pub(crate) fn public_part() -> Vec<u8> {
    vec![1; public_bytes(4096)]
}

/// Two partitions.
pub(crate) fn described(epoch: u64, rows: u64) -> TableDescription {
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let index = Index {
        column: 0,
        bucket_bytes: 4096,
        buckets: 2048,
        page_rows: 1,
        non_null_rows: rows,
        params_id: geometry.params_id().as_bytes().to_vec().into(),
        variant: inline::NAME.to_owned(),
        public_parts: vec![PublicPart::digest(&public_part()).to_vec().into()],
    };
    TableDescription {
        schema: Some((&schema()).into()),
        epoch,
        generation: 1,
        rows,
        // Each epoch has a different salt, as in honest loads.
        salt: vec![epoch.to_le_bytes()[0]; 32].into(),
        indexes: vec![index],
        row_sizes: None,
        link_mbits: 50,
    }
}

/// The row with this number holds ten times it.
fn row(number: u64) -> ScannedRow {
    let values = [Value::Int(number as i64 * 10)];
    ScannedRow { number, row: encode_row(&schema(), &values).unwrap().into() }
}

fn page(rows: &[u64], next: u32) -> Reply {
    Reply::Rows(rows.iter().copied().map(row).collect(), next)
}

async fn client(tables: Vec<TableDescription>, script: Vec<Reply>) -> (Client, Arc<Node>) {
    let (config, node) = config(tables, script).await;
    (Client::connect(config).unwrap(), node)
}

pub(crate) async fn config(
    tables: Vec<TableDescription>,
    script: Vec<Reply>,
) -> (ClientConfig, Arc<Node>) {
    let authority = Authority::new();
    let node = Node::new(script);
    *node.tables.lock().unwrap() = VecDeque::from(tables);
    *node.public_parts.lock().unwrap() = vec![public_part().into()];
    let endpoints = vec![url(authority.serve(&node).await)];
    (client_config(endpoints, &authority), node)
}

pub(crate) fn client_config(endpoints: Vec<NodeUrl>, authority: &Authority) -> ClientConfig {
    let ca_pem = Some(authority.pem());
    let key_store = Some(Arc::<FakeKeyStore>::default() as _);
    ClientConfig { ca_pem, key_store, deadline: QUICK, ..ClientConfig::of(endpoints) }
}

pub(crate) async fn numbers(client: &Client, sql: &str) -> Result<Vec<Value>, Error> {
    let (answer, _) = client.query(sql, &QueryOptions::default()).await?;
    Ok(answer.rows.into_iter().flatten().collect())
}

fn ints(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().copied().map(Value::Int).collect()
}

#[tokio::test]
async fn pages_are_put_together_in_row_order() {
    let script = vec![page(&[3, 0], 1024), page(&[2, 1], 2048)];
    let (client, node) = client(vec![described(1, 4)], script).await;
    assert_eq!(numbers(&client, "SELECT * FROM t").await.unwrap(), ints(&[0, 10, 20, 30]));
    let seen = node.seen.lock().unwrap();
    let ranges: Vec<_> = seen.scans.iter().map(|s| (s.first_bucket, s.end_bucket)).collect();
    assert_eq!(ranges, [(0, 1024), (1024, 2048)]);
}

#[tokio::test]
async fn a_limit_reads_only_the_first_rows_of_every_bucket() {
    let script = vec![page(&[1], 1024), page(&[0], 2048)];
    let (client, node) = client(vec![described(1, 4)], script).await;
    assert_eq!(numbers(&client, "SELECT * FROM t LIMIT 2").await.unwrap(), ints(&[0, 10]));
    let seen = node.seen.lock().unwrap();
    assert!(seen.scans.len() == 2 && seen.scans.iter().all(|scan| scan.rows_below == Some(2)));
}

#[tokio::test]
async fn a_row_beyond_the_limit_fails_the_check() {
    let script = vec![page(&[3, 0], 1024), page(&[1], 2048)];
    let (client, _node) = client(vec![described(1, 4)], script).await;
    let error = numbers(&client, "SELECT * FROM t LIMIT 2").await.unwrap_err();
    assert!(error.to_string().contains("failed its check"), "{error}");
}

#[tokio::test]
async fn rows_that_do_not_add_up_fail_the_check() {
    for script in [
        // One is missing.
        vec![page(&[0, 1], 1024), page(&[2], 2048)],
        // One comes twice.
        vec![page(&[0, 1], 1024), page(&[1, 2, 3], 2048)],
        // One does not exist in the table.
        vec![page(&[0, 1], 1024), page(&[2, 4], 2048)],
        // A page ends too early.
        vec![page(&[0, 1], 1023)],
        // A row does not decode.
        vec![
            Reply::Rows(vec![ScannedRow { number: 0, row: vec![0].into() }], 1024),
            page(&[1, 2, 3], 2048),
        ],
    ] {
        let pages = script.len();
        let (client, node) = client(vec![described(1, 4)], script).await;
        let error = numbers(&client, "SELECT * FROM t").await.unwrap_err();
        assert!(error.to_string().contains("failed its check"), "{error}");
        // A row's content does not affect the number of requests.
        assert_eq!(node.seen.lock().unwrap().scans.len(), pages);
    }
}

/// The requests depend on the number of buckets, even if every row has arrived already.
#[tokio::test]
async fn a_scan_requests_every_bucket() {
    let script = vec![page(&[0, 1, 2, 3], 1024), page(&[], 2048)];
    let (client, node) = client(vec![described(1, 4)], script).await;
    assert_eq!(numbers(&client, "SELECT * FROM t").await.unwrap(), ints(&[0, 10, 20, 30]));
    assert_eq!(node.seen.lock().unwrap().scans.len(), 2);
}

/// The limit counts what a node sends, whether or not the statement needs it: the end of the scan
/// must not depend on the literals.
#[tokio::test]
async fn a_scan_takes_no_more_memory_than_it_may() {
    let many: Vec<u64> = (0..10_000).collect();
    for condition in ["", " WHERE id > 5", " WHERE id > 999999"] {
        for (scan_mib, pages) in [(1, 1), (2, 2), (3, 2)] {
            let script = vec![page(&many[..9000], 1024), page(&many[9000..], 2048)];
            let (client, node) = client(vec![described(1, 10_000)], script).await;
            let plan = Options { allow_public_scan: true, ..Options::default() };
            let options = QueryOptions { plan, scan_mib, ..QueryOptions::default() };
            let answer = client.query(&format!("SELECT * FROM t{condition}"), &options).await;
            assert_eq!(node.seen.lock().unwrap().scans.len(), pages, "{condition} {scan_mib}");
            assert_eq!(answer.is_err(), scan_mib == 1, "{condition} {scan_mib}");
            if let Err(error) = answer {
                assert!(error.to_string().contains("fit into 1 MiB"), "{error}");
                assert!(error.hint().unwrap().contains("--scan-mib"));
            }
        }
    }
}

/// A table that a statement reads twice is scanned once, and its rows count once.
#[tokio::test]
async fn a_table_is_scanned_once_for_all_its_references() {
    let many: Vec<u64> = (0..10_000).collect();
    let script = vec![page(&many[..9000], 1024), page(&many[9000..], 2048)];
    let (client, node) = client(vec![described(1, 10_000)], script).await;
    let plan = Options { allow_public_scan: true, ..Options::default() };
    let options = QueryOptions { plan, scan_mib: 2, ..QueryOptions::default() };
    let sql = "SELECT COUNT(*) FROM t a JOIN t b ON a.id = b.id + 10";
    let (answer, timing) = client.query(sql, &options).await.unwrap();
    assert_eq!(answer.rows, [[Value::Int(9999)]]);
    assert_eq!((node.seen.lock().unwrap().scans.len(), timing.requests), (2, 2));
}

/// Scanned rows stay in memory until the last statement has been answered, so their limit is one for
/// all statements. A statement that fails gives its memory back.
#[tokio::test]
async fn all_scans_of_a_call_share_their_memory() {
    let many: Vec<u64> = (0..10_000).collect();
    let scan = || [page(&many[..9000], 1024), page(&many[9000..], 2048)];
    let limited = [page(&[0], 1024), page(&[], 2048)];
    let [first, _] = scan();
    let script = scan().into_iter().chain([first]).chain(limited).collect();
    let (client, node) = client(vec![described(1, 10_000)], script).await;
    let options = QueryOptions { scan_mib: 2, ..QueryOptions::default() };
    let statements = ["SELECT * FROM t", "SELECT * FROM t", "SELECT * FROM t LIMIT 1"];
    let statements = statements.map(|sql| (sql, Parameters::default()));
    let gathered = client.gather_and_close(&statements, &options).await;
    let mut rows = Vec::new();
    for answer in gathered {
        rows.push(match answer {
            Ok(answer) => answer.open().await.unwrap().0.rows.len(),
            Err(error) => {
                assert!(error.to_string().contains("fit into 2 MiB"), "{error}");
                0
            }
        });
    }
    assert_eq!(rows, [10_000, 0, 1]);
    assert_eq!(
        node.seen.lock().unwrap().scans.len(),
        5,
        "the second scan ends with its first page"
    );
}

/// A node that sends rows without end is cut off before its rows are examined.
#[tokio::test]
async fn more_rows_than_the_buckets_hold_are_not_collected() {
    let none = |row: usize| ScannedRow { number: 0, row: vec![0; row].into() };
    for (rows, flood) in [
        // More bytes than 1024 buckets of 4096 bytes.
        (100_000, vec![none(1000); 5000]),
        // More rows than the table.
        (100, vec![none(0); 101]),
    ] {
        let script = vec![Reply::Rows(flood, 1024)];
        let (client, _node) = client(vec![described(1, rows)], script).await;
        let error = numbers(&client, "SELECT * FROM t").await.unwrap_err();
        assert!(error.to_string().contains("more rows than can be there"), "{error}");
    }
}

#[tokio::test]
async fn a_republished_table_is_described_and_planned_again() {
    let stale = || Reply::Refuse(Code::FailedPrecondition, "stale-epoch");
    let script = vec![page(&[0], 1024), stale(), page(&[1], 1024), page(&[0], 2048)];
    let tables = vec![described(1, 2), described(2, 2)];
    let (client, node) = client(tables, script).await;
    assert_eq!(numbers(&client, "SELECT * FROM t").await.unwrap(), ints(&[0, 10]));
    let seen = node.seen.lock().unwrap();
    let epochs: Vec<u64> = seen.scans.iter().map(|scan| scan.epoch).collect();
    assert_eq!((epochs, seen.describes), (vec![1, 1, 2, 2], 2));
}

#[tokio::test]
async fn republishing_for_ever_ends() {
    let stale = Reply::Refuse(Code::FailedPrecondition, "stale-epoch");
    let (client, node) = client(vec![described(1, 2)], vec![stale; 20]).await;
    let error = numbers(&client, "SELECT * FROM t").await.unwrap_err();
    assert!(error.to_string().contains("republished"), "{error}");
    assert_eq!(node.seen.lock().unwrap().describes, 3);
}

#[tokio::test]
async fn a_count_is_never_an_old_one() {
    let (client, _node) = client(vec![described(1, 2), described(2, 7)], Vec::new()).await;
    let count = "SELECT COUNT(*) FROM t";
    assert_eq!(numbers(&client, count).await.unwrap(), ints(&[2]));
    assert_eq!(numbers(&client, count).await.unwrap(), ints(&[7]));
}

#[tokio::test]
async fn a_scan_is_never_of_an_old_epoch() {
    let script = vec![page(&[0], 1024), page(&[], 2048), page(&[1, 0], 1024), page(&[], 2048)];
    let (client, node) = client(vec![described(1, 1), described(2, 2)], script).await;
    assert_eq!(numbers(&client, "SELECT * FROM t").await.unwrap(), ints(&[0]));
    assert_eq!(numbers(&client, "SELECT * FROM t").await.unwrap(), ints(&[0, 10]));
    let seen = node.seen.lock().unwrap();
    let epochs: Vec<u64> = seen.scans.iter().map(|scan| scan.epoch).collect();
    assert_eq!((epochs, seen.describes), (vec![1, 1, 2, 2], 2));
}

#[tokio::test]
async fn a_load_is_not_sent_twice() {
    let (client, node) = client(Vec::new(), Vec::new()).await;
    let rows = opaque_client::load::RowsBuilder::new(schema()).finish();
    let error = client.load(rows, Arc::new(|_| {})).await.unwrap_err();
    assert!(error.to_string().contains("not-ready"), "{error}");
    assert_eq!(node.seen.lock().unwrap().loads, 1);
}

#[tokio::test]
async fn a_rollback_is_sent_once_and_to_a_node_that_answers() {
    let authority = Authority::new();
    let nodes = [Node::new([]), Node::new([])];
    let mut endpoints = vec![url(nowhere().await)];
    for node in &nodes {
        endpoints.push(url(authority.serve(node).await));
    }
    let config = client_config(endpoints, &authority);
    let error = Client::connect(config).unwrap().rollback("t", 3).await.unwrap_err();
    assert!(error.to_string().contains("the rollback failed"), "{error}");
    assert!(error.hint().unwrap().contains("may still complete"), "{error}");
    let sent = nodes.map(|node| node.seen.lock().unwrap().rollbacks);
    assert_eq!(sent, [1, 0]);
}
