//! The harness for tests in a cluster.
//!
//! **Map.** [`namespace`] gives each test a separate namespace, and prints its content if the test
//! fails. [`faults`] kills, stops and restarts, [`network`] cuts pods off. [`containers`] detects
//! restarts, [`lead`] reads the holder of a Lease, [`audit`] counts API calls. [`product`] installs
//! Opaque as a user does. [`query_loop`] sends private queries continuously and checks the answers,
//! and [`way`] is how these queries reach the cluster.
//!
//! **Flow.** A test is `harness::run("name", async |namespace| ...)`. It creates the namespace,
//! runs the body, prints pods, logs, events and our objects if the body failed, and deletes the
//! namespace.
//!
//! | | concurrent with others of `run` | concurrent with one of `run_alone` |
//! |---|---|---|
//! | [`run`] | yes | no |
//! | [`run_alone`] | no | no |
//! | [`run_beside_all`] | yes | once it is prepared |
//!
//! **Any cluster.** In a cluster that `e2e-cluster` did not start (`make e2e EXISTING=1`), servers
//! cannot be killed and there is no audit log: [`Faults::new`] and [`Audit::new`] fail with
//! [`NotOurCluster`], and the test is skipped. A test that needs them calls them first.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::sync::RwLock;

pub use self::audit::Audit;
pub use self::containers::Containers;
pub use self::faults::Faults;
pub use self::lead::Lead;
pub use self::namespace::Namespace;
pub use self::network::{Block, Cut};
pub use self::query_loop::{QueryLoop, Question, Summary};
pub use self::way::Way;

pub mod audit;
pub mod containers;
pub mod faults;
pub mod lead;
pub mod namespace;
pub mod network;
pub mod product;
pub mod query_loop;
pub mod way;

/// A cluster's port for clients (docs/decisions/009).
const PORT: u16 = 7100;

/// Write-locked by a test that disturbs all others.
static ALONE: RwLock<()> = RwLock::const_new(());

/// Runs a test's body in a new namespace, concurrently with others.
pub async fn run(name: &str, body: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let _others = ALONE.read().await;
    in_namespace(name, body).await
}

/// Like [`run`], while no other test runs. For tests that stop a server of the cluster, or measure
/// the whole cluster.
pub async fn run_alone(name: &str, body: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let _alone = ALONE.write().await;
    in_namespace(name, body).await
}

/// Like [`run`]. Once it is prepared, it also runs concurrently with a test of [`run_alone`]. For
/// tests that last too long for others to wait. Its body must tolerate restarts of the API server.
pub async fn run_beside_all<T>(
    name: &str,
    prepare: impl AsyncFnOnce(&Namespace) -> Result<T>,
    body: impl AsyncFnOnce(&Namespace, T) -> Result<()>,
) -> Result<()> {
    let others = ALONE.read().await;
    let both = async move |namespace: &Namespace| {
        let prepared = prepare(namespace).await?;
        drop(others);
        body(namespace, prepared).await
    };
    in_namespace(name, both).await
}

async fn in_namespace(name: &str, body: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    if std::env::var_os("KUBECONFIG").is_none() {
        bail!("needs a cluster: `make e2e`, or KUBECONFIG (e2e/kind.sh)");
    }
    let client = Client::try_default().await.context("cannot read KUBECONFIG")?;
    let namespace = Namespace::create(client, name).await?;
    let mut result = body(&namespace).await;
    if result.as_ref().is_err_and(|error| error.is::<NotOurCluster>()) {
        println!("skipped: {name} needs the cluster of `make e2e`");
        result = Ok(());
    }
    if result.is_err() {
        eprintln!("{}", namespace.dump().await);
    }
    // The namespace is deleted even after a failure, since the next test needs its memory. The
    // first error is reported.
    let deleted = namespace.delete().await;
    result?;
    deleted
}

/// Prints a measurement of a test.
pub fn measured(what: &str, time: Duration) {
    println!("measured: {what}: {:.2} s", time.as_secs_f64());
}

/// A program of this workspace as it is shipped. `make build` puts it into `$OPAQUE_BIN_DIR`.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("OPAQUE_BIN_DIR").context("OPAQUE_BIN_DIR is not set")?;
    let path = PathBuf::from(folder).join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make images`", path.display());
    }
    Ok(path)
}

/// A variable that `e2e-cluster` sets.
fn variable(name: &'static str) -> Result<OsString, NotOurCluster> {
    std::env::var_os(name).ok_or(NotOurCluster(name))
}

/// `e2e-cluster` did not start the cluster: this variable, which it sets, is missing.
#[derive(Debug)]
pub struct NotOurCluster(&'static str);

impl fmt::Display for NotOurCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not set: this needs the cluster of `make e2e`", self.0)
    }
}

impl std::error::Error for NotOurCluster {}
