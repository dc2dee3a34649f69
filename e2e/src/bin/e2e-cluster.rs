//! Runs a command with a Kubernetes cluster: `e2e-cluster -- COMMAND...`.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use opaque_e2e::Cluster;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

/// How long the command may take to end after a signal.
const GRACE: Duration = Duration::from_secs(20);

/// Starts a Kubernetes cluster on this machine, runs COMMAND with KUBECONFIG set, and removes the
/// cluster.
///
/// The exit status is that of COMMAND.
#[derive(Debug, Parser)]
struct Arguments {
    /// Use the cluster of KUBECONFIG instead; its nodes must have the images
    #[arg(long)]
    existing: bool,
    /// Folder of images to import (*.tar); default: `images` next to this program's folder
    #[arg(long)]
    images: Option<PathBuf>,
    /// Where to put the servers' logs when COMMAND fails
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Command to run
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let status = if arguments.existing {
        if std::env::var_os("KUBECONFIG").is_none() {
            bail!("--existing needs KUBECONFIG");
        }
        run(&arguments.command, Vec::new()).await?
    } else {
        with_cluster(&arguments).await?
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

async fn with_cluster(arguments: &Arguments) -> Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let start = Instant::now();
    let images = images(arguments)?;
    let cluster = tokio::select! {
        cluster = Cluster::start(&images) => cluster?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    eprintln!("e2e: cluster is ready after {:.1} s", start.elapsed().as_secs_f32());
    let result = run(&arguments.command, cluster.environment()?).await;
    if let (Some(logs), false) = (&arguments.logs, result.as_ref().is_ok_and(ExitStatus::success)) {
        cluster.save_logs(logs)?;
        eprintln!("e2e: logs of the servers are in {}", logs.display());
    }
    let time = cluster.stop()?;
    eprintln!("e2e: cluster is gone after {:.1} s", time.as_secs_f32());
    result
}

/// Runs the command and forwards signals that would end this process.
async fn run(
    words: &[String],
    environment: Vec<(&'static str, std::ffi::OsString)>,
) -> Result<ExitStatus> {
    let (program, arguments) = words.split_first().context("no command")?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let passed_on = tokio::select! {
        status = child.wait() => return Ok(status?),
        // A terminal has already sent the signal to the command. Sending it twice does no harm.
        _ = interrupt.recv() => "INT",
        _ = terminate.recv() => "TERM",
    };
    if let Some(id) = child.id() {
        opaque_e2e::processes::signal(id, passed_on).await?;
    }
    eprintln!("e2e: interrupted; waiting for the command's end");
    match timeout(GRACE, child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            child.kill().await?;
            Ok(child.wait().await?)
        }
    }
}

fn images(arguments: &Arguments) -> Result<Vec<PathBuf>> {
    let own = std::env::current_exe()?;
    let beside = || own.parent().and_then(Path::parent).map(|folder| folder.join("images"));
    let folder = arguments.images.clone().or_else(beside).context("no folder of images")?;
    let mut images = Vec::new();
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("no images in {}: run `make images`", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}
