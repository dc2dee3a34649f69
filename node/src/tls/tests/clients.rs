//! Tests of clients' certificates: revoked ones, expired ones, and errors in the files.

use std::sync::Arc;
use std::time::Instant;

use opaque_store::UnixMillis;
use rcgen::date_time_ymd;
use rustls::ClientConfig;

use super::*;

/// A directory with an authority of clients.
struct Clients {
    dir: Dir,
    authority: Authority,
}

impl Clients {
    fn new() -> Self {
        let dir = Dir::new(&Authority::new("peers"), &super::Leaf::node(1));
        let authority = Authority::new("clients");
        dir.write("clients-ca.crt", &authority.1);
        Self { dir, authority }
    }

    fn open(&self) -> Arc<Tls> {
        let settings = self.dir.settings(1, Revocation::None);
        Tls::open(Settings { client_auth: ClientAuth::Mtls, ..settings }).unwrap()
    }

    /// The certificates that a client with a serial number presented when it connected.
    fn presented(&self, serial: u8) -> Presented {
        presented(&self.authority, serial)
    }
}

fn presented(authority: &Authority, serial: u8) -> Presented {
    let (pem, _) = authority.issue(&super::Leaf { serial, ..super::Leaf::node(0) });
    // A version that no material has, so that no earlier verification counts.
    Presented::new(Some(&[rustls_der(&pem)]), u64::MAX).unwrap()
}

fn holds(tls: &Tls, presented: &Presented) -> bool {
    tls.client(presented, Instant::now()).is_ok()
}

fn closed(tls: &Tls) -> Option<String> {
    tls.standing(Instant::now(), UnixMillis::now()).closed
}

#[test]
fn a_revoked_client_is_refused_also_on_a_connection_that_is_open() {
    let clients = Clients::new();
    let tls = clients.open();
    let (seven, eight) = (clients.presented(7), clients.presented(8));
    assert!(holds(&tls, &seven) && holds(&tls, &eight));
    clients.dir.write("clients-ca.crl", &clients.authority.list(&[7], 2200));
    assert_eq!(tls.look(), Outcome::Reloaded);
    assert!(!holds(&tls, &seven) && holds(&tls, &eight));
    // Serial numbers may be written in any form.
    for text in ["08\n", "0008", "FF\n\n 08 \n"] {
        clients.dir.write("clients-ca.revoked", text);
        assert_eq!(tls.look(), Outcome::Reloaded);
        assert!(!holds(&tls, &eight), "{text:?}");
    }
    std::fs::remove_file(clients.dir.path().join("clients-ca.crl")).unwrap();
    clients.dir.write("clients-ca.revoked", "");
    assert_eq!(tls.look(), Outcome::Reloaded);
    assert!(holds(&tls, &seven) && holds(&tls, &eight), "without a list all is as before");
    assert_eq!(closed(&tls), None);
}

/// A revoked client must not stay admitted because something else is wrong.
#[test]
fn a_revocation_is_taken_whatever_is_wrong_with_other_files() {
    let clients = Clients::new();
    let tls = clients.open();
    let seven = clients.presented(7);
    clients.dir.write("peer.crt", "nothing");
    clients.dir.write("clients-ca.revoked", "no number\n07\n0x08\n");
    assert_eq!(tls.look(), Outcome::Refused);
    assert!(tls.is_refused());
    assert!(!holds(&tls, &seven));
    assert_eq!(tls.standing(Instant::now(), UnixMillis::now()).void, 2);

    let clients = Clients::new();
    let tls = clients.open();
    let (seven, eight) = (clients.presented(7), clients.presented(8));
    let garbage = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let list = clients.authority.list(&[7], 2200);
    clients.dir.write("clients-ca.crl", &format!("{garbage}{list}"));
    tls.look();
    assert!(!holds(&tls, &seven) && holds(&tls, &eight));
    assert_eq!(tls.standing(Instant::now(), UnixMillis::now()).void, 1);
    // The certificates that the listener requests from new connections have changed as well.
    assert_eq!(tls.material().version, 1);
}

#[test]
fn lists_that_ended_or_cannot_be_read_refuse_only_their_authoritys_clients() {
    let (clients, other) = (Clients::new(), Authority::new("other"));
    let both = format!("{}{}", clients.authority.1, other.1);
    clients.dir.write("clients-ca.crt", &both);
    let tls = clients.open();
    let (seven, nine) = (clients.presented(7), presented(&other, 9));
    assert!(holds(&tls, &seven) && holds(&tls, &nine));
    for bad in [&clients.authority.list(&[], 2021), "", "-----BEGIN X509 CRL-----\nAAAA\n"] {
        clients.dir.write("clients-ca.crl", &format!("{}{bad}", other.list(&[], 2200)));
        assert_eq!(tls.look(), Outcome::Reloaded);
        assert!(!holds(&tls, &seven) && holds(&tls, &nine), "{bad}");
        assert_eq!(closed(&tls), None);
    }
    // Nothing valid is left: no client may ask, and the reason is reported.
    for (bad, said) in [
        (clients.authority.list(&[], 2021), "every revocation list in clients-ca.crl has ended"),
        (String::new(), "clients-ca.crl holds no usable list"),
    ] {
        clients.dir.write("clients-ca.crl", &bad);
        assert_eq!(tls.look(), Outcome::Reloaded);
        assert!(!holds(&tls, &seven) && !holds(&tls, &nine), "{said}");
        assert!(closed(&tls).unwrap().contains(said), "{:?}", closed(&tls));
    }
}

#[test]
fn one_malformed_authority_voids_no_other_and_none_at_all_closes_the_node() {
    let clients = Clients::new();
    let seven = clients.presented(7);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    clients.dir.write("clients-ca.crt", &format!("{garbage}{}", clients.authority.1));
    let tls = clients.open();
    assert!(holds(&tls, &seven));
    assert_eq!(tls.standing(Instant::now(), UnixMillis::now()).void, 1);
    // This also applies at the start, since the file may come later.
    for content in [Some("nothing"), Some(garbage), None] {
        match content {
            Some(content) => clients.dir.write("clients-ca.crt", content),
            None => std::fs::remove_file(clients.dir.path().join("clients-ca.crt")).unwrap(),
        }
        tls.look();
        let fresh = clients.open();
        for tls in [&tls, &fresh] {
            assert!(!holds(tls, &seven), "{content:?}");
            assert!(closed(tls).unwrap().contains("holds no usable authority"));
            assert!(tls.standing(Instant::now(), UnixMillis::now()).void > 0);
        }
    }
    clients.dir.write("clients-ca.crt", &clients.authority.1);
    tls.look();
    assert!(holds(&tls, &seven) && closed(&tls).is_none());
}

#[test]
fn authorities_that_cannot_be_read_any_more_count_for_two_minutes() {
    let clients = Clients::new();
    let (now, tls, seven) = (Instant::now(), clients.open(), clients.presented(7));
    drop(clients);
    assert_eq!(tls.look(), Outcome::Refused);
    let at = |seconds| now + Duration::from_secs(seconds);
    assert!(tls.client(&seven, at(119)).is_ok());
    assert_eq!(tls.standing(at(119), UnixMillis::now()).closed, None);
    assert!(tls.client(&seven, at(130)).is_err());
    let closed = tls.standing(at(130), UnixMillis::now()).closed.unwrap();
    assert!(closed.contains("cannot read"), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_cannot_connect_again() {
    let clients = Clients::new();
    let tls = clients.open();
    let (address, _stop, mut connections) = listen(&tls, Material::client_listener, 16).await;
    let held = async move {
        let mut held = Vec::new();
        while let Some(connection) = connections.next().await {
            held.push(connection);
        }
    };
    tokio::spawn(held);
    let connect = async || {
        use rustls::pki_types::pem::PemObject;
        let (pem, key) =
            clients.authority.issue(&super::Leaf { serial: 7, ..super::Leaf::node(0) });
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let ca = std::fs::read(clients.dir.path().join("peer-ca.crt")).unwrap();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![rustls_der(&pem)], key)
            .unwrap();
        let stream = handshake(config, &address, PREFACE).await;
        let mut stream = stream.map_err(|error| error.to_string())?;
        // The server's verdict comes with its first bytes.
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut byte)).await;
        // Nothing answers on an accepted connection.
        read.map_or(Ok(()), |read| read.map(drop).map_err(|error| error.to_string()))
    };
    connect().await.unwrap();
    clients.dir.write("clients-ca.crl", &clients.authority.list(&[7], 2200));
    assert_eq!(tls.look(), Outcome::Reloaded);
    let refused = connect().await.unwrap_err();
    assert!(refused.contains("CertificateRevoked") || refused.contains("revoked"), "{refused}");
}

#[test]
fn a_scrape_tells_when_authorities_and_lists_end() {
    let clients = Clients::new();
    clients.dir.write("clients-ca.crl", &clients.authority.list(&[], 2100));
    let peers = Authority::new("peers");
    clients.dir.write("peer-ca.crt", &peers.1);
    clients.dir.leaf(&peers, &super::Leaf::node(1));
    clients.dir.write("peer-ca.crl", &peers.list(&[], 2090));
    let settings = clients.dir.settings(1, Revocation::Required);
    let tls = Tls::open(Settings { client_auth: ClientAuth::Mtls, ..settings }).unwrap();
    let scrape = || scrape(Lives(tls.clone()));
    let end = |year| date_time_ymd(year, 1, 1).unix_timestamp();
    let text = scrape();
    for line in [
        format!("opaque_node_revocation_list_not_after_seconds{{kind=\"peers\"}} {}", end(2090)),
        format!("opaque_node_revocation_list_not_before_seconds{{kind=\"peers\"}} {}", end(2020)),
        format!("opaque_node_revocation_list_not_after_seconds{{kind=\"clients\"}} {}", end(2100)),
        format!("opaque_node_authority_not_after_seconds{{kind=\"peers\"}} {}", end(4096)),
        format!("opaque_node_authority_not_after_seconds{{kind=\"clients\"}} {}", end(4096)),
        "opaque_node_tls_material_refused 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    clients.dir.write("peer.key", "nothing");
    tls.look();
    assert!(scrape().contains("opaque_node_tls_material_refused 1"));
}
