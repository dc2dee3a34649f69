//! Nodes that a test starts directly, with its own certificates and without `opaque dev`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use opaque_client::profile::Home;
use opaque_client::{Client, ClientConfig, Overrides};
use opaque_identity::{Extension, OID, shard_name};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::harness::{PATIENCE, example, path, signal, text, turn, wait_until};

pub(crate) const CLUSTER: &str = "spiffe://opaque.dev/ns/default/opaque/dev";

/// A test's certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of a node of `shard`.
    pub(crate) fn peer(&self, shard: u32, serial: u8, extension: &Extension) -> (String, String) {
        let mut params = CertificateParams::new(vec![shard_name(shard)]).unwrap();
        let uri = format!("{CLUSTER}/shard/{shard}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let extension = CustomExtension::from_oid_content(OID, extension.to_der());
        params.custom_extensions.push(extension);
        self.sign(params, serial)
    }

    /// Certificate and key with these DNS names.
    pub(crate) fn named(&self, names: &[&str], serial: u8) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(CertificateParams::new(names).unwrap(), serial)
    }

    fn sign(&self, mut params: CertificateParams, serial: u8) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.use_authority_key_identifier_extension = true;
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A revocation list with these serial numbers, valid until the first day of a year.
    pub(crate) fn list(&self, revoked: &[u8], until: i32) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// One node per shard.
pub(crate) struct Bare {
    pub(crate) peers: Authority,
    servers: Authority,
    nodes: Vec<Node>,
    /// Address at which clients and peers reach the nodes.
    host: IpAddr,
    directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

struct Node {
    child: Child,
    client_port: u16,
    peer_port: u16,
}

impl Bare {
    /// Starts nodes with additional arguments, which may name files that `prepare` creates. Every
    /// client may load.
    pub(crate) async fn start(
        shards: u32,
        arguments: &[&str],
        prepare: impl FnOnce(&Self),
    ) -> Self {
        let everyone = [arguments, &["--loader", "*"]].concat();
        Self::start_for(shards, &everyone, prepare).await
    }

    /// Like [`Bare::start`], but clients may only query unless an argument names them.
    pub(crate) async fn start_for(
        shards: u32,
        arguments: &[&str],
        prepare: impl FnOnce(&Self),
    ) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), shards, arguments, prepare).await
    }

    /// Nodes of pods that have only IPv6 addresses.
    pub(crate) async fn start_with_ipv6(shards: u32, arguments: &[&str]) -> Self {
        Self::start_at(Ipv6Addr::LOCALHOST.into(), shards, arguments, |_| {}).await
    }

    async fn start_at(
        host: IpAddr,
        shards: u32,
        arguments: &[&str],
        prepare: impl FnOnce(&Self),
    ) -> Self {
        let _turn = turn().await;
        let (peers, servers) = (Authority::new("peers"), Authority::new("servers"));
        let directory = tempfile::tempdir().unwrap();
        let mut this = Self { peers, servers, nodes: Vec::new(), host, directory, _turn };
        for shard in 0..shards {
            fs::create_dir_all(this.tls(shard)).unwrap();
            this.write(shard, "peer-ca.crt", &this.peers.pem);
            this.write(shard, "peer-ca.crl", &this.peers.list(&[], 2200));
            this.reissue(shard, 10 + u8::try_from(shard).unwrap());
            this.renew_server(shard, 100);
        }
        fs::write(this.path("server-ca.crt"), &this.servers.pem).unwrap();
        prepare(&this);
        for shard in 0..shards {
            let held = [0, 1].map(|_| TcpListener::bind((host, 0)).unwrap());
            let [client_port, peer_port] = held.map(|port| port.local_addr().unwrap().port());
            let program = Path::new(env!("CARGO_BIN_EXE_opaque")).with_file_name("opaque-node");
            let log = fs::File::create(this.path(&format!("node-{shard}.log"))).unwrap();
            let addresses = match host {
                IpAddr::V4(host) => vec![
                    format!("--client-listen={host}:{client_port}"),
                    format!("--peer-listen={host}:{peer_port}"),
                ],
                // The arguments with which the operator starts nodes.
                IpAddr::V6(host) => vec![
                    format!("--client-listen=[::]:{client_port}"),
                    format!("--peer-listen=[::]:{peer_port}"),
                    format!("--pod-ip={host}"),
                ],
            };
            let child = Command::new(program)
                .args(["--name", &format!("node-{shard}"), "--shard", &shard.to_string()])
                .args(["--shards", &shards.to_string()])
                .args(addresses)
                .args(["--store", path(&this.path("store"))])
                .args(["--coordination", path(&this.path("coordination"))])
                .args(["--tls-dir", path(&this.tls(shard))])
                .args(
                    arguments
                        .iter()
                        .map(|argument| argument.replace("DIR", path(this.directory.path()))),
                )
                .env("RUST_LOG", "info")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            this.nodes.push(Node { child, client_port, peer_port });
        }
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tls(&self, shard: u32) -> PathBuf {
        self.path(&format!("tls-{shard}"))
    }

    /// Replaces one file of a node.
    pub(crate) fn write(&self, shard: u32, name: &str, content: &str) {
        let (new, file) = (self.path("new"), self.tls(shard).join(name));
        fs::write(&new, content).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Gives a node another peer certificate.
    pub(crate) fn reissue(&self, shard: u32, serial: u8) {
        let extension = Extension::node(shard, "", "").unwrap();
        self.reissue_as(shard, serial, &extension, &self.peers);
    }

    pub(crate) fn reissue_as(
        &self,
        shard: u32,
        serial: u8,
        extension: &Extension,
        authority: &Authority,
    ) {
        let (certificate, key) = authority.peer(shard, serial, extension);
        self.write(shard, "peer.crt", &certificate);
        self.write(shard, "peer.key", &key);
    }

    /// Gives a node another server certificate.
    pub(crate) fn renew_server(&self, shard: u32, serial: u8) {
        let (certificate, key) = self.servers.named(&["localhost", "127.0.0.1", "::1"], serial);
        self.write(shard, "client.crt", &certificate);
        self.write(shard, "client.key", &key);
    }

    pub(crate) fn peer_port(&self, shard: u32) -> u16 {
        self.nodes[shard as usize].peer_port
    }

    pub(crate) fn client_port(&self, shard: u32) -> u16 {
        self.nodes[shard as usize].client_port
    }

    /// The client address of a node.
    fn url(&self, shard: u32) -> String {
        format!("https://{}", SocketAddr::new(self.host, self.client_port(shard)))
    }

    /// The process ID of a node.
    pub(crate) fn pid(&self, shard: u32) -> u32 {
        self.nodes[shard as usize].child.id()
    }

    /// A node's report about itself, if there is one.
    pub(crate) fn member(&self, shard: u32) -> Option<serde_json::Value> {
        let file = self.path("coordination").join(format!("members/node-{shard}.json"));
        let document: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).unwrap();
        Some(document["record"].clone())
    }

    pub(crate) fn log(&self, shard: u32) -> String {
        text(&fs::read(self.path(&format!("node-{shard}.log"))).unwrap())
    }

    /// Waits until a node has logged these words.
    pub(crate) async fn until_logged(&self, shard: u32, words: &str) {
        wait_until(words, || self.log(shard).contains(words)).await;
    }

    /// The configuration for one node, with overrides.
    pub(crate) fn config(&self, shard: u32, overrides: Overrides) -> ClientConfig {
        let cluster = vec![self.url(shard)];
        let ca_file = Some(self.path("server-ca.crt"));
        let home = Home::new(self.path("home"));
        ClientConfig::with(&home, Overrides { cluster, ca_file, ..overrides }).unwrap()
    }

    pub(crate) fn client(&self, shard: u32) -> Client {
        Client::connect(self.config(shard, Overrides::default())).unwrap()
    }

    /// Runs `opaque` against the first node.
    pub(crate) fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opaque"));
        command.env("OPAQUE_HOME", self.path("home")).env_remove("RUST_LOG");
        command.args(["--cluster", &self.url(0), "--ca", path(&self.path("server-ca.crt"))]);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Waits until every shard serves, and loads the weather.
    pub(crate) fn load_weather(&self, arguments: &[&str]) {
        let folder = example("weather");
        let (schema, data) = (folder.join("schema.sql"), folder.join("weather.csv"));
        let wait = format!("{}s", PATIENCE.as_secs());
        for command in [vec!["status", "--wait", &wait], vec!["load", path(&schema), path(&data)]] {
            let output = self.cli(&[arguments, &command].concat());
            let logs = (0..).zip(&self.nodes).map(|(shard, _)| self.log(shard));
            let logs: String = logs.collect();
            assert!(output.status.success(), "{}\n{logs}", text(&output.stderr));
        }
    }

    /// Sends SIGTERM to a node.
    pub(crate) fn terminate(&self, shard: u32) {
        signal(self.nodes[shard as usize].child.id(), "TERM");
    }

    /// Kills a node, which is not restarted.
    pub(crate) fn kill(&self, shard: u32) {
        signal(self.nodes[shard as usize].child.id(), "KILL");
    }

    /// Waits until a node has ended without an error.
    pub(crate) async fn ended(&mut self, shard: u32) {
        let node = self.nodes.remove(shard as usize);
        let mut child = node.child;
        wait_until("the node ends", || child.try_wait().unwrap().is_some()).await;
        assert!(child.wait().unwrap().success(), "it ended with an error");
    }

    /// Checks that every node is the process that was started, and that none has panicked.
    pub(crate) fn assert_unharmed(&mut self) {
        for (shard, node) in (0..).zip(&mut self.nodes) {
            assert!(node.child.try_wait().unwrap().is_none(), "node {shard} has ended");
        }
        for shard in 0..u32::try_from(self.nodes.len()).unwrap() {
            assert!(!self.log(shard).contains("panicked"), "{}", self.log(shard));
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            signal(node.child.id(), "KILL");
            node.child.wait().unwrap();
        }
    }
}
