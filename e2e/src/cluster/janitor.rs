//! The process that holds a cluster's namespaces and cleans up after them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{CGROUP, network};
use crate::{cache, poll, processes};

/// A running `cluster/janitor.sh`. It ends, with everything that it holds, when its standard input
/// is closed: when this value is dropped or this process dies.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    stdin: Option<ChildStdin>,
    holder: u32,
    folder: PathBuf,
}

impl Janitor {
    /// Starts the janitor for a folder that [`super::files::write`] has filled, and waits for the
    /// end of other clusters. From here on, the janitor removes the folder.
    pub async fn start(folder: TempDir) -> Result<Self> {
        let lock = cache::root()?.join("cluster-lock");
        let path = folder.path().to_path_buf();
        let mut child = Command::new("setsid")
            .arg(path.join("janitor.sh"))
            .arg(&path)
            .arg(lock)
            .args([CGROUP, network::HOST_LINK])
            .env("PATH", cache::path()?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the janitor")?;
        let stdin = child.stdin.take();
        let output = child.stdout.take().context("the janitor has no output")?;
        let folder = folder.keep();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = line.await??;
        let Ok(holder) = line.trim().parse() else {
            bail!("the janitor ended early: {}", child.wait()?)
        };
        Ok(Self { child, stdin, holder, folder })
    }

    /// Process id that holds the namespaces.
    pub fn holder(&self) -> u32 {
        self.holder
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until the namespaces are prepared. Returns their first process.
    pub async fn init(&self, limit: Duration) -> Result<u32> {
        let marker = self.folder.join("run/inside");
        let find = || async {
            if !marker.exists() {
                if !processes::is_running(self.holder) {
                    return Ok(Some(None));
                }
                return Ok(None);
            }
            let mut children = processes::all()?.into_iter().filter(|p| p.parent == self.holder);
            Ok(children.next().map(|child| Some(child.id)))
        };
        let (init, _) = poll::until("the namespaces are prepared", limit, find).await?;
        init.with_context(|| {
            let log = fs::read_to_string(self.folder.join("log/inside.log"));
            format!("the namespaces ended: {}", log.unwrap_or_default())
        })
    }

    /// Ends the cluster and waits until nothing is left.
    pub fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        self.child.wait()?;
        if self.folder.exists() {
            bail!("{} could not be removed", self.folder.display());
        }
        Ok(())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // `drop` cannot report a failure.
        let _ = self.child.wait();
    }
}
