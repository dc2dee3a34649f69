//! Where the servers' binaries are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The module that the servers are built from; it alone says which version.
const MODULE: &str = include_str!("../servers/go.mod");

/// The Kubernetes version that the tests run on, such as `1.36.2`.
pub fn version() -> Result<&'static str> {
    let required = |line: &'static str| line.trim().strip_prefix("k8s.io/kubernetes v");
    let version = MODULE.lines().find_map(required);
    version
        .and_then(|rest| rest.split_whitespace().next())
        .context("e2e/servers/go.mod requires no k8s.io/kubernetes")
}

/// Path of a server that `scripts/setup.sh --kubernetes` (`make kubernetes`) has put into the cache.
pub fn server(name: &str) -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    let folder = Path::new(&home).join(".cache/opaque/kubernetes").join(version()?).join("bin");
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make kubernetes`", path.display());
    }
    Ok(path)
}
