//! A model: Secrets and the ConfigMap in memory, nodes that load them on request, and verification
//! as in a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opaque_crds::cluster::IssuerReference;
use opaque_crds::names;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use time::{Duration, OffsetDateTime};

use crate::certificates::entropy::{Entropy, System};
use crate::certificates::error::CertificateError;
use crate::certificates::model::{
    Contents, Facts, Issuance, Member, PEER_CA, PEER_CRL, Plan, SERVER_CA, Wanted, Write, digest,
};
use crate::certificates::plan::plan;
use crate::certificates::schedule::Schedule;
use crate::certificates::x509::{Certificate, Sensitive};

/// Counts instead of drawing randomness, so that a failure is reproducible; keys are real.
pub(super) struct Counter(u128);

impl Entropy for Counter {
    fn key(&mut self) -> Result<KeyPair, CertificateError> {
        System.key()
    }

    fn bytes(&mut self) -> Result<[u8; 16], CertificateError> {
        self.0 += 1;
        Ok(*blake3::hash(&self.0.to_be_bytes()).as_bytes().first_chunk().unwrap())
    }
}

/// The files that a node has loaded.
#[derive(Clone)]
pub(super) struct Loaded {
    pub bundle: String,
    pub lists: String,
    pub chain: String,
}

impl Loaded {
    pub(super) fn certificate(&self) -> Certificate {
        Certificate::first(&self.chain).unwrap()
    }
}

/// A node.
pub(super) struct Node {
    pub shard: i32,
    pub loaded: Option<Loaded>,
    pub revocation: bool,
}

/// The whole model.
pub(super) struct World {
    pub wanted: Wanted,
    pub facts: Facts,
    pub now: OffsetDateTime,
    pub nodes: Vec<Node>,
    pub issued: BTreeSet<String>,
    entropy: Counter,
    issuer: Option<(String, Issuer<'static, KeyPair>)>,
}

impl World {
    /// Two shards with two nodes each, which do not run yet; certificates live an hour.
    pub(super) fn new() -> Self {
        let node = |shard| Node { shard, loaded: None, revocation: true };
        Self {
            wanted: Wanted {
                domain: "cluster.local".into(),
                dns_names: Vec::new(),
                namespace: "tests".into(),
                cluster: "demo".into(),
                shards: 2,
                replicas: 2,
                schedule: Schedule {
                    duration: Duration::HOUR,
                    renew_before: Duration::minutes(20),
                },
                revoked: BTreeSet::new(),
                clients_revoked: BTreeSet::new(),
                rotate: None,
                issuer: None,
            },
            facts: Facts::default(),
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
            nodes: vec![node(0), node(0), node(1), node(1)],
            issued: BTreeSet::new(),
            entropy: Counter(0),
            issuer: None,
        }
    }

    /// A settled world whose nodes run.
    pub(super) fn running() -> Self {
        let mut world = Self::new();
        world.settle();
        world
    }

    pub(super) fn plan(&mut self) -> Plan {
        let members = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let loaded = node.loaded.as_ref()?;
            Some(Member {
                pod: format!("demo-shard-{}-{}", node.shard, index % 2),
                shard: Some(node.shard),
                trust: Some(digest(&loaded.bundle)),
                certificate: Some(loaded.certificate().serial()),
                revocation: node.revocation,
            })
        });
        self.facts.members = members.collect();
        plan(&self.wanted, &self.facts, self.now, &mut self.entropy).unwrap()
    }

    /// Plans, and performs at most `limit` writes.
    pub(super) fn reconcile_until(&mut self, limit: usize) -> Plan {
        let plan = self.plan();
        for write in plan.writes.iter().take(limit) {
            self.perform(write);
        }
        plan
    }

    pub(super) fn reconcile(&mut self) -> Plan {
        self.reconcile_until(usize::MAX)
    }

    /// Plans until nothing is left to write, with nodes that load at once.
    pub(super) fn settle(&mut self) -> Plan {
        for _ in 0..20 {
            let plan = self.reconcile();
            let strict = self.wanted.issuer.is_none() || plan.revocation;
            self.sync_all();
            self.nodes.iter_mut().for_each(|node| node.revocation = strict);
            if plan.writes.is_empty() && plan.progress.is_none() {
                return plan;
            }
        }
        panic!("it does not settle");
    }

    pub(super) fn sync(&mut self, index: usize) {
        let shard = self.nodes[index].shard;
        let secret = self.facts.secrets.get(&names::shard_certificate("demo", shard));
        let Some(chain) = secret.map(|secret| secret.text("tls.crt").to_owned()) else { return };
        // As in a node, unusable files are not loaded.
        let key = secret.and_then(|secret| secret.get("tls.key")?.key());
        let fits =
            key.zip(Certificate::first(&chain)).is_some_and(|(key, leaf)| leaf.belongs_to(&key));
        if !fits || self.facts.trust.is_empty() {
            return;
        }
        self.nodes[index].loaded = Some(Loaded {
            bundle: self.facts.trusted(PEER_CA).into(),
            lists: self.facts.trusted(PEER_CRL).into(),
            chain,
        });
    }

    pub(super) fn sync_all(&mut self) {
        (0..self.nodes.len()).for_each(|index| self.sync(index));
    }

    pub(super) fn leaf(&self, shard: i32) -> Certificate {
        self.secret(&names::shard_certificate("demo", shard)).certificate().unwrap()
    }

    pub(super) fn secret(&self, name: &str) -> &Contents {
        &self.facts.secrets[name]
    }

    pub(super) fn authorities(&self) -> Vec<Certificate> {
        Certificate::all(self.facts.trusted(PEER_CA))
    }

    fn perform(&mut self, write: &Write) {
        match write {
            Write::Secret { name, contents } => {
                if name.contains("-shard-") {
                    let serial = contents.certificate().unwrap().serial();
                    assert!(self.issued.insert(serial), "a serial number was given twice");
                }
                self.facts.secrets.insert(name.clone(), contents.clone());
            }
            Write::Trust(data) => {
                if self.wanted.issuer.is_none() {
                    self.check_trust(data);
                }
                self.facts.trust = data.clone();
            }
            Write::Issuance { name, spec } => self.issue(name, spec),
            Write::DeleteIssuance(name) => {
                self.facts.issuances.as_mut().unwrap().remove(name).unwrap();
            }
            Write::DeleteSecret(name) => {
                self.facts.secrets.remove(name).unwrap();
            }
        }
    }

    /// Published data must never be empty, and list numbers must not decrease.
    fn check_trust(&self, data: &BTreeMap<String, String>) {
        assert!(!Certificate::all(&data[PEER_CA]).is_empty());
        assert!(!Certificate::all(&data[SERVER_CA]).is_empty());
        let before = numbers(self.facts.trusted(PEER_CRL));
        for (issuer, number) in numbers(&data[PEER_CRL]) {
            assert!(before.get(&issuer).is_none_or(|before| *before <= number));
        }
    }

    /// Installs cert-manager with an issuer of a new authority.
    pub(super) fn install_issuer(&mut self, name: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = self.now - Duration::HOUR;
        params.not_after = self.now + Duration::days(3650);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.issuer = Some((certificate.pem(), Issuer::new(params, key)));
        self.facts.issuances.get_or_insert_default();
    }

    pub(super) fn use_issuer(&mut self) {
        self.wanted.issuer = Some(IssuerReference {
            name: "ca".into(),
            kind: "Issuer".into(),
            group: "cert-manager.io".into(),
        });
    }

    /// The reaction of cert-manager to a `Certificate`.
    pub(super) fn issue(&mut self, name: &str, spec: &serde_json::Value) {
        let (authority, issuer) = self.issuer.as_ref().unwrap();
        let texts = |field: &str| -> Vec<String> {
            let items = spec.get(field).and_then(|items| items.as_array());
            items.into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let mut params = CertificateParams::new(texts("dnsNames")).unwrap();
        for uri in texts("uris") {
            params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        }
        let purpose = |usage: &String| match usage.as_str() {
            "server auth" => Some(rcgen::ExtendedKeyUsagePurpose::ServerAuth),
            "client auth" => Some(rcgen::ExtendedKeyUsagePurpose::ClientAuth),
            _ => None,
        };
        params.extended_key_usages = texts("usages").iter().filter_map(purpose).collect();
        params.not_before = self.now - Duration::MINUTE;
        params.not_after = self.now + self.wanted.schedule.duration;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, issuer).unwrap();
        let mut contents = Contents::default();
        contents.set("tls.crt", leaf.pem().as_str().into());
        contents.set("tls.key", Sensitive::new(key.serialize_pem().into_bytes()));
        contents.set("ca.crt", authority.as_str().into());
        let secret = spec["secretName"].as_str().unwrap();
        self.facts.secrets.insert(secret.into(), contents);
        let issuance = Issuance { spec: spec.clone(), ready: true, message: String::new() };
        self.facts.issuances.as_mut().unwrap().insert(name.into(), issuance);
    }

    /// Checks that, if the operator stopped now, each certificate would expire before the list that
    /// covers it, both in Secrets and in running nodes.
    pub(super) fn check_lists(&self) {
        let lists = ends(self.facts.trusted(PEER_CRL));
        let secrets = (0..self.wanted.shards).map(|shard| names::shard_certificate("demo", shard));
        let stored = secrets.filter_map(|name| self.facts.secrets.get(&name)?.certificate());
        let loaded = self.nodes.iter().filter_map(|node| Some(node.loaded.as_ref()?.certificate()));
        for leaf in stored.chain(loaded).filter(|leaf| self.now < leaf.not_after()) {
            for authority in self.authorities() {
                if leaf.is_signed_by(&authority) {
                    let (_, authority) =
                        x509_parser::parse_x509_certificate(authority.der()).unwrap();
                    let end = lists.get(authority.subject().as_raw()).copied();
                    let end = end.expect("an authority that has signed has a list");
                    assert!(leaf.not_after().unix_timestamp() <= end, "{leaf:?} outlives its list");
                }
            }
        }
    }

    /// Checks that every pair of running nodes with valid certificates accepts each other.
    pub(super) fn check_pairs(&self) {
        let running =
            self.nodes.iter().filter_map(|node| Some((node.revocation, node.loaded.as_ref()?)));
        let running: Vec<(bool, &Loaded)> = running
            .filter(|(_, loaded)| {
                let certificate = loaded.certificate();
                self.now < certificate.not_after()
                    && !self.wanted.revoked.contains(&certificate.serial())
            })
            .collect();
        for (strict, one) in &running {
            // Without a list of each authority, nodes are configured not to require any.
            let lists = numbers(&one.lists).len();
            let strict = *strict && lists == Certificate::all(&one.bundle).len();
            for (_, other) in &running {
                verify(&other.chain, &one.bundle, strict.then_some(one.lists.as_str()), self.now)
                    .unwrap_or_else(|error| panic!("a node refuses another: {error}"));
            }
        }
    }
}

/// Verifies a node's certificate as its peer does, with revocation lists or without.
pub(super) fn verify(
    chain: &str,
    bundle: &str,
    lists: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), String> {
    let (leaf, rest) = split(chain);
    let lists: Vec<CertificateRevocationListDer<'static>> = lists.map(parse).unwrap_or_default();
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots(bundle), provider());
    if !lists.is_empty() {
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    let verifier = builder.build().map_err(|error| error.to_string())?;
    let verified = verifier.verify_client_cert(&leaf, &rest, unix(now));
    verified.map(drop).map_err(|error| error.to_string())
}

/// Verifies the server's certificate as a client does.
pub(super) fn verify_server(
    chain: &str,
    bundle: &str,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), String> {
    let (leaf, rest) = split(chain);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(bundle), provider()).build();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let verifier = verifier.map_err(|error| error.to_string())?;
    let verified = verifier.verify_server_cert(&leaf, &rest, &name, &[], unix(now));
    verified.map(drop).map_err(|error| error.to_string())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(bundle: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in parse::<CertificateDer<'static>>(bundle) {
        roots.add(root).unwrap();
    }
    Arc::new(roots)
}

fn split(chain: &str) -> (CertificateDer<'static>, Vec<CertificateDer<'static>>) {
    let mut chain = parse::<CertificateDer<'static>>(chain);
    (chain.remove(0), chain)
}

fn parse<T: PemObject>(text: &str) -> Vec<T> {
    T::pem_slice_iter(text.as_bytes()).map(|item| item.ok().unwrap()).collect()
}

fn unix(now: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        now.unix_timestamp().try_into().unwrap(),
    ))
}

/// Number of each list by its issuer.
fn numbers(lists: &str) -> BTreeMap<Vec<u8>, u64> {
    let mut numbers = BTreeMap::new();
    for list in parse::<CertificateRevocationListDer<'static>>(lists) {
        let (_, list) = x509_parser::parse_x509_crl(&list).unwrap();
        let number = u64::try_from(list.crl_number().unwrap()).unwrap();
        numbers.insert(list.issuer().as_raw().to_vec(), number);
    }
    numbers
}

/// End of each list by its issuer.
fn ends(lists: &str) -> BTreeMap<Vec<u8>, i64> {
    let mut ends = BTreeMap::new();
    for list in parse::<CertificateRevocationListDer<'static>>(lists) {
        let (_, list) = x509_parser::parse_x509_crl(&list).unwrap();
        ends.insert(list.issuer().as_raw().to_vec(), list.next_update().unwrap().timestamp());
    }
    ends
}
