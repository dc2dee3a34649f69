//! Locations of the servers' binaries.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The module from which the servers are built. Only this file defines their version.
const MODULE: &str = include_str!("../servers/go.mod");

/// The Kubernetes version of the tests, such as `1.36.2`.
pub fn version() -> Result<&'static str> {
    let required = |line: &'static str| line.trim().strip_prefix("k8s.io/kubernetes v");
    let version = MODULE.lines().find_map(required);
    version
        .and_then(|rest| rest.split_whitespace().next())
        .context("e2e/servers/go.mod requires no k8s.io/kubernetes")
}

/// Folder of all Kubernetes files, of all versions.
pub fn root() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/opaque/kubernetes"))
}

/// Folder of the servers and tools of [`version`].
pub fn folder() -> Result<PathBuf> {
    Ok(root()?.join(version()?).join("bin"))
}

/// Path of a server that `scripts/setup.sh --kubernetes` (`make kubernetes`) has put into the
/// cache.
pub fn server(name: &str) -> Result<PathBuf> {
    let path = folder()?.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make kubernetes`", path.display());
    }
    Ok(path)
}

/// Folder with the kinds of cert-manager, installed together with its binary.
pub fn kinds_of_cert_manager() -> Result<PathBuf> {
    let path = root()?.join(version()?).join("cert-manager-crds");
    if !path.is_dir() {
        bail!("{} is missing: run `make kubernetes`", path.display());
    }
    Ok(path)
}

/// The `PATH` for programs that use the servers: the servers' folder first, and administrators'
/// folders at the end.
pub fn path() -> Result<OsString> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = [folder()?].into_iter().chain(env::split_paths(&inherited)).chain(system);
    Ok(env::join_paths(folders)?)
}
