//! A cluster started by `opaque dev`, and operations of tests on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opaque_client::profile::{Home, NodeUrl};
use opaque_client::registered::KeyStore;
use opaque_client::sql::ResultSet;
use opaque_client::{Client, ClientConfig, Error, KeyMode, Overrides, QueryOptions, Timing};
use opaque_pir::table::Value;
use opaque_registered::KeyDirectory;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Two cores are enough for one cluster at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Time limit of any wait in a test. No test relies on a shorter one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until no other cluster runs. The returned value keeps others waiting.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

/// A running cluster; stopped when dropped.
pub(crate) struct Cluster {
    directory: TempDir,
    dev: Option<Child>,
    arguments: Vec<String>,
    log_filter: String,
    /// Environment variables of the nodes.
    variables: Vec<(String, String)>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts `opaque dev` with these arguments and waits until it serves.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_logging(arguments, "info").await
    }

    /// Like [`Cluster::start`], with a `RUST_LOG` for the nodes.
    pub(crate) async fn start_logging(arguments: &[&str], log_filter: &str) -> Self {
        Self::start_as(arguments, log_filter, &[]).await
    }

    /// Like [`Cluster::start`], with a memory limit for each node.
    pub(crate) async fn start_limited(arguments: &[&str], mib: u64) -> Self {
        let limit = [("OPAQUE_MEMORY_LIMIT_MIB", mib.to_string())];
        Self::start_as(arguments, "info", &limit).await
    }

    /// Like [`Cluster::start`], on a copy of the data in `stored`.
    pub(crate) async fn start_on(stored: &Path, arguments: &[&str]) -> Self {
        let mut cluster = Self::stopped(arguments, "info", &[]).await;
        let copied = Command::new("cp").arg("-r").arg(stored).arg(cluster.data()).status();
        assert!(copied.unwrap().success());
        cluster.resume();
        cluster
    }

    async fn start_as(arguments: &[&str], log_filter: &str, variables: &[(&str, String)]) -> Self {
        let mut cluster = Self::stopped(arguments, log_filter, variables).await;
        cluster.resume();
        cluster
    }

    async fn stopped(arguments: &[&str], log_filter: &str, variables: &[(&str, String)]) -> Self {
        let turn = turn().await;
        Self {
            directory: tempfile::tempdir().unwrap(),
            dev: None,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            log_filter: log_filter.to_owned(),
            variables: variables
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
            _turn: turn,
        }
    }

    /// Starts `opaque dev` again on the same data, and waits until every shard serves.
    pub(crate) fn resume(&mut self) {
        self.resume_unserved();
        let status = self.cli(&["status", "--wait", "120s"]);
        assert!(status.status.success(), "{}\n{}", text(&status.stderr), self.logs());
    }

    /// Adds arguments of `opaque dev` for the next start.
    pub(crate) fn add_arguments(&mut self, more: &[&str]) {
        self.arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    }

    /// Starts `opaque dev` again on the same data.
    pub(crate) fn resume_unserved(&mut self) {
        assert!(self.dev.is_none(), "it runs already");
        let mut dev = self.command();
        dev.arg("dev").arg("--data-dir").arg(self.data()).args(&self.arguments);
        dev.env("RUST_LOG", &self.log_filter).envs(self.variables.iter().cloned());
        let log = std::fs::File::create(self.directory.path().join("dev.log")).unwrap();
        dev.stdout(log.try_clone().unwrap()).stderr(log);
        self.dev = Some(dev.spawn().unwrap());
    }

    /// Sends Ctrl-C and waits for the end.
    pub(crate) fn stop(&mut self) {
        let Some(mut dev) = self.dev.take() else { return };
        signal(dev.id(), "TERM");
        dev.wait().unwrap();
    }

    /// Runs the `opaque` command against this cluster.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    /// Standard error of a command that must fail without a panic.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let stderr = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} succeeded: {}", text(&output.stdout));
        // `opaque load` says before how the files are written that it has read.
        let is_error = stderr.lines().any(|line| line.starts_with("error: "));
        assert!(is_error && !stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// A client with the cluster's profile.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.config()).unwrap()
    }

    /// A client with the cluster's profile and this kind of keys.
    pub(crate) fn client_with(&self, keys: KeyMode) -> Client {
        Client::connect(ClientConfig { keys, ..self.config() }).unwrap()
    }

    /// The profile that `opaque dev` wrote.
    pub(crate) fn config(&self) -> ClientConfig {
        // The variable of the CLI, which the commands of these tests inherit.
        let keys = std::env::var("OPAQUE_KEYS").ok().map(|keys| match keys.as_str() {
            "inline" => KeyMode::Inline,
            "registered" => KeyMode::Registered,
            other => panic!("OPAQUE_KEYS={other}"),
        });
        let overrides = Overrides { keys, ..Overrides::default() };
        let home = Home::new(self.home());
        let key_store: Arc<dyn KeyStore> = Arc::new(KeyDirectory::new(home.keys_dir()));
        ClientConfig { key_store: Some(key_store), ..ClientConfig::with(&home, overrides).unwrap() }
    }

    /// Kills a node's process without a chance to clean up.
    pub(crate) fn kill(&self, node: &str) {
        signal(self.pid(node), "KILL");
    }

    /// Kills a node's process and waits until it is gone. `opaque dev` restarts it after a pause.
    pub(crate) async fn fell(&self, node: &str) -> Fallen {
        let pid = self.pid(node);
        let killed = Instant::now();
        signal(pid, "KILL");
        wait_until("the node is gone", || self.running(node) != Some(pid)).await;
        Fallen { node: node.to_owned(), pid, killed, gone: unix_millis() }
    }

    /// Waits until another process has replaced a killed one and reports that it serves the active
    /// map. The old process's report stays fresh for some seconds. Returns the time since the kill.
    pub(crate) async fn risen(&self, fallen: Fallen) -> Duration {
        let Fallen { node, pid, killed, gone } = fallen;
        wait_until("another process serves", || {
            let Some(member) = self.member(&node) else { return false };
            let number = |key: &str| member[key].as_u64().unwrap();
            self.running(&node).is_some_and(|running| running != pid)
                && number("heartbeat") > gone
                && number("active_generation") == self.active_generation()
        })
        .await;
        let down = killed.elapsed();
        self.until("the others know", |status| {
            let mut replicas = status.shards.iter().flat_map(|shard| &shard.replicas);
            replicas.any(|replica| {
                replica.node == node
                    && replica.alive
                    && replica.active_generation == status.generation
            })
        })
        .await;
        down
    }

    /// Kills a node and waits until another process has replaced it.
    pub(crate) async fn kill_and_await(&self, node: &str) -> Duration {
        let fallen = self.fell(node).await;
        self.risen(fallen).await
    }

    /// The process ID of a node.
    pub(crate) fn pid(&self, node: &str) -> u32 {
        self.running(node).unwrap()
    }

    /// The process ID of a node, unless it is gone.
    fn running(&self, node: &str) -> Option<u32> {
        let file = self.data().join("run").join(format!("{node}.pid"));
        // The file is empty between its creation and the write.
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// A node's report about itself, if there is one.
    pub(crate) fn member(&self, node: &str) -> Option<serde_json::Value> {
        self.coordination(&format!("members/{node}.json"))
    }

    /// Generation of the active map.
    fn active_generation(&self) -> u64 {
        self.coordination("active.json").unwrap()["generation"].as_u64().unwrap()
    }

    /// A record of the coordination directory. Records are replaced atomically.
    pub(crate) fn coordination(&self, file: &str) -> Option<serde_json::Value> {
        let bytes = std::fs::read(self.data().join("coordination").join(file)).ok()?;
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        Some(document["record"].clone())
    }

    /// A client that knows only one node.
    pub(crate) fn client_of(&self, node: &str) -> Client {
        Client::connect(ClientConfig { endpoints: vec![self.endpoint(node)], ..self.config() })
            .unwrap()
    }

    /// The client address of a node.
    pub(crate) fn endpoint(&self, node: &str) -> NodeUrl {
        let member = self.member(node).unwrap();
        format!("https://{}", member["client_address"].as_str().unwrap()).parse().unwrap()
    }

    /// Waits until the cluster's status satisfies a condition.
    pub(crate) async fn until(
        &self,
        what: &str,
        condition: impl Fn(&opaque_proto::v1::StatusResponse) -> bool,
    ) {
        let client = self.client();
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if client.status().await.is_ok_and(|status| condition(&status)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain until {what}\n{}", self.logs());
    }

    /// Waits until every replica of every shard lives and serves the active generation.
    pub(crate) async fn until_whole(&self, nodes: usize) {
        self.until("every replica serves", |status| {
            let replicas: Vec<_> = status.shards.iter().flat_map(|s| &s.replicas).collect();
            let serves = |replica: &&opaque_proto::v1::ReplicaStatus| {
                replica.alive && replica.active_generation == status.generation
            };
            // A node's report may lag behind the decision.
            status.generation == self.active_generation()
                && replicas.len() == nodes
                && replicas.iter().all(serves)
        })
        .await;
    }

    /// Writes a file into the cluster's directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Loads a table from a schema and CSV text.
    pub(crate) fn load(&self, schema: &str, csv: &str) -> String {
        let schema = self.file("schema.sql", schema);
        let data = self.file("data.csv", csv);
        self.ok(&["load", "--null", "\\N", path(&schema), path(&data)])
    }

    /// Loads one of the examples.
    pub(crate) fn load_example(&self, name: &str, data: &str) {
        let folder = example(name);
        self.ok(&["load", path(&folder.join("schema.sql")), path(&folder.join(data))]);
    }

    /// All log lines of the nodes.
    pub(crate) fn logs(&self) -> String {
        let mut logs = std::fs::read_to_string(self.directory.path().join("dev.log")).unwrap();
        let Ok(entries) = std::fs::read_dir(self.data().join("logs")) else { return logs };
        for entry in entries {
            logs += &text(&std::fs::read(entry.unwrap().path()).unwrap());
        }
        logs
    }

    /// The tables that have objects in the store.
    pub(crate) fn stored_tables(&self) -> Vec<String> {
        let Ok(entries) = self.data().join("store/tables").read_dir() else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The `opaque` command, with this cluster's profile.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opaque"));
        command.env("OPAQUE_HOME", self.home()).env_remove("RUST_LOG").env_remove("OPAQUE_PROFILE");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A node whose process was killed.
pub(crate) struct Fallen {
    node: String,
    pid: u32,
    killed: Instant,
    /// When the process was seen to be gone, in milliseconds since 1970.
    gone: u64,
}

fn unix_millis() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_millis().try_into().unwrap()
}

/// Polls until a condition holds.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A query with default options.
pub(crate) async fn query(client: &Client, sql: &str) -> Result<(ResultSet, Timing), Error> {
    client.query(sql, &QueryOptions::default()).await
}

/// The rows of a query that must succeed.
pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Value>> {
    query(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).0.rows
}

/// The folder of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let killed = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(killed.unwrap().success(), "no process {pid}");
}

pub(crate) fn int(number: i64) -> Value {
    Value::Int(number)
}

pub(crate) fn words(text: &str) -> Value {
    Value::Text(text.to_owned())
}
