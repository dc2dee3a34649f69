//! What a test in a cluster uses.
//!
//! **Map.** [`namespace`] gives each test a place of its own, and tells what was in it when the test
//! fails; [`faults`] kills, stops and restarts, [`network`] cuts pods off; [`containers`] tells
//! whether one was restarted; [`lead`] tells who holds a Lease; [`audit`] counts calls of the API;
//! [`product`] installs Opaque as a user does; [`query_loop`] asks private questions all the time
//! and checks the answers; [`way`] is how those questions get into the cluster.
//!
//! **Flow.** A test is `harness::run("name", async |namespace| ...)`: it makes the namespace, runs the
//! body, shows pods, logs, events and our objects if the body failed, and deletes the namespace.
//!
//! | | beside others of `run` | beside one of `run_alone` |
//! |---|---|---|
//! | [`run`] | yes | no |
//! | [`run_alone`] | no | no |
//! | [`run_beside_all`] | yes | once it is prepared |
//!
//! **Any cluster.** With a cluster of somebody else (`make e2e EXISTING=1`) there is nothing to kill, and no
//! audit log: [`Faults::new`] and [`Audit::new`] fail with [`NotOurCluster`], and the test is
//! skipped. A test that needs them asks for them first.

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

/// Held for writing by a test that disturbs all others.
static ALONE: RwLock<()> = RwLock::const_new(());

/// Runs a test's body in a namespace of its own, beside others.
pub async fn run<B>(name: &str, body: B) -> Result<()>
where
    B: AsyncFnOnce(&Namespace) -> Result<()>,
{
    let _others = ALONE.read().await;
    in_namespace(name, body).await
}

/// Like [`run`], while no other test runs: for tests that stop a server of the cluster, or measure
/// what the whole cluster does.
pub async fn run_alone<B>(name: &str, body: B) -> Result<()>
where
    B: AsyncFnOnce(&Namespace) -> Result<()>,
{
    let _nobody = ALONE.write().await;
    in_namespace(name, body).await
}

/// Like [`run`], and once it is prepared also beside a test that runs alone: for one that lasts so
/// long that no other can wait for it. Its body has to bear that the API server is restarted.
pub async fn run_beside_all<P, T, B>(name: &str, prepare: P, body: B) -> Result<()>
where
    P: AsyncFnOnce(&Namespace) -> Result<T>,
    B: AsyncFnOnce(&Namespace, T) -> Result<()>,
{
    let others = ALONE.read().await;
    let both = async move |namespace: &Namespace| {
        let prepared = prepare(namespace).await?;
        drop(others);
        body(namespace, prepared).await
    };
    in_namespace(name, both).await
}

async fn in_namespace<B>(name: &str, body: B) -> Result<()>
where
    B: AsyncFnOnce(&Namespace) -> Result<()>,
{
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
    // The next test needs its memory; a test that has failed is not to fail for this, too.
    let deleted = namespace.delete().await;
    result?;
    deleted
}

/// Prints what a test has measured, where a reader of the whole run finds it.
pub fn measured(what: &str, time: Duration) {
    println!("measured: {what}: {:.2} s", time.as_secs_f64());
}

/// A program of this workspace as it is shipped: `make build` puts it into `$OPAQUE_BIN_DIR`.
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

/// The cluster is somebody else's: this variable, which `e2e-cluster` sets, is not there.
#[derive(Debug)]
pub struct NotOurCluster(&'static str);

impl fmt::Display for NotOurCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not set: this needs the cluster of `make e2e`", self.0)
    }
}

impl std::error::Error for NotOurCluster {}
