//! How a user's program reaches a cluster's Service.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::{Faults, Namespace, NotOurCluster, PORT};

/// How long `kubectl` may take until it listens.
const LISTEN: Duration = Duration::from_secs(30);

/// The path into a cluster.
#[derive(Clone, Debug)]
pub enum Way {
    /// Our cluster: with its network and DNS, like a program inside.
    Inside(Faults),
    /// Any cluster: through `kubectl port-forward`, like a user outside.
    Forwarded(Namespace),
}

impl Way {
    /// The path to the Services of a namespace.
    pub fn to(namespace: &Namespace) -> Result<Self> {
        match Faults::new() {
            Ok(faults) => Ok(Self::Inside(faults)),
            Err(error) if error.is::<NotOurCluster>() => Ok(Self::Forwarded(namespace.clone())),
            Err(error) => Err(error),
        }
    }
}

/// `kubectl port-forward` to cluster `demo`. Dropping it ends it.
///
/// It forwards to one pod and ends with that pod, so each query starts a new one.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    _kubectl: Child,
    // kubectl writes a line for each connection, and dies if its output is closed.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    /// Starts forwarding on a free port.
    pub async fn start(namespace: &Namespace) -> Result<Self> {
        let ports = format!(":{PORT}");
        let arguments = ["port-forward", "--address=127.0.0.1", "service/demo-query", &ports];
        let mut kubectl = namespace
            .tool("kubectl", &arguments)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run kubectl")?;
        let stdout = kubectl.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line =
            timeout(LISTEN, lines.next_line()).await.context("kubectl does not forward")??;
        let line = line.context("kubectl port-forward has ended")?;
        let port = port(&line).with_context(|| format!("kubectl said: {line}"))?;
        Ok(Self { port, _kubectl: kubectl, _lines: lines })
    }

    /// The local URL, with a name that the servers' certificate contains.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

/// The port in `Forwarding from 127.0.0.1:40123 -> 7100`.
fn port(line: &str) -> Option<u16> {
    let (from, _) = line.strip_prefix("Forwarding from 127.0.0.1:")?.split_once(' ')?;
    from.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_tells_the_port() {
        assert_eq!(port("Forwarding from 127.0.0.1:40123 -> 7100"), Some(40123));
        assert_eq!(port("error: timed out"), None);
    }
}
