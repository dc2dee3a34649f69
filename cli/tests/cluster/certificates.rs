//! Certificates that are renewed, revoked and limited while nodes run, and clients that must
//! authenticate.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opaque_client::{Client, Overrides};
use opaque_identity::{Capabilities, Capability, Extension, Ranges, Role, TokenRange};
use opaque_proto::v1::shard_client::ShardClient;
use opaque_proto::v1::{ReadRowsRequest, RegisterPeerKeysRequest, ShardStatusRequest};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::bare::{Authority, Bare};
use super::harness::{PATIENCE, path, query, rows, text, wait_until, words};

const CAIRO: &str = "SELECT country FROM weather WHERE city = 'Cairo'";
const STRICT: &[&str] = &["--revocation", "required"];

/// Queries without a pause, until stopped.
struct Loop {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Loop {
    fn start(client: Client) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                assert_eq!(rows(&client, CAIRO).await, [[words("EG")]]);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, answered, task }
    }

    /// Waits until some more queries have been answered.
    async fn more(&self) {
        let enough = self.answered.load(Ordering::Relaxed) + 3;
        wait_until("queries are answered", || {
            assert!(!self.task.is_finished(), "a query failed");
            self.answered.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a query failed");
        self.answered.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_and_a_change_of_authority_fail_no_query_and_restart_no_node() {
    let mut nodes = Bare::start(2, STRICT, |_| {}).await;
    nodes.load_weather(&[]);
    let queries = Loop::start(nodes.client(0));
    queries.more().await;
    let next = Authority::new("next");
    // The files are replaced one at a time, as a careless administrator would. Inconsistent files
    // are not loaded.
    let everywhere = |change: &dyn Fn(u32)| (0..2).for_each(change);
    let settled = async |words: String| {
        nodes.until_logged(0, &words).await;
        nodes.until_logged(1, &words).await;
        queries.more().await;
    };
    let trusted = |pem: &str| format!("trust=\"{}\"", blake3::hash(pem.as_bytes()).to_hex());
    everywhere(&|shard| nodes.reissue(shard, 0x30));
    settled("serial=\"30\"".into()).await;
    everywhere(&|shard| nodes.renew_server(shard, 0x31));
    settled("server=\"31\"".into()).await;
    let both = format!("{}{}", nodes.peers.pem, next.pem);
    let lists = format!("{}{}", nodes.peers.list(&[], 2200), next.list(&[], 2200));
    everywhere(&|shard| {
        nodes.write(shard, "peer-ca.crl", &lists);
        nodes.write(shard, "peer-ca.crt", &both);
    });
    settled(trusted(&both)).await;
    everywhere(&|shard| {
        let extension = Extension::node(shard, "", "").unwrap();
        nodes.reissue_as(shard, 0x40, &extension, &next);
    });
    settled("serial=\"40\"".into()).await;
    everywhere(&|shard| {
        nodes.write(shard, "peer-ca.crt", &next.pem);
        nodes.write(shard, "peer-ca.crl", &next.list(&[], 2200));
    });
    settled(trusted(&next.pem)).await;
    let answered = queries.end().await;
    println!("{answered} queries answered over five changes of certificates, none failed");
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_shard_is_refused_within_the_reload_time_until_it_has_another_certificate() {
    let mut nodes = Bare::start(2, STRICT, |_| {}).await;
    nodes.load_weather(&[]);
    let client = nodes.client(0);
    assert_eq!(rows(&client, CAIRO).await, [[words("EG")]]);
    let refused = async |why: &str| {
        let begun = Instant::now();
        let error = loop {
            assert!(begun.elapsed() < PATIENCE, "still accepted: {why}");
            match query(&client, CAIRO).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("shard 1"), "{error}");
        println!("{why}: refused after {:.1} s", begun.elapsed().as_secs_f32());
    };
    let accepted = async |why: &str| {
        let begun = Instant::now();
        while query(&client, CAIRO).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "still refused: {why}\n{}", nodes.log(0));
        }
    };

    nodes.write(0, "peer-ca.crl", &nodes.peers.list(&[11], 2200));
    refused("revoked").await;
    nodes.reissue(1, 12);
    accepted("another certificate").await;

    nodes.write(0, "peer-ca.crl", &nodes.peers.list(&[], 2021));
    refused("a list that ran out").await;
    nodes.write(0, "peer-ca.crl", &nodes.peers.list(&[11], 2200));
    accepted("a list that is good").await;

    // First a certificate that covers no position of shard 1, then one that may not evaluate.
    let nowhere = Ranges::new(vec![TokenRange::new(0, 0).unwrap()]).unwrap();
    let narrow = Extension::new(1, "", "", nowhere, Capabilities::NODE, Role::Node).unwrap();
    nodes.reissue_as(1, 13, &narrow, &nodes.peers);
    nodes.until_logged(1, "serial=\"0d\"").await;
    // Connections that exist are replaced when the client's material changes, too.
    nodes.write(0, "peer-ca.crl", &nodes.peers.list(&[12], 2200));
    refused("other ranges").await;
    nodes.until_logged(0, "covers other ranges").await;
    nodes.reissue(1, 14);
    accepted("the whole ring").await;
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_may_do_what_its_certificate_says_and_no_more() {
    let mut nodes = Bare::start(2, STRICT, |_| {}).await;
    nodes.load_weather(&[]);
    let with = |capabilities| {
        Extension::new(1, "", "", Ranges::whole(), capabilities, Role::Node).unwrap()
    };
    let only = |capability| with(Capabilities::NONE.with(capability));
    let peer = async |serial, extension: &Extension| {
        let (certificate, key) = nodes.peers.peer(1, serial, extension);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&nodes.peers.pem))
            .domain_name("shard-0.peers.opaque.internal")
            .identity(Identity::from_pem(certificate, key));
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", nodes.peer_port(0)));
        let endpoint = endpoint.unwrap().timeout(Duration::from_secs(30)).tls_config(tls).unwrap();
        let channel: Channel = endpoint.connect().await.unwrap();
        ShardClient::new(channel)
    };
    let read = async |client: &mut ShardClient<Channel>| {
        client.read_rows(ReadRowsRequest::default()).await.unwrap_err()
    };
    let register = async |client: &mut ShardClient<Channel>| {
        client.register_keys(RegisterPeerKeysRequest::default()).await.unwrap_err()
    };
    let forbidden = |status: &tonic::Status| {
        status.code() == tonic::Code::PermissionDenied && status.message().contains("capability")
    };

    let mut node = peer(60, &with(Capabilities::NODE)).await;
    node.status(ShardStatusRequest {}).await.unwrap();
    let error = read(&mut node).await;
    assert!(!forbidden(&error), "the refusals below are no accident: {error}");
    let mut evaluator = peer(61, &only(Capability::Evaluate)).await;
    evaluator.status(ShardStatusRequest {}).await.unwrap();
    assert!(forbidden(&read(&mut evaluator).await) && forbidden(&register(&mut evaluator).await));
    let mut mover = peer(62, &only(Capability::Transfer)).await;
    assert!(forbidden(&read(&mut mover).await) && !forbidden(&register(&mut mover).await));
    let mut coordinator = peer(63, &only(Capability::Coordinate)).await;
    assert!(!forbidden(&read(&mut coordinator).await));
    assert!(!forbidden(&register(&mut coordinator).await));

    // An open connection is refused as soon as its certificate is revoked.
    nodes.write(0, "peer-ca.crl", &nodes.peers.list(&[60], 2200));
    let begun = Instant::now();
    while node.status(ShardStatusRequest {}).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "still accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("an open connection was refused {:.1} s later", begun.elapsed().as_secs_f32());
    mover.status(ShardStatusRequest {}).await.unwrap();
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_the_token_get_an_error_and_health_stays_open() {
    let arguments = ["--client-auth", "token", "--tokens-dir", "DIR/tokens"];
    let mut nodes = Bare::start(1, &arguments, |nodes| {
        fs::create_dir(nodes.path("tokens")).unwrap();
        fs::write(nodes.path("tokens/alice"), "alice-has-a-secret-of-her-own\n").unwrap();
        fs::write(nodes.path("token"), "alice-has-a-secret-of-her-own\n").unwrap();
        fs::write(nodes.path("stale"), "a-secret-that-is-no-longer-one").unwrap();
    })
    .await;
    let (token, stale) = (nodes.path("token"), nodes.path("stale"));
    nodes.load_weather(&["--token-file", path(&token)]);
    let with = |token: &std::path::Path| {
        let overrides = Overrides { token_file: Some(token.to_owned()), ..Overrides::default() };
        Client::connect(nodes.config(0, overrides)).unwrap()
    };
    assert_eq!(rows(&with(&token), CAIRO).await, [[words("EG")]]);
    for (arguments, said) in [
        (vec!["tables"], "requires a token"),
        (vec!["--token-file", path(&stale), "tables"], "not one of this cluster's"),
    ] {
        let output = nodes.cli(&arguments);
        let stderr = text(&output.stderr);
        assert!(!output.status.success() && stderr.contains(said), "{stderr}");
        assert!(stderr.contains("hint: ") && stderr.contains("--token-file"), "{stderr}");
        assert!(!stderr.contains("a-secret-that"), "{stderr}");
    }
    health(&nodes).await;
    // The token changes without a restart.
    fs::write(nodes.path("tokens/alice"), "a-secret-that-is-no-longer-one").unwrap();
    nodes.until_logged(0, "tokens reloaded").await;
    assert_eq!(rows(&with(&stale), CAIRO).await, [[words("EG")]]);
    assert!(query(&with(&token), CAIRO).await.is_err());
    assert!(!nodes.log(0).contains("a-secret"), "a token was logged");
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_certificate_get_an_error_and_health_stays_open() {
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    let mut nodes = Bare::start(1, &["--client-auth", "mtls"], |nodes| {
        nodes.write(0, "clients-ca.crt", &clients.pem);
        for (authority, name) in [(&clients, "alice"), (&strangers, "mallory")] {
            let (certificate, key) = authority.named(&["alice.example"], 7);
            fs::write(nodes.path(&format!("{name}.crt")), certificate).unwrap();
            fs::write(nodes.path(&format!("{name}.key")), key).unwrap();
        }
    })
    .await;
    let files = |name: &str| ["crt", "key"].map(|kind| nodes.path(&format!("{name}.{kind}")));
    let [certificate, key] = files("alice");
    nodes.load_weather(&["--client-cert", path(&certificate), "--client-key", path(&key)]);
    let overrides = Overrides {
        client_cert: Some(certificate.clone()),
        client_key: Some(key),
        ..Overrides::default()
    };
    let client = Client::connect(nodes.config(0, overrides)).unwrap();
    assert_eq!(rows(&client, CAIRO).await, [[words("EG")]]);
    let [stranger, stranger_key] = files("mallory");
    for arguments in [
        vec!["tables"],
        vec!["--client-cert", path(&stranger), "--client-key", path(&stranger_key), "tables"],
        vec!["--client-cert", path(&certificate), "tables"],
    ] {
        let output = nodes.cli(&arguments);
        let stderr = text(&output.stderr);
        assert!(!output.status.success() && stderr.contains("--client-key"), "{stderr}");
    }
    health(&nodes).await;
    // The authority of clients changes. Holders of a certificate of the old one are refused, even
    // on an open connection.
    nodes.write(0, "clients-ca.crt", &strangers.pem);
    reloaded_once(&nodes).await;
    assert!(query(&client, CAIRO).await.is_err());
    nodes.assert_unharmed();
}

/// The answer of `/readyz`.
fn readyz(port: u16) -> String {
    use std::io::{Read as _, Write as _};
    let mut answer = String::new();
    let asked = std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.map_or_else(|error| error.to_string(), |_| answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_token_is_refused_whatever_else_is_there_and_none_at_all_is_said() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = format!("127.0.0.1:{port}");
    let arguments =
        ["--client-auth", "token", "--tokens-dir", "DIR/tokens", "--admin-listen", &admin];
    // The node starts even if the tokens arrive later.
    let mut nodes = Bare::start(1, &arguments, |nodes| {
        fs::create_dir(nodes.path("tokens")).unwrap();
        for name in ["alice", "bob"] {
            fs::write(nodes.path(name), format!("{name}-has-a-secret-of-16-letters")).unwrap();
        }
    })
    .await;
    wait_until("not ready", || readyz(port).contains("no client may ask")).await;
    let give = |name: &str| fs::copy(nodes.path(name), nodes.path(&format!("tokens/{name}")));
    let (alice, bob) = (nodes.path("alice"), nodes.path("bob"));
    let refused = nodes.cli(&["--token-file", path(&alice), "tables"]);
    assert!(text(&refused.stderr).contains("no client may ask"), "{}", text(&refused.stderr));
    give("alice").unwrap();
    give("bob").unwrap();
    nodes.until_logged(0, "clients=2").await;
    nodes.load_weather(&["--token-file", path(&alice)]);
    wait_until("ready", || readyz(port).starts_with("HTTP/1.1 200")).await;

    fs::write(nodes.path("tokens/bad"), "short").unwrap();
    nodes.until_logged(0, "a token is void").await;
    fs::remove_file(nodes.path("tokens/alice")).unwrap();
    let with = |token: &std::path::Path| {
        let overrides = Overrides { token_file: Some(token.to_owned()), ..Overrides::default() };
        Client::connect(nodes.config(0, overrides)).unwrap()
    };
    let client = with(&alice);
    let begun = Instant::now();
    while query(&client, CAIRO).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "still accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("a removed token was refused {:.1} s later", begun.elapsed().as_secs_f32());
    assert_eq!(rows(&with(&bob), CAIRO).await, [[words("EG")]]);
    assert!(!nodes.log(0).contains("has-a-secret"), "a token was logged");
    nodes.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_is_refused_on_an_open_connection_whatever_else_is_wrong() {
    let clients = Authority::new("clients");
    let mut nodes = Bare::start(1, &["--client-auth", "mtls"], |nodes| {
        nodes.write(0, "clients-ca.crt", &clients.pem);
        for (name, serial) in [("alice", 7), ("bob", 8)] {
            let (certificate, key) = clients.named(&[&format!("{name}.example")], serial);
            fs::write(nodes.path(&format!("{name}.crt")), certificate).unwrap();
            fs::write(nodes.path(&format!("{name}.key")), key).unwrap();
        }
    })
    .await;
    let files = |name: &str| ["crt", "key"].map(|kind| nodes.path(&format!("{name}.{kind}")));
    let [certificate, key] = files("alice");
    nodes.load_weather(&["--client-cert", path(&certificate), "--client-key", path(&key)]);
    let with = |name: &str| {
        let [certificate, key] = files(name);
        let overrides = Overrides {
            client_cert: Some(certificate),
            client_key: Some(key),
            ..Overrides::default()
        };
        Client::connect(nodes.config(0, overrides)).unwrap()
    };
    let (alice, bob) = (with("alice"), with("bob"));
    let answered = async |client: &Client| assert_eq!(rows(client, CAIRO).await, [[words("EG")]]);
    let refused = async |client: &Client, why: &str| {
        let begun = Instant::now();
        while query(client, CAIRO).await.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "still accepted: {why}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{why}: refused after {:.1} s", begun.elapsed().as_secs_f32());
    };
    answered(&alice).await;
    answered(&bob).await;
    // The node's own files are invalid at the same time.
    nodes.write(0, "peer.crt", "nothing");
    nodes.until_logged(0, "TLS material refused").await;
    nodes.write(0, "clients-ca.crl", &clients.list(&[7], 2200));
    refused(&alice, "on a list").await;
    answered(&bob).await;
    nodes.write(0, "clients-ca.revoked", "08\n");
    refused(&bob, "by its serial number").await;
    nodes.write(0, "clients-ca.revoked", "");
    let begun = Instant::now();
    while query(&bob, CAIRO).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "still refused");
    }
    nodes.write(0, "clients-ca.crl", &clients.list(&[], 2021));
    refused(&bob, "a list that ran out").await;
    health(&nodes).await;
    nodes.assert_unharmed();
}

async fn reloaded_once(nodes: &Bare) {
    nodes.until_logged(0, "TLS material reloaded").await;
}

/// A health check without client authentication.
async fn health(nodes: &Bare) {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let ca = Certificate::from_pem(fs::read(nodes.path("server-ca.crt")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
    let url = format!("https://127.0.0.1:{}", nodes.client_port(0));
    let endpoint = Endpoint::from_shared(url).unwrap().timeout(Duration::from_secs(30));
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_material_does_not_start() {
    let _turn = super::harness::turn().await;
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_opaque")).with_file_name("opaque-node");
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(program)
        .args("--name n --shard 0 --shards 1 --client-listen 127.0.0.1:0".split(' '))
        .args("--peer-listen 127.0.0.1:0 --store s --coordination c --tls-dir .".split(' '))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert!(!output.status.success() && stderr.contains("client.crt"), "{stderr}");
}
