//! Nothing is left of a cluster, however its runner ends: no processes, mounts, links, routes,
//! control groups or files. `make e2e` runs this before the tests that need a cluster, since a
//! machine runs only one at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use opaque_e2e::cluster::{CGROUP, network::HOST_LINK};
use opaque_e2e::{harness, poll, processes};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a cluster may take to start, including the wait until another one has ended.
const START: Duration = Duration::from_secs(900);
const END: Duration = Duration::from_secs(60);

/// A runner whose command prints the cluster's folder and process, and then waits.
struct Runner {
    child: Child,
    folder: PathBuf,
    init: u32,
}

impl Runner {
    async fn start() -> Result<Self> {
        let command = "echo $OPAQUE_E2E_FOLDER $OPAQUE_E2E_INIT; exec sleep 1000";
        let mut child = Command::new(harness::binary("e2e-cluster")?)
            .args(["--", "bash", "-c", command])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = timeout(START, lines.next_line()).await??.context("the runner ended early")?;
        let (folder, init) = line.split_once(' ').context("no folder and process")?;
        Ok(Self { child, folder: folder.into(), init: init.parse()? })
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("the runner has ended")
    }
}

#[tokio::test]
#[ignore = "needs root and the machine's only cluster: make e2e"]
async fn nothing_is_left_of_a_cluster_however_its_runner_ends() -> Result<()> {
    for signal in ["KILL", "TERM", "INT"] {
        let before = traces()?;
        let mut runner = Runner::start().await?;
        let started = processes::below(runner.init)?;
        let names: Vec<&str> = started.iter().map(processes::Seen::program).collect();
        ensure!(names.contains(&"kubelet"), "only {names:?} run");
        ensure!(traces()? != before, "a running cluster leaves no trace?");

        processes::signal(runner.id()?, signal).await?;
        timeout(END, runner.child.wait()).await??;
        let gone = || async {
            let left = traces()?;
            let running: Vec<_> =
                started.iter().filter(|process| processes::is_running(process.id)).collect();
            if left != before || !running.is_empty() || runner.folder.exists() {
                bail!("{left:#?} instead of {before:#?}, and {running:?}");
            }
            Ok(Some(()))
        };
        let (_, time) = poll::until("nothing is left", END, gone).await?;
        harness::measured(&format!("runner ended by SIG{signal} to nothing left"), time);
    }
    Ok(())
}

/// Everything that a cluster could leave: mounts, links, routes, control groups, and programs that
/// run for it.
fn traces() -> Result<Vec<String>> {
    let mut traces: Vec<String> = Vec::new();
    for file in ["/proc/self/mounts", "/proc/net/route"] {
        let text = fs::read_to_string(file)?;
        traces.extend(text.lines().filter(|line| line.contains("opaque-e2e")).map(str::to_owned));
    }
    if Path::new("/sys/class/net").join(HOST_LINK).exists() {
        traces.push(format!("link {HOST_LINK}"));
    }
    for controller in fs::read_dir("/sys/fs/cgroup")? {
        let group = controller?.path().join(CGROUP);
        if group.exists() {
            traces.push(group.display().to_string());
        }
    }
    // Without the janitor, the processes of the runner's command would outlive a killed runner.
    for process in processes::all()? {
        if process.command == ["sleep", "1000"] {
            traces.push(format!("process {}", process.id));
        }
    }
    Ok(traces)
}
