//! Checks that the metrics named by alerts and documents exist: those of a running node, and the
//! operator's.
//!
//! A node lists its gauges at `/metrics` once it has a map, and a family of counters once one of
//! them has a value.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use opaque_e2e::authority::Authority;
use opaque_e2e::poll::until;
use opaque_identity::{ShardUri, shard_name};
use opaque_node::config::{Args, Config};
use opaque_node::{metrics as node, server};
use opaque_operator::metrics as operator;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);
/// The operator's alerts for a cluster with monitoring. A test of crate opaque-operator pins this
/// file.
const RULES: &str = "operator/src/cluster/objects/golden/rich.yaml";
/// Suffixes of a metric's samples.
const SUFFIXES: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];

#[tokio::test]
async fn alerts_and_documents_name_metrics_that_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules = fs::read_to_string(root.join(RULES))?;
    ensure!(named(&rules).len() > 20, "{RULES} has no alerts");
    let mut texts = vec![(RULES.to_owned(), rules)];
    for folder in ["docs", "docs/runbooks"] {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                texts.push((path.display().to_string(), fs::read_to_string(&path)?));
            }
        }
    }
    let counted = described(&counters()?);
    let node = Node::start().await?;
    until("every metric exists", LIMIT, || async {
        let mut exist = described(&node.scrape().await?);
        exist.extend(counted.clone());
        let unknown: Vec<String> = texts
            .iter()
            .flat_map(|(file, text)| named(text).into_iter().map(move |name| (file, name)))
            .filter(|(_, name)| !exists(name, &exist))
            .map(|(file, name)| format!("{file}: {name}"))
            .collect();
        ensure!(unknown.is_empty(), "no such metrics: {unknown:#?}\nthere are: {exist:#?}");
        Ok(Some(()))
    })
    .await?;
    node.stop().await
}

#[test]
fn a_metric_that_does_not_exist_is_found() {
    let exist = described("# TYPE opaque_node_loads counter\n# TYPE opaque_node_ready gauge\n");
    let text = "opaque_node_ready{a=\"b\"} == 0 or {__name__=~\"opaque_node_(loads|gone)_total\"}";
    let names = named(text);
    assert_eq!(names.len(), 3, "{names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !exists(name, &exist)).collect();
    assert_eq!(unknown, ["opaque_node_gone_total"]);
}

/// Metrics by their descriptions, without the suffixes of samples.
fn described(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

fn exists(name: &str, exist: &BTreeSet<String>) -> bool {
    let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    exist.contains(name) || bare.is_some_and(|bare| exist.contains(bare))
}

/// The node's and the operator's metrics that a text names. `opaque_node_(a|b)_total` names two.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for prefix in ["opaque_node_", "opaque_operator_"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = text.get(at + prefix.len()..).unwrap_or_default();
            let (choices, rest) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
            {
                Some((choices, rest)) => (choices.split('|').collect(), rest),
                None => (vec![""], rest),
            };
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let tail = rest.get(..end).unwrap_or_default();
            let all = choices.iter().map(|choice| format!("{prefix}{choice}{tail}"));
            names.extend(all.filter(|name| name != prefix));
        }
    }
    names
}

/// The node's and the operator's counters. Each family has one count.
fn counters() -> Result<String> {
    let node = node::Metrics::default();
    node.closed(node::Closed::All);
    node.refused("busy");
    let mut registry = Registry::default();
    let operator = operator::Metrics::new(&mut registry);
    let _held = operator.holds();
    let mut text = String::new();
    encode(&mut text, &node.registry())?;
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The node of a cluster with one shard.
struct Node {
    admin: SocketAddr,
    runs: JoinHandle<Result<()>>,
    stop: oneshot::Sender<()>,
    _folder: TempDir,
}

impl Node {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tls = folder.path().join("tls");
        fs::create_dir(&tls)?;
        let authority = Authority::new()?;
        authority.server(&["localhost"])?.write(&tls, "client")?;
        let uri = ShardUri::new("opaque.dev", "test", "alerts", 0)?;
        authority.peer(&shard_name(0), &uri.to_string())?.write(&tls, "peer")?;
        fs::write(tls.join("peer-ca.crt"), authority.pem())?;

        let admin = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let args = Args::try_parse_from([
            "opaque-node",
            "--name=node",
            "--shard=0",
            "--shards=1",
            "--client-listen=127.0.0.1:0",
            "--peer-listen=127.0.0.1:0",
            &format!("--admin-listen={admin}"),
            &format!("--store={}", path("store")),
            &format!("--coordination={}", path("coordination")),
            &format!("--tls-dir={}", path("tls")),
            "--threads=1",
        ])?;
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // An error means the same: the test is over.
            let _ = stopped.await;
        };
        let runs = tokio::spawn(server::serve(Config::try_from(args)?, shutdown));
        Ok(Self { admin, runs, stop, _folder: folder })
    }

    /// The response at `/metrics`.
    async fn scrape(&self) -> Result<String> {
        ensure!(!self.runs.is_finished(), "the node ended");
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn stop(self) -> Result<()> {
        // An error means that the node has ended by itself. The next line reports that.
        let _ = self.stop.send(());
        self.runs.await?.context("the node failed")
    }
}
