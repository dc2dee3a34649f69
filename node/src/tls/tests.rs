//! Tests of valid and invalid material, and of peers over real connections.

mod clients;
mod files;

use std::time::Duration;

use opaque_identity::{Capabilities, Capability, Extension, Ranges, Role, TokenRange, shard_name};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use self::files::{Authority, CLUSTER, Dir, Leaf};
use super::*;
use crate::config::{ClientAuth, Revocation};
use crate::metrics::Metrics;
use crate::support::scrape;
use crate::tls::Limits;

/// The first bytes of a client over HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn a_node_does_not_start_without_material_that_holds_together() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let fresh = || Dir::new(&authority, &Leaf::node(1));
    let material = fresh().open(1).unwrap().material();
    assert_eq!(material.own.to_string(), format!("{CLUSTER}/shard/1"));
    assert_eq!((material.serial.as_str(), material.version), ("0b", 0));
    assert_eq!(material.trust, blake3::hash(authority.1.as_bytes()).to_hex().to_string());

    let refused = |change: &dyn Fn(&Dir), words: &str| {
        let dir = fresh();
        change(&dir);
        let error = dir.open(1).expect_err(words).to_string();
        assert!(error.contains(words), "{error} should name {words:?}");
    };
    for name in ["client.crt", "client.key", "peer.crt", "peer.key", "peer-ca.crt"] {
        refused(&|dir| std::fs::remove_file(dir.path().join(name)).unwrap(), name);
        refused(&|dir| dir.write(name, "nothing"), name);
    }
    let (stray, stray_key) = authority.issue(&Leaf::node(1));
    refused(&|dir| dir.write("peer.crt", &stray), "does not fit the certificate");
    refused(&|dir| dir.write("client.key", &stray_key), "does not fit the certificate");
    refused(&|dir| dir.write("peer-ca.crt", &other.1), "peers would refuse it");
    refused(&|dir| dir.leaf(&authority, &Leaf::node(2)), "this node is --shard 1");
    let odd = |change: fn(&mut Leaf), words: &str| {
        let mut leaf = Leaf::node(1);
        change(&mut leaf);
        refused(&|dir| dir.leaf(&authority, &leaf), words);
    };
    odd(|leaf| leaf.uri = "spiffe://a/b".into(), "a shard's URI is");
    odd(|leaf| leaf.name = 2, "it lacks the name shard-1");
    odd(|leaf| leaf.usages = vec![ExtendedKeyUsagePurpose::ClientAuth], "as a server");
    odd(|leaf| leaf.usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "peers would refuse it");
    odd(|leaf| leaf.extension = Some(Extension::node(2, "", "").unwrap()), "extension of shard 2");

    let missing = fresh().strict(1).unwrap_err().to_string();
    assert!(missing.contains("peer-ca.crl is missing"), "{missing}");
}

#[test]
fn another_set_is_taken_whole_or_not_at_all() {
    let (authority, next) = (Authority::new("one"), Authority::new("next"));
    let dir = Dir::new(&authority, &Leaf::node(1));
    let tls = dir.open(1).unwrap();
    assert_eq!(tls.look(), Outcome::Unchanged);

    // A certificate without its key, as between two writes.
    let (certificate, key) = authority.issue(&Leaf { serial: 99, ..Leaf::node(1) });
    dir.write("peer.crt", &certificate);
    assert_eq!((tls.look(), tls.look()), (Outcome::Refused, Outcome::Refused));
    assert_eq!((tls.material().serial.as_str(), tls.reloads()), ("0b", (0, 1)));
    dir.write("peer.key", &key);
    assert_eq!(tls.look(), Outcome::Reloaded);
    assert_eq!((tls.material().serial.as_str(), tls.reloads()), ("63", (1, 1)));
    assert_eq!((tls.material().version, *tls.changes().borrow()), (1, 1));

    // Another cluster's name, and an authority that did not sign the certificate.
    let uri = "spiffe://opaque.dev/ns/default/opaque/other/shard/1".to_owned();
    dir.leaf(&authority, &Leaf { uri, ..Leaf::node(1) });
    assert_eq!(tls.look(), Outcome::Refused);
    dir.leaf(&authority, &Leaf::node(1));
    assert_eq!(tls.look(), Outcome::Reloaded);
    dir.write("peer-ca.crt", &next.1);
    assert_eq!(tls.look(), Outcome::Refused);
    // A change of authority: first both, then a certificate of the new one, then only the new one.
    dir.write("peer-ca.crt", &format!("{}{}", authority.1, next.1));
    assert_eq!(tls.look(), Outcome::Reloaded);
    dir.leaf(&next, &Leaf::node(1));
    assert_eq!(tls.look(), Outcome::Reloaded);
    dir.write("peer-ca.crt", &next.1);
    assert_eq!(tls.look(), Outcome::Reloaded);
    assert_eq!(tls.reloads(), (5, 3));
}

#[test]
fn files_are_read_of_one_moment_where_kubernetes_swaps_them() {
    let authority = Authority::new("one");
    let volume = Dir(tempfile::tempdir().unwrap());
    let moment = |name: &str, serial| {
        let dir = Dir::new(&authority, &Leaf { serial, ..Leaf::node(1) });
        std::fs::rename(dir.0.keep(), volume.path().join(name)).unwrap();
    };
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, volume.path().join("..tmp")).unwrap();
        std::fs::rename(volume.path().join("..tmp"), volume.path().join("..data")).unwrap();
    };
    moment("..1", 1);
    link("..1");
    let tls = volume.open(1).unwrap();
    assert_eq!(tls.material().serial, "01");
    moment("..2", 2);
    assert_eq!(tls.look(), Outcome::Unchanged);
    link("..2");
    assert_eq!((tls.look(), tls.material().serial.as_str()), (Outcome::Reloaded, "02"));
}

/// A gate for `places` connections of any client.
fn gate(places: usize) -> Gate {
    let limits = Limits::new(places, places, 0);
    Gate { limits, client: Box::new(|_| "peer".into()), metrics: Metrics::default() }
}

/// Accepts connections, so many at a time.
async fn listen(
    tls: &std::sync::Arc<Tls>,
    config: fn(&Material) -> std::sync::Arc<rustls::ServerConfig>,
    places: usize,
) -> (String, watch::Sender<bool>, ReceiverStream<std::io::Result<Connection>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = watch::channel(false);
    let connections = accept(listener, tls.clone(), config, gate(places), stopped);
    (address, stop, connections)
}

/// Connects to shard 1, and sends the first bytes.
async fn handshake(
    config: rustls::ClientConfig,
    address: &str,
    first: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = ServerName::try_from(shard_name(1)).unwrap();
    let mut stream = connector.connect(name, TcpStream::connect(address).await?).await?;
    stream.write_all(first).await?;
    Ok(stream)
}

/// A peer listener that answers health checks.
async fn serve(tls: &std::sync::Arc<Tls>) -> (String, watch::Sender<bool>) {
    let (address, stop, connections) = listen(tls, Material::peer_listener, 100).await;
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(connections));
    (address, stop)
}

async fn call(line: &Line) -> Result<(), String> {
    let request = HealthCheckRequest { service: String::new() };
    let mut client = HealthClient::new(line.channel());
    let call = client.check(request);
    let answer = tokio::time::timeout(Duration::from_secs(60), call).await.unwrap();
    answer.map(drop).map_err(|status| format!("{status:?}"))
}

/// A call from a node with one material to a node with another, dialed as `shard`.
async fn dial(
    from: &std::sync::Arc<Tls>,
    to: &std::sync::Arc<Tls>,
    shard: u32,
) -> Result<opaque_identity::Identity, String> {
    let (address, _stop) = serve(to).await;
    let line = Line::new(from, shard, &address).unwrap();
    call(&line).await?;
    line.answering(from).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_refused_for_each_thing_that_is_wrong_with_them() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let zero = Dir::new(&authority, &Leaf::node(0)).open(0).unwrap();
    let one = Dir::new(&authority, &Leaf::node(1)).open(1).unwrap();
    let identity = dial(&zero, &one, 1).await.unwrap();
    assert_eq!(identity.uri.shard(), 1);
    assert!(dial(&zero, &one, 0).await.is_err(), "a shard answered for another");

    let stranger = Dir::new(&other, &Leaf::node(1)).open(1).unwrap();
    assert!(dial(&zero, &stranger, 1).await.is_err(), "another CA's node answered");
    assert!(dial(&stranger, &one, 1).await.is_err(), "another CA's node was answered");

    let uri = "spiffe://opaque.dev/ns/default/opaque/other/shard/1".to_owned();
    let cousin = Dir::new(&authority, &Leaf { uri, ..Leaf::node(1) }).open(1).unwrap();
    assert!(dial(&zero, &cousin, 1).await.is_err(), "another cluster's node answered");
    assert!(dial(&cousin, &one, 1).await.is_err(), "another cluster's node was answered");

    // The right name in DNS, but another shard in the URI. The certificate is checked separately.
    let twisted = Leaf { uri: format!("{CLUSTER}/shard/2"), name: 1, ..Leaf::node(2) };
    let (pem, _) = authority.issue(&twisted);
    let der = rustls_der(&pem);
    let refused = verify::answerer(&der, &zero.material().own.with_shard(1)).unwrap_err();
    assert_eq!(refused, PeerError::Shard { expected: 1, found: 2 });

    let limited = |capabilities, ranges| {
        let extension = Extension::new(1, "", "", ranges, capabilities, Role::Node).unwrap();
        let leaf = Leaf { extension: Some(extension), ..Leaf::node(1) };
        rustls_der(&authority.issue(&leaf).0)
    };
    let mute = limited(Capabilities::NONE.with(Capability::Coordinate), Ranges::whole());
    let refused = verify::answerer(&mute, &one.material().own).unwrap_err();
    assert_eq!(refused, PeerError::Capability("evaluate"));
    let half = Ranges::new(vec![TokenRange::new(0, 9).unwrap()]).unwrap();
    let narrow = verify::answerer(&limited(Capabilities::NODE, half), &one.material().own).unwrap();
    assert!(narrow.ranges.covers(9) && !narrow.ranges.covers(10));
}

fn rustls_der(pem: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_list_a_peer_is_refused_both_ways() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let with = |shard, list: &str| {
        let dir = Dir::new(&authority, &Leaf::node(shard));
        dir.write("peer-ca.crl", list);
        dir.strict(shard).unwrap()
    };
    let good = authority.list(&[77], 2200);
    let (zero, one) = (with(0, &good), with(1, &good));
    dial(&zero, &one, 1).await.unwrap();
    for (list, what) in [
        (authority.list(&[10, 11], 2200), "revoked"),
        (authority.list(&[], 2021), "a list that ran out"),
        (other.list(&[], 2200), "another authority's list"),
    ] {
        let strict = with(0, &list);
        assert!(dial(&strict, &one, 1).await.is_err(), "{what}: dialled");
        assert!(dial(&one, &strict, 0).await.is_err(), "{what}: was dialled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_peer_is_refused_on_connections_that_are_open() {
    let authority = Authority::new("one");
    let dir = |shard| {
        let dir = Dir::new(&authority, &Leaf::node(shard));
        dir.write("peer-ca.crl", &authority.list(&[], 2200));
        dir
    };
    let (zero_dir, one_dir) = (dir(0), dir(1));
    let (zero, one) = (zero_dir.strict(0).unwrap(), one_dir.strict(1).unwrap());

    // Shard 0 dials. The listener of shard 1 keeps the caller's certificates.
    let (address, _stop, mut connections) = listen(&one, Material::peer_listener, 100).await;
    let dial = handshake(zero.material().dial(1).unwrap().0, &address, PREFACE);
    let (dialled, accepted) = tokio::join!(dial, connections.next());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap().unwrap());
    use tonic::transport::server::Connected;
    let caller = accepted.connect_info().presented.unwrap();
    let answering = Presented::new(dialled.get_ref().1.peer_certificates(), 0).unwrap();
    assert_eq!(one.material().caller(&caller).unwrap().uri.shard(), 0);
    assert_eq!(zero.material().answerer(&answering, 1).unwrap().uri.shard(), 1);

    one_dir.write("peer-ca.crl", &authority.list(&[10], 2200));
    assert_eq!(one.look(), Outcome::Reloaded);
    assert!(matches!(one.material().caller(&caller), Err(PeerError::Chain(_))));
    zero_dir.write("peer-ca.crl", &authority.list(&[11], 2200));
    assert_eq!(zero.look(), Outcome::Reloaded);
    assert!(matches!(zero.material().answerer(&answering, 1), Err(PeerError::Chain(_))));
    // A node whose certificate is revoked continues, so that it can receive its next certificate.
    one_dir.write("peer-ca.crl", &authority.list(&[11], 2200));
    assert_eq!(one.look(), Outcome::Reloaded);
    assert!(one.material().caller(&caller).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_more_than_a_share_end_connections_and_so_does_hanging_up() {
    use tonic::transport::server::Connected;

    let authority = Authority::new("one");
    let zero = Dir::new(&authority, &Leaf::node(0)).open(0).unwrap();
    let one = Dir::new(&authority, &Leaf::node(1)).open(1).unwrap();
    let (address, _stop, mut connections) = listen(&one, Material::peer_listener, 1).await;
    let dial = async |first: &[u8]| {
        handshake(zero.material().dial(1).unwrap().0, &address, first).await.unwrap()
    };
    let limit = Duration::from_secs(60);
    let closed = async |mut stream: TlsStream<TcpStream>, why: &str| {
        let end = tokio::time::timeout(limit, stream.read(&mut [0])).await;
        let end = end.unwrap_or_else(|_| panic!("{why} keeps its connection"));
        assert!(!end.is_ok_and(|bytes| bytes > 0), "{why} is answered");
    };
    // TLS followed by silence, and data that is not HTTP/2.
    let silent = dial(b"").await;
    closed(dial(b"GET / HTTP/1.1\r\nHost: opaque\r\n\r\n").await, "HTTP/1.1").await;
    let first = dial(PREFACE).await;
    let mut accepted = connections.next().await.unwrap().unwrap();
    let mut read = vec![0; PREFACE.len()];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(read, PREFACE, "the reader misses the first bytes");
    closed(dial(PREFACE).await, "the second of one").await;
    closed(silent, "a silent client").await;

    let hangup = accepted.connect_info().hangup;
    let using = async move { (accepted.read(&mut [0]).await, accepted.write(&[0]).await) };
    let using = tokio::spawn(using);
    hangup.hang_up();
    let (read, written) = tokio::time::timeout(limit, using).await.unwrap().unwrap();
    for ended in [read, written] {
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    }
    closed(first, "one that was hung up on").await;
    // The place is free again.
    let _next = dial(PREFACE).await;
    tokio::time::timeout(limit, connections.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_made_again_when_the_material_changes() {
    let authority = Authority::new("one");
    let (zero_dir, one_dir) =
        (Dir::new(&authority, &Leaf::node(0)), Dir::new(&authority, &Leaf::node(1)));
    let (zero, one) = (zero_dir.open(0).unwrap(), one_dir.open(1).unwrap());
    let (address, _stop) = serve(&one).await;
    let line = Line::new(&zero, 1, &address).unwrap();
    assert_eq!(line.answering(&zero), Err(PeerError::Anonymous));
    call(&line).await.unwrap();
    assert!(line.is_current(&zero));
    zero_dir.leaf(&authority, &Leaf { serial: 50, ..Leaf::node(0) });
    assert_eq!(zero.look(), Outcome::Reloaded);
    assert!(!line.is_current(&zero));
    // Calls in progress on the old line may end.
    call(&line).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_never_resumed_and_old_tls_and_plaintext_are_refused() {
    let authority = Authority::new("one");
    let one = Dir::new(&authority, &Leaf::node(1)).open(1).unwrap();
    let zero = Dir::new(&authority, &Leaf::node(0)).open(0).unwrap();
    let (address, _stop) = serve(&one).await;
    // A peer that would resume sessions if it could.
    let (mut config, _) = zero.material().dial(1).unwrap();
    config.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let first = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    for _ in 0..3 {
        let mut stream = handshake(config.clone(), &address, &first).await.unwrap();
        // The server's settings frame. Everything that follows the handshake has arrived by then.
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        let version = stream.get_ref().1.protocol_version();
        assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    }

    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(PREFACE).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), plain.read_to_end(&mut answer)).await;
    // At most an alert, and then the end. A reset is also acceptable.
    if read.unwrap().is_ok() {
        assert!(answer.first().is_none_or(|first| *first == 21), "{answer:?}");
    }
}

#[test]
fn a_scrape_tells_when_certificates_end_and_what_became_of_reloads() {
    let authority = Authority::new("one");
    let dir = Dir::new(&authority, &Leaf::node(1));
    let tls = dir.open(1).unwrap();
    dir.write("peer.crt", "nothing");
    tls.look();
    let text = scrape(Lives(tls.clone()));
    let end = tls.material().peer_not_after;
    for line in [
        format!("opaque_node_certificate_not_after_seconds{{kind=\"peer\"}} {end}"),
        "opaque_node_tls_reloads_total{outcome=\"reloaded\"} 0".to_owned(),
        "opaque_node_tls_reloads_total{outcome=\"refused\"} 1".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
