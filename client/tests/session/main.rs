//! Calls to nodes that refuse, hang, lie or do not exist.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not recognize as tests"
)]

mod closing;
mod fake;
mod honest;
mod keys;
mod lies;
mod lookup;
mod resumption;
mod scan;
mod types;
mod watched;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use opaque_client::{
    profile::NodeUrl,
    session::{CallError, Session, calls::Answered, calls::Lookup},
};
use opaque_proto::v1::LookupHeader;
use tonic::Code;

use fake::{Authority, Node, Reply};

const ANSWER_BYTES: usize = 1000;
const QUICK: Duration = Duration::from_secs(10);

fn good() -> Reply {
    Reply::Answer { total: ANSWER_BYTES as u64, chunks: vec![600, 400] }
}

fn url(address: SocketAddr) -> NodeUrl {
    format!("https://{address}").parse().unwrap()
}

/// More than one chunk, and not a multiple of one.
fn query() -> Bytes {
    (0..600_001u32).map(|i| i.to_le_bytes()[1]).collect::<Vec<u8>>().into()
}

async fn cluster(scripts: Vec<Vec<Reply>>) -> (Session, Vec<Arc<Node>>) {
    let authority = Authority::new();
    let (mut nodes, mut urls) = (Vec::new(), Vec::new());
    for script in scripts {
        let node = Node::new(script);
        urls.push(url(authority.serve(&node).await));
        nodes.push(node);
    }
    (Session::new(&urls, Some(&authority.pem())).unwrap(), nodes)
}

async fn ask(session: &Session, within: Duration) -> Result<Answered, CallError> {
    let keys = Bytes::from(vec![3; 300_000]);
    let header = LookupHeader { table: "t".to_owned(), column: 1, ..LookupHeader::default() };
    let lookup = Lookup { header, query: query(), answer_bytes: ANSWER_BYTES, keys: Some(&keys) };
    session.lookup(within, lookup).await
}

/// An address without a listener.
async fn nowhere() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_same_bytes_go_to_the_next_node() {
    let unavailable = Reply::Refuse(Code::Unavailable, "shard-unavailable");
    let (session, nodes) = cluster(vec![vec![unavailable], vec![good(), good()]]).await;
    let answered = ask(&session, QUICK).await.unwrap();
    assert_eq!(*answered.answer, [7; ANSWER_BYTES]);
    assert_eq!(answered.keys_bytes, 0);
    ask(&session, QUICK).await.unwrap();
    let first = &nodes[0].seen.lock().unwrap().lookups;
    let second = &nodes[1].seen.lock().unwrap().lookups;
    // The second call starts where the first was answered.
    assert_eq!((first.len(), second.len()), (1, 2));
    assert!(first[0].1 == *query() && first[0] == second[0] && second[0] == second[1]);
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    let authority = Authority::new();
    let node = Node::new([good()]);
    let urls = [url(nowhere().await), url(authority.serve(&node).await)];
    let session = Session::new(&urls, Some(&authority.pem())).unwrap();
    ask(&session, QUICK).await.unwrap();
}

#[tokio::test]
async fn keys_are_registered_once_and_the_query_is_sent_again() {
    let unknown = || Reply::Refuse(Code::FailedPrecondition, "unknown-keys");
    let (session, nodes) = cluster(vec![vec![unknown(), good()]]).await;
    let answered = ask(&session, QUICK).await.unwrap();
    assert_eq!(answered.keys_bytes, 300_000);
    let seen = nodes[0].seen.lock().unwrap();
    assert_eq!(seen.keys, [vec![3; 300_000]]);
    assert!(seen.lookups.len() == 2 && seen.lookups[0] == seen.lookups[1]);
}

#[tokio::test]
async fn keys_that_stay_unknown_end_the_call() {
    let unknown = || Reply::Refuse(Code::FailedPrecondition, "unknown-keys");
    let (session, nodes) = cluster(vec![vec![unknown(), unknown(), good()]]).await;
    assert_eq!(ask(&session, QUICK).await.err(), Some(CallError::UnknownKeys));
    assert_eq!(nodes[0].seen.lock().unwrap().keys.len(), 1);
}

#[tokio::test]
async fn what_would_not_help_is_not_repeated() {
    for (code, reason) in [
        (Code::FailedPrecondition, "stale-epoch"),
        (Code::FailedPrecondition, "params"),
        (Code::InvalidArgument, "malformed"),
        (Code::NotFound, "unknown-table"),
        (Code::Internal, "internal"),
        (Code::DeadlineExceeded, "deadline"),
    ] {
        let (session, nodes) = cluster(vec![vec![Reply::Refuse(code, reason)], vec![good()]]).await;
        let error = ask(&session, QUICK).await.err().unwrap();
        let stale = matches!(reason, "stale-epoch" | "params");
        assert_eq!(error == CallError::Stale, stale, "{reason}: {error}");
        assert_eq!(nodes[0].seen.lock().unwrap().lookups.len(), 1, "{reason}");
        assert_eq!(nodes[1].seen.lock().unwrap().lookups.len(), 0, "{reason}");
    }
}

#[tokio::test]
async fn answers_of_another_size_or_shape_are_refused() {
    let total = ANSWER_BYTES as u64;
    for lie in [
        Reply::Answer { total: total - 1, chunks: vec![999] },
        Reply::Answer { total: u64::MAX, chunks: vec![1000] },
        Reply::Answer { total, chunks: vec![600, 399] },
        Reply::Answer { total, chunks: vec![600, 401] },
        Reply::Answer { total, chunks: vec![] },
        Reply::Headless,
    ] {
        let (session, nodes) = cluster(vec![vec![lie, good()]]).await;
        let error = ask(&session, QUICK).await.err().unwrap();
        assert!(error.to_string().contains("failed its check"), "{error}");
        assert_eq!(nodes[0].seen.lock().unwrap().lookups.len(), 1);
    }
}

#[tokio::test]
async fn a_node_that_hangs_ends_with_the_deadline() {
    let (session, _nodes) = cluster(vec![vec![Reply::Hang]]).await;
    let within = Duration::from_millis(700);
    let begun = std::time::Instant::now();
    assert_eq!(ask(&session, within).await.err(), Some(CallError::Deadline { within }));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

/// A node whose process is suspended: the kernel accepts connections, and no bytes come back.
async fn silence() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_node_that_accepts_and_stays_silent_is_passed_over() {
    let authority = Authority::new();
    let node = Node::new([good()]);
    let (_hung, address) = silence().await;
    let urls = [url(address), url(authority.serve(&node).await)];
    let session = Session::new(&urls, Some(&authority.pem())).unwrap();
    ask(&session, QUICK).await.unwrap();
}

#[tokio::test]
async fn after_a_deadline_the_next_call_starts_at_another_node() {
    let authority = Authority::new();
    let node = Node::new([good()]);
    let (_hung, address) = silence().await;
    let urls = [url(address), url(authority.serve(&node).await)];
    let session = Session::new(&urls, Some(&authority.pem())).unwrap();
    let within = Duration::from_millis(500);
    assert_eq!(ask(&session, within).await.err(), Some(CallError::Deadline { within }));
    ask(&session, QUICK).await.unwrap();
    assert_eq!(node.seen.lock().unwrap().lookups.len(), 1);
}

#[tokio::test]
async fn registering_keys_takes_from_the_lookups_own_time() {
    let authority = Authority::new();
    let late = Duration::from_secs(2);
    let unknown = Reply::RefuseLate(late, Code::FailedPrecondition, "unknown-keys");
    let script = std::sync::Mutex::new([unknown].into());
    let node = Arc::new(Node { script, keys_hang: true, ..Node::default() });
    let session =
        Session::new(&[url(authority.serve(&node).await)], Some(&authority.pem())).unwrap();
    let within = Duration::from_secs(3);
    let begun = std::time::Instant::now();
    assert_eq!(ask(&session, within).await.err(), Some(CallError::Deadline { within }));
    assert!(begun.elapsed() < within + late / 2, "{:?}", begun.elapsed());
    assert_eq!(node.seen.lock().unwrap().keys.len(), 1);
}

/// A Kubernetes Service: one address, and the next of its nodes for each connection.
async fn service(nodes: Vec<SocketAddr>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for node in nodes.into_iter().cycle() {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut node = tokio::net::TcpStream::connect(node).await?;
                tokio::io::copy_bidirectional(&mut client, &mut node).await
            });
        }
    });
    address
}

#[tokio::test]
async fn behind_one_address_a_node_that_answers_is_found() {
    let authority = Authority::new();
    // One node is starting, one has died, one serves.
    let starting = Node::new(vec![Reply::Refuse(Code::Unavailable, "not-ready"); 20]);
    let serving = Node::new([good()]);
    let nodes = vec![
        authority.serve(&starting).await,
        nowhere().await,
        nowhere().await,
        nowhere().await,
        authority.serve(&serving).await,
    ];
    let session = Session::new(&[url(service(nodes).await)], Some(&authority.pem())).unwrap();
    ask(&session, QUICK).await.unwrap();
    assert_eq!(starting.seen.lock().unwrap().lookups.len(), 1, "it is not asked twice");
}

#[test]
fn a_connection_that_ends_at_once_may_be_for_want_of_a_certificate() {
    for (reason, certificate) in [
        ("transport error: received fatal alert: CertificateRequired", true),
        ("connection error: stream closed because of a broken pipe", true),
        ("connection error: Connection reset by peer (os error 104)", true),
        ("tcp connect error: Connection refused (os error 111)", false),
    ] {
        let error = CallError::Unreachable { nodes: 1, reason: reason.to_owned() };
        let hint = error.hint().unwrap();
        assert_eq!(hint.contains("--client-cert"), certificate, "{reason}: {hint}");
    }
}

#[tokio::test]
async fn whom_the_client_does_not_trust_is_not_asked_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let node = Node::new([good()]);
    // The second connection would reach a trusted node.
    let nodes = vec![other.serve(&node).await, authority.serve(&node).await];
    let session = Session::new(&[url(service(nodes).await)], Some(&authority.pem())).unwrap();
    let error = ask(&session, QUICK).await.err().unwrap();
    assert!(error.hint().is_some_and(|hint| hint.contains("another CA")), "{error}");
    assert!(node.seen.lock().unwrap().lookups.is_empty());
}

#[tokio::test]
async fn a_nodes_words_outlive_the_failure_of_others() {
    let authority = Authority::new();
    let refuse = Reply::Refuse(Code::Unavailable, "shard-unavailable");
    let node = Node::new(vec![refuse; 20]);
    let urls = [url(nowhere().await), url(authority.serve(&node).await), url(nowhere().await)];
    let session = Session::new(&urls, Some(&authority.pem())).unwrap();
    let error = ask(&session, QUICK).await.err().unwrap();
    assert!(matches!(error, CallError::Unavailable { .. }), "{error}");
    assert_eq!(node.seen.lock().unwrap().lookups.len(), 3, "one try in each round");
}

#[tokio::test]
async fn another_ca_and_plaintext_are_no_cluster() {
    let (authority, other) = (Authority::new(), Authority::new());
    let node = Node::new([good()]);
    let session = Session::new(&[url(authority.serve(&node).await)], Some(&other.pem())).unwrap();
    let error = ask(&session, QUICK).await.err().unwrap();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let session = Session::new(&[url(listener.local_addr().unwrap())], Some(&other.pem())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, greeting).await;
        }
    });
    let error = ask(&session, QUICK).await.err().unwrap();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(node.seen.lock().unwrap().lookups.is_empty());
}
