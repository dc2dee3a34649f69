//! Only nodes of this cluster can use the peer port, over TLS.

use std::path::Path;
use std::time::Duration;

use opaque_proto::v1::ShardStatusRequest;
use opaque_proto::v1::StatusRequest;
use opaque_proto::v1::query_client::QueryClient;
use opaque_proto::v1::shard_client::ShardClient;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::harness::{Cluster, rows, words};

const CLUSTER: &str = "spiffe://opaque.dev/ns/default/opaque/dev";

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_of_this_cluster_reach_the_peer_port() {
    let cluster = Cluster::start(&[]).await;
    cluster.load_example("weather", "weather.csv");
    let tls = cluster.data().join("tls");
    let node = tls.join("shard-0-0");
    let ca = || Certificate::from_pem(read(&node.join("peer-ca.crt")));
    let own = Identity::from_pem(read(&node.join("peer.crt")), read(&node.join("peer.key")));
    let port = peer_port(&cluster);
    let base =
        || ClientTlsConfig::new().ca_certificate(ca()).domain_name("shard-0.peers.opaque.internal");

    // A node's own certificate is accepted, so the refusals below are not caused by the setup.
    status(port, Some(base().identity(own.clone()))).await.expect("a node may call its peer");

    let plaintext = status(port, None).await;
    assert!(plaintext.is_err(), "plaintext was answered");
    let anonymous = status(port, Some(base())).await;
    assert!(anonymous.is_err(), "no certificate was needed");

    let (other_ca, other_key) = authority();
    let stranger = certificate(&other_ca, other_key, &format!("{CLUSTER}/shard/0"));
    let foreign = status(port, Some(base().identity(stranger))).await;
    assert!(foreign.is_err(), "another CA's certificate was accepted");

    // The right CA, but another cluster's name.
    let peer_ca = find_ca(&tls);
    let (ca_cert, ca_key) = peer_ca;
    let elsewhere = "spiffe://opaque.dev/ns/default/opaque/elsewhere/shard/0";
    let cousin = certificate(&ca_cert, ca_key.clone(), elsewhere);
    let refused = status(port, Some(base().identity(cousin))).await;
    assert!(refused.is_err(), "a node of another cluster was accepted");
    let sibling = certificate(&ca_cert, ca_key, &format!("{CLUSTER}/shard/1"));
    status(port, Some(base().identity(sibling))).await.expect("a sibling is a peer");

    // A certificate of shard 0 is not accepted for shard 1.
    let wrong_shard = ClientTlsConfig::new()
        .ca_certificate(ca())
        .domain_name("shard-1.peers.opaque.internal")
        .identity(own);
    assert!(status(port, Some(wrong_shard)).await.is_err(), "a shard answered for another");

    // The client port accepts only TLS, too.
    let client_port = cluster.config().endpoints[0].uri().port_u16().unwrap();
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{client_port}")).unwrap();
    let plain = plain.timeout(Duration::from_secs(5)).connect_lazy();
    assert!(QueryClient::new(plain).status(StatusRequest {}).await.is_err());

    // None of this affected the node.
    let answer = rows(&cluster.client(), "SELECT country FROM weather WHERE city = 'Cairo'").await;
    assert_eq!(answer, [[words("EG")]]);
    assert!(!cluster.logs().contains("panicked"));
}

async fn status(port: u16, tls: Option<ClientTlsConfig>) -> Result<(), String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://127.0.0.1:{port}")).unwrap();
    let endpoint = endpoint.timeout(Duration::from_secs(10));
    let endpoint = match tls {
        Some(tls) => endpoint.tls_config(tls).unwrap(),
        None => endpoint,
    };
    let channel: Channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = ShardClient::new(channel).status(ShardStatusRequest {}).await;
    answer.map(drop).map_err(|status| status.message().to_owned())
}

fn authority() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn certificate(ca: &str, ca_key: String, uri: &str) -> Identity {
    let issuer = Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(&ca_key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let name = "shard-0.peers.opaque.internal".to_owned();
    let mut params = CertificateParams::new(vec![name]).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Identity::from_pem(certificate.pem(), key.serialize_pem())
}

/// The peers' CA of `opaque dev`: its certificate and key.
fn find_ca(tls: &Path) -> (String, String) {
    let certificate = text(&tls.join("peer-ca.crt"));
    (certificate, text(&tls.join("peer-ca.key")))
}

fn peer_port(cluster: &Cluster) -> u16 {
    let record = text(&cluster.data().join("coordination/members/shard-0-0.json"));
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let found = find_key(&record, "peer_address").expect("the member's record has an address");
    found.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn find_key(value: &serde_json::Value, key: &str) -> Option<String> {
    let object = value.as_object()?;
    let direct = object.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    direct.or_else(|| object.values().find_map(|inner| find_key(inner, key)))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn text(path: &Path) -> String {
    String::from_utf8(read(path)).unwrap()
}
