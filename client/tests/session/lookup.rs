//! Lookups of several requests, against a node that corrupts the contents of answers.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use opaque_client::{Client, ClientConfig, Credentials, KeyMode};
use opaque_pir::{
    codec::{Combiner, KeyDigest, Kind, Material, Partial, QueryView},
    geometry::Geometry,
    inline::PublicPart,
};
use opaque_proto::v1::LookupHeader;
use opaque_proto::v1::TableDescription;
use tonic::Code;

use super::{
    fake::Reply,
    keys::FakeKeyStore,
    scan::{config, described, numbers, public_part},
};
use rand::{SeedableRng, rngs::StdRng};
use tracing::level_filters::LevelFilter;

/// An answer that is valid in every visible respect, and whose buckets decrypt to invalid bytes.
pub(crate) fn spoiled(kind: Kind, lookups: u16) -> Reply {
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let (epoch, lookups) = (Some(1), Some(lookups.into()));
    let header = LookupHeader { epoch, lookups, ..LookupHeader::default() };
    Reply::Bytes(spoiled_bytes(&geometry, kind, &header))
}

/// The bytes of such an answer to some request.
pub(crate) fn spoiled_bytes(geometry: &Geometry, kind: Kind, header: &LookupHeader) -> Vec<u8> {
    let (epoch, lookups) = (header.epoch.unwrap(), header.lookups.unwrap().try_into().unwrap());
    let of_lookups = usize::from(lookups);
    let products = |plane| vec![vec![0; kind.product_bytes(geometry, plane)]; of_lookups];
    let planes = (0..geometry.planes()).map(products);
    let partial = Partial {
        generation: 1,
        epoch,
        kind,
        partitions: (0..geometry.partitions()).collect(),
        scans: vec![vec![0; geometry.bucket_bytes()]; of_lookups],
        planes: (0..).zip(planes).collect(),
    };
    let mut combiner = Combiner::new(geometry, kind, 1, epoch, lookups).unwrap();
    combiner.add(partial).unwrap();
    combiner.finish().unwrap()
}

/// Whether and how often the client sends a request again must not depend on the decrypted answer.
#[tokio::test]
async fn every_request_is_sent_before_an_answer_is_opened() {
    let literals: Vec<String> = (0..20).map(|literal| literal.to_string()).collect();
    let sql = format!("SELECT * FROM t WHERE id IN ({})", literals.join(", "));
    for (keys, kind) in modes() {
        let script = vec![spoiled(kind, 16), spoiled(kind, 4)];
        let (config, node) = config(vec![described(1, 100)], script).await;
        let client = Client::connect(ClientConfig { keys, ..config }).unwrap();
        let error = numbers(&client, &sql).await.unwrap_err();
        assert!(error.to_string().contains("failed its check"), "{error}");
        let seen = node.seen.lock().unwrap();
        let lookups: Vec<_> = seen.lookups.iter().map(|(header, _)| header.lookups).collect();
        assert_eq!(lookups, [Some(16), Some(4)]);
        assert_eq!(seen.describes, 1);
    }
}

/// Both kinds of keys, with their kind of message.
fn modes() -> [(KeyMode, Kind); 2] {
    [(KeyMode::Inline, INLINE), (KeyMode::Registered, Kind::Registered)]
}

pub(crate) const INLINE: Kind = Kind::Inline;

/// Public parts are downloaded once for all lookups of an index, and again by each other client:
/// nothing outlives a client by which a later one could be recognized.
#[tokio::test]
async fn each_client_fetches_public_parts_once_and_checks_them() {
    const SQL: &str = "SELECT * FROM t WHERE id = 5";
    let script = (0..4).map(|_| spoiled(INLINE, 1)).collect();
    let (config, node) = config(vec![described(1, 100)], script).await;
    *node.public_parts.lock().unwrap() = vec![vec![2; public_part().len()].into()];
    let client = Client::connect(config.clone()).unwrap();
    let error = numbers(&client, SQL).await.unwrap_err();
    assert!(error.to_string().contains("public part"), "{error}");
    assert!(node.seen.lock().unwrap().lookups.is_empty(), "nothing was asked");

    *node.public_parts.lock().unwrap() = vec![public_part().into()];
    for client in [&client, &client, &Client::connect(config).unwrap()] {
        numbers(client, SQL).await.unwrap_err();
    }
    let seen = node.seen.lock().unwrap();
    assert_eq!(seen.public_parts, vec![("t".to_owned(), 1, 0); 3]);
    assert_eq!((seen.lookups.len(), seen.keys.len()), (3, 0));
}

/// A server that changes a digest and later changes it back sees both sets of parts downloaded each
/// time.
#[tokio::test]
async fn a_digest_that_comes_back_is_fetched_again() {
    let stale = || Reply::Refuse(Code::FailedPrecondition, "stale-epoch");
    let tables = [1, 2, 3].map(|epoch: u8| {
        let mut table = described(epoch.into(), 100);
        table.salt = vec![epoch; 32].into();
        if epoch == 2 {
            table.indexes[0].public_parts =
                vec![PublicPart::digest(&vec![2; public_part().len()]).to_vec().into()];
        }
        table
    });
    let script = vec![stale(), stale(), Reply::Refuse(Code::Internal, "enough")];
    let (config, node) = config(tables.into(), script).await;
    *node.public_parts.lock().unwrap() = Vec::new();
    *node.parts_of_epochs.lock().unwrap() =
        [1, 2, 1].map(|fill| vec![fill; public_part().len()]).into();
    let error = numbers(&Client::connect(config).unwrap(), "SELECT * FROM t WHERE id = 5").await;
    assert!(error.unwrap_err().to_string().contains("enough"));
    let epochs: Vec<u64> =
        node.seen.lock().unwrap().public_parts.iter().map(|(_, epoch, _)| *epoch).collect();
    assert_eq!(epochs, [1, 2, 3]);
}

/// Keys that travel with the query are never registered: a node that requests registration gets
/// neither keys nor the query again.
#[tokio::test]
async fn a_node_that_wants_keys_registered_gets_none_with_inline_keys() {
    let script = vec![Reply::Refuse(Code::FailedPrecondition, "unknown-keys"), spoiled(INLINE, 1)];
    let (config, node) = config(vec![described(1, 100)], script).await;
    let store = Arc::new(FakeKeyStore::default());
    let config = ClientConfig { key_store: Some(Arc::clone(&store) as _), ..config };
    let client = Client::connect(config).unwrap();
    let error = numbers(&client, "SELECT * FROM t WHERE id = 5").await.unwrap_err();
    assert!(error.to_string().contains("does not know this client's keys"), "{error}");
    let seen = node.seen.lock().unwrap();
    assert_eq!((seen.lookups.len(), seen.keys.len()), (1, 0));
    assert!(store.reserved.lock().unwrap().is_empty(), "no long-lived secret is made");
}

/// All `tracing` output of this process, including that of other tests.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_a_value_nor_the_token_is_logged_at_any_level() {
    const VALUE: &str = "8675309867530986753";
    const TOKEN: &str = "neither-here-nor-there";
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    log.with_writer(|| Log).init();
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let script = vec![Reply::Refuse(Code::Unavailable, "not-ready"), spoiled(INLINE, 1)];
    let (config, node) = config(vec![described(1, 100)], script).await;
    let credentials = Credentials::read(Some(&token), None, None, None).unwrap();
    let client = Client::connect(ClientConfig { credentials, ..config }).unwrap();
    let sql = format!("SELECT * FROM t WHERE id = {VALUE}");
    numbers(&client, &sql).await.unwrap_err();
    assert_eq!(node.seen.lock().unwrap().lookups.len(), 2);
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(log.contains("call failed"), "the log is read");
    for secret in [VALUE, TOKEN] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// A salt is drawn for one epoch. A cluster that states it for another epoch is refused before
/// anything is sent, by each client of this process.
#[tokio::test]
async fn a_salt_that_returns_under_another_epoch_is_refused() {
    const SQL: &str = "SELECT * FROM t WHERE id = 5";
    for (keys, kind) in modes() {
        let again = TableDescription { epoch: 2, ..described(1, 100) };
        let tables = vec![described(1, 100), again, described(1, 100)];
        let script = vec![spoiled(kind, 1), spoiled(kind, 1)];
        let (config, node) = config(tables, script).await;
        let config = ClientConfig { keys, ..config };
        for (sent, expected) in [(1, "failed its check"), (1, "the salt of another"), (2, "check")]
        {
            let client = Client::connect(config.clone()).unwrap();
            let error = numbers(&client, SQL).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(node.seen.lock().unwrap().lookups.len(), sent, "{kind:?}");
        }
    }
}

/// If the second of two tables was republished, the whole statement is planned and sent again, once
/// both tables have been described again. Other columns end it.
#[tokio::test]
async fn a_stale_second_table_sends_both_again() {
    const SQL: &str = "SELECT * FROM t, u WHERE t.id = 1 AND u.id = 2";
    let u = |epoch: u64, column: &str| {
        let mut table = described(epoch, 100);
        table.salt = vec![epoch.to_le_bytes()[0] + 100; 32].into();
        let schema = table.schema.as_mut().unwrap();
        schema.table = "u".to_owned();
        schema.columns[0].name = column.to_owned();
        table
    };
    let stale = || Reply::Refuse(Code::FailedPrecondition, "stale-epoch");
    for (column, expected, sent) in [
        ("id", "failed its check", &[("t", 1), ("u", 1), ("t", 2), ("u", 2)][..]),
        ("key", "the table changed", &[("t", 1), ("u", 1)]),
    ] {
        let tables = vec![described(1, 100), u(1, "id"), described(2, 100), u(2, column)];
        let answer = || spoiled(INLINE, 1);
        let (config, node) = config(tables, vec![answer(), stale(), answer(), answer()]).await;
        let error = numbers(&Client::connect(config).unwrap(), SQL).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let seen = node.seen.lock().unwrap();
        let lookups =
            seen.lookups.iter().map(|(header, _)| (header.table.as_str(), header.epoch.unwrap()));
        assert_eq!(lookups.collect::<Vec<_>>(), sent);
        assert_eq!(seen.describes, 4);
    }
}

/// Encryption is bound to the table's name, so a node cannot substitute another table.
#[tokio::test]
async fn the_description_of_another_table_is_refused() {
    let (config, node) = config(vec![described(1, 100)], vec![]).await;
    let client = Client::connect(config).unwrap();
    let error = numbers(&client, "SELECT * FROM other WHERE id = 5").await.unwrap_err();
    assert!(error.to_string().contains("another table"), "{error}");
    numbers(&client, "SELECT * FROM T WHERE id = 5").await.unwrap_err();
    assert_eq!(node.seen.lock().unwrap().lookups.len(), 1, "letter case is no other name");
}

/// A registered secret is exposed to every spoiled answer. So the lookups of a statement are counted
/// before the first of them is sent, and all of them use the keys that they were counted for.
#[tokio::test]
async fn the_lookups_of_a_statement_are_counted_once_for_its_keys() {
    let script = (0..16).map(|_| spoiled(Kind::Registered, 16)).collect();
    let (config, node) = config(vec![described(1, 1000)], script).await;
    let store = Arc::new(FakeKeyStore::default());
    let key_store = Some(Arc::clone(&store) as _);
    let config = ClientConfig { keys: KeyMode::Registered, key_store, ..config };
    let literals: Vec<String> = (0..128).map(|literal| literal.to_string()).collect();
    let sql = format!("SELECT * FROM t WHERE id IN ({})", literals.join(", "));
    let client = Client::connect(config).unwrap();
    for _ in 0..2 {
        numbers(&client, &sql).await.unwrap_err();
    }
    assert_eq!(*store.reserved.lock().unwrap(), [128, 128]);
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let seen = node.seen.lock().unwrap();
    let material = |query: &[u8]| QueryView::decode(query, &geometry, 1).unwrap().material();
    let used: Vec<Material> = seen.lookups.iter().map(|(_, query)| material(query)).collect();
    let expected = |keys: &str| vec![Material::Registered(KeyDigest::of(keys.as_bytes())); 8];
    assert_eq!(used, [expected("keys 1"), expected("keys 2")].concat());
}

/// A client that is told to use registered keys and has none says so before it connects.
#[tokio::test]
async fn registered_keys_need_a_key_store() {
    let (config, _) = config(vec![], vec![]).await;
    let config = ClientConfig { keys: KeyMode::Registered, key_store: None, ..config };
    let error = Client::connect(config).unwrap_err();
    assert!(error.hint().unwrap().contains("opaque-registered"), "{error}");
}

/// The scan's part of a query is a function of the client's randomness, which never repeats unless
/// a test injects it.
#[tokio::test]
async fn seeds_come_from_the_system_unless_they_are_injected() {
    let script = (0..3).map(|_| spoiled(INLINE, 2)).collect();
    let (config, node) = config(vec![described(1, 100)], script).await;
    let injected = || Client::with_randomness(config.clone(), StdRng::seed_from_u64(1)).unwrap();
    for client in [injected(), injected(), Client::connect(config.clone()).unwrap()] {
        numbers(&client, "SELECT * FROM t WHERE id IN (5, 5)").await.unwrap_err();
    }
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    let seen = node.seen.lock().unwrap();
    let scan = |query: usize, lookup| {
        let view = QueryView::decode(&seen.lookups[query].1, &geometry, 1).unwrap();
        view.lwe_partition(lookup, 0).unwrap().to_vec()
    };
    assert_eq!(seen.lookups.len(), 3);
    assert_eq!(scan(0, 0), scan(1, 0));
    assert_eq!(scan(0, 1), scan(1, 1));
    assert_ne!(scan(0, 0), scan(0, 1), "one value, two lookups");
    assert_ne!(scan(0, 0), scan(2, 0));
    assert_ne!(scan(2, 0), scan(2, 1));
    // The same holds for the keys, which are the rest of a query.
    assert!(seen.lookups[0].1 == seen.lookups[1].1 && seen.lookups[0].1 != seen.lookups[2].1);
}
