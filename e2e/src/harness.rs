//! What a test in a cluster uses.
//!
//! **Map.** [`namespace`] gives each test a place of its own, and tells what was in it when the test
//! fails; [`faults`] kills, stops and restarts; [`lead`] tells who holds a Lease; [`audit`] counts calls of the API; [`product`] installs Opaque as a user does; [`query_loop`] asks
//! private questions all the time and checks the answers.
//!
//! **Flow.** A test is `harness::run("name", async |namespace| ...)`: it makes the namespace, runs the
//! body, shows pods, logs, events and our objects if the body failed, and deletes the namespace.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::sync::RwLock;

pub use self::audit::Audit;
pub use self::faults::{Faults, Paused};
pub use self::lead::Lead;
pub use self::namespace::Namespace;
pub use self::query_loop::{QueryLoop, Question, Summary};

pub mod audit;
pub mod faults;
pub mod lead;
pub mod namespace;
pub mod product;
pub mod query_loop;

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

/// Like [`run`], while no other test runs: for tests that stop a server of the cluster, or measure what
/// the whole cluster does.
pub async fn run_alone<B>(name: &str, body: B) -> Result<()>
where
    B: AsyncFnOnce(&Namespace) -> Result<()>,
{
    let _nobody = ALONE.write().await;
    in_namespace(name, body).await
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
    let result = body(&namespace).await;
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

/// A program of this workspace, built by `make build`: beside the folder of the test's own program.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("no folder of programs")?;
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make images`", path.display());
    }
    Ok(path)
}

/// A variable that `e2e-cluster` sets.
fn variable(name: &str) -> Result<OsString> {
    std::env::var_os(name)
        .with_context(|| format!("{name} is not set: this test needs the cluster of `make e2e`"))
}
