//! Runs programs until they end.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a program and returns its standard output. An error contains both outputs.
pub async fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    success(command, limit).await
}

/// Like [`run`], for a prepared command.
pub async fn success(command: Command, limit: Duration) -> Result<String> {
    let what = describe(&command);
    printed(&what, &output(command, limit).await?)
}

/// Runs a command within `limit`, whatever its exit status.
pub async fn output(mut command: Command, limit: Duration) -> Result<Output> {
    let what = describe(&command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(limit, command.output()).await {
        Ok(output) => output.with_context(|| format!("cannot run {what}")),
        Err(_) => bail!("{what} did not end within {limit:?}"),
    }
}

/// Like [`success`], with `input` on its standard input.
pub async fn with_input(mut command: Command, input: &str, limit: Duration) -> Result<String> {
    let what = describe(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot run {what}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let bytes = input.to_owned().into_bytes();
    let writer = tokio::spawn(async move { stdin.write_all(&bytes).await });
    let Ok(output) = timeout(limit, child.wait_with_output()).await else {
        bail!("{what} did not end within {limit:?}");
    };
    let output = output?;
    writer.await??;
    printed(&what, &output)
}

/// The standard output of a command that succeeded.
fn printed(what: &str, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{what} ended with {}:\n{stderr}{stdout}", output.status)
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
