//! The contents of certificates, as other programs read them.

use std::process::Command;

use opaque_identity::Identity;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::world::World;
use crate::certificates::model::{PEER_CA, PEER_CRL};
use crate::certificates::x509::Certificate;

#[test]
fn a_shards_certificate_says_who_it_is_and_what_it_may() {
    let world = World::running();
    let leaf = world.leaf(1);
    let identity = Identity::from_certificate(leaf.der()).unwrap();
    assert_eq!(identity.uri.to_string(), "spiffe://opaque.dev/ns/tests/opaque/demo/shard/1");
    let names = [
        "demo-shard-1-0.demo-peers.tests.svc.cluster.local",
        "demo-shard-1-1.demo-peers.tests.svc.cluster.local",
        "shard-1.peers.opaque.internal",
    ];
    assert_eq!(leaf.leaf().dns_names, names);
    assert_eq!(leaf.purposes(), (true, true));
    assert_eq!(leaf.serial().len(), 32);
    let (_, parsed) = X509Certificate::from_der(leaf.der()).unwrap();
    let extension = parsed.extensions().iter().find(|e| e.oid == asn1_oid()).unwrap();
    assert!(!extension.critical, "TLS libraries refuse unknown critical extensions");
    let authority = &world.authorities()[0];
    assert_eq!(key_identifier(&parsed), key_identifier(&parse(authority)), "AKI is not the SKI");
}

#[test]
fn the_servers_certificate_has_the_names_of_its_cluster_and_those_that_are_asked_for() {
    let mut world = World::new();
    world.wanted.domain = "k8s.example".into();
    world.wanted.dns_names = vec!["opaque.example.com".into(), "*.opaque.example.com".into()];
    world.settle();
    let names = |world: &World| {
        world.secret("demo-server-tls").certificate().unwrap().leaf().dns_names.clone()
    };
    let all = [
        "*.demo-peers.tests.svc.k8s.example",
        "*.opaque.example.com",
        "demo-query",
        "demo-query.tests",
        "demo-query.tests.svc",
        "demo-query.tests.svc.k8s.example",
        "localhost",
        "opaque.example.com",
    ];
    assert_eq!(names(&world), all);
    let certificate = world.secret("demo-server-tls").certificate().unwrap();
    let addresses = certificate.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(addresses, ["127.0.0.1", "::1"]);
    // A name that is no longer requested disappears with the next plan.
    world.wanted.dns_names.pop();
    world.settle();
    assert!(!names(&world).contains(&"*.opaque.example.com".to_owned()));
}

#[test]
fn an_authority_may_sign_certificates_and_lists_and_nothing_below_it() {
    let world = World::running();
    let authority = &world.authorities()[0];
    let parsed = parse(authority);
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(constraints.critical);
}

#[test]
fn secrets_have_the_layout_of_cert_manager() {
    let world = World::running();
    for name in ["demo-peer-ca", "demo-server-ca", "demo-shard-0-tls", "demo-server-tls"] {
        let keys: Vec<&str> = world.secret(name).data().keys().map(String::as_str).collect();
        assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"], "{name}");
        assert!(world.secret(name).text("tls.key").starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}

/// OpenSSL is an independent implementation. Machines without it still have the check by rustls.
#[test]
fn openssl_accepts_certificates_and_refuses_revoked_ones() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let mut world = World::running();
    // OpenSSL gets the model's time, which is not the machine's.
    let check = |world: &World, chain: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("leaf.crt"), chain).unwrap();
        std::fs::write(path("ca.crt"), world.facts.trusted(PEER_CA)).unwrap();
        std::fs::write(path("ca.crl"), world.facts.trusted(PEER_CRL)).unwrap();
        let output = Command::new("openssl")
            .current_dir(folder.path())
            .args(["verify", "-x509_strict", "-crl_check", "-purpose", "sslclient", "-attime"])
            .arg(world.now.unix_timestamp().to_string())
            .args(["-CAfile", "ca.crt", "-CRLfile", "ca.crl", "leaf.crt"])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let chain = world.secret("demo-shard-0-tls").text("tls.crt").to_owned();
    let (accepted, said) = check(&world, &chain);
    assert!(accepted, "{said}");
    world.wanted.revoked.insert(world.leaf(0).serial());
    world.settle();
    let (accepted, said) = check(&world, &chain);
    assert!(!accepted && said.contains("certificate revoked"), "{said}");
    let (accepted, said) = check(&world, world.secret("demo-shard-0-tls").text("tls.crt"));
    assert!(accepted, "{said}");
}

fn parse(certificate: &Certificate) -> X509Certificate<'_> {
    X509Certificate::from_der(certificate.der()).unwrap().1
}

fn asn1_oid() -> x509_parser::der_parser::oid::Oid<'static> {
    x509_parser::der_parser::oid::Oid::from(opaque_identity::OID).unwrap()
}

/// The identifier of the authority's own key, or for a leaf that of its issuer.
fn key_identifier(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let mut found = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) if certificate.is_ca() => {
                found = Some(id.0.to_vec())
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                found = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    found.unwrap()
}
