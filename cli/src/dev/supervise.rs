//! Keeps node processes running, and stops them.

use std::{fs, path::PathBuf, pin::pin, time::Duration};

use tokio::{
    process::Child,
    time::{Instant, timeout},
};

use super::{
    DevError,
    layout::{Layout, Node},
    process, say,
};

/// Default query deadline of a node, which an environment variable of nodes overrides.
const QUERY_DEADLINE_SECONDS: u64 = 30;
/// Time that a node needs to end in addition to twice the query deadline, with a margin of some
/// seconds.
const GRACE_SECONDS: u64 = 20;
/// Number of deaths of one node before the cluster has served once at which the command fails.
const FIRST_DEATHS: u32 = 3;
/// A node that ran this long is restarted without delay.
const STEADY: Duration = Duration::from_secs(60);

/// How long nodes may drain before they are killed. It exceeds the time that a node gives its
/// connections and its shutdown (`grace` in opaque-ops, which clients do not link because it
/// depends on a Kubernetes client). `query_deadline` is in seconds.
fn grace(query_deadline: u64) -> Duration {
    Duration::from_secs(query_deadline.saturating_mul(2).saturating_add(GRACE_SECONDS))
}

/// The nodes' query deadline in seconds, from the environment variable that they inherit.
fn query_deadline() -> u64 {
    let deadline = std::env::var("OPAQUE_QUERY_DEADLINE_S").ok();
    deadline.and_then(|seconds| seconds.parse().ok()).unwrap_or(QUERY_DEADLINE_SECONDS)
}

/// Delay before the restart of a node that died `deaths` times in quick succession.
fn backoff(deaths: u32) -> Duration {
    Duration::from_millis(500) * (1 << deaths.saturating_sub(1).min(6))
}

/// The children of one `opaque dev`.
pub(crate) struct Supervisor<'a> {
    layout: &'a Layout,
    binary: PathBuf,
    threads: Option<u16>,
    restart: bool,
    children: Vec<Watched<'a>>,
}

struct Watched<'a> {
    node: &'a Node,
    state: State,
    /// Number of deaths in quick succession.
    deaths: u32,
}

enum State {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
    Dead,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        layout: &'a Layout,
        binary: PathBuf,
        threads: Option<u16>,
        restart: bool,
    ) -> Self {
        Self { layout, binary, threads, restart, children: Vec::new() }
    }

    /// Starts every node. Must run on a thread that outlives them.
    pub(crate) fn start_all(&mut self) -> Result<(), DevError> {
        for node in self.layout.nodes() {
            let child = process::start(&self.binary, self.layout, node, self.threads)?;
            let state = State::Running { child, since: Instant::now() };
            self.children.push(Watched { node, state, deaths: 0 });
        }
        Ok(())
    }

    /// Detects nodes that died, and restarts those whose delay has passed.
    ///
    /// # Errors
    /// A node keeps dying and the cluster has not `served` once.
    pub(crate) fn look(&mut self, served: bool) -> Result<(), DevError> {
        let now = Instant::now();
        for watched in &mut self.children {
            match &mut watched.state {
                State::Running { child, since } => {
                    let ended = child.try_wait();
                    let Ok(Some(status)) = ended else { continue };
                    let steady = now - *since > STEADY;
                    watched.deaths = if steady { 1 } else { watched.deaths + 1 };
                    let name = &watched.node.name;
                    // The file may be gone already. A stale one would name an unrelated process.
                    let _ = fs::remove_file(self.layout.pid_file(watched.node));
                    if !served && (watched.deaths >= FIRST_DEATHS || !self.restart) {
                        return Err(DevError::NodeFailed {
                            node: name.clone(),
                            status: status.to_string(),
                            log: process::log_end(&self.layout.log_file(watched.node)),
                        });
                    }
                    if self.restart {
                        let pause = backoff(watched.deaths);
                        say(&format!(
                            "node {name} stopped ({status}); starting it again in {} s (log: {})",
                            pause.as_secs_f32(),
                            self.layout.log_file(watched.node).display()
                        ));
                        watched.state = State::Waiting { until: now + pause };
                    } else {
                        say(&format!("node {name} stopped ({status})"));
                        watched.state = State::Dead;
                    }
                }
                State::Waiting { until } if *until <= now => {
                    let child =
                        process::start(&self.binary, self.layout, watched.node, self.threads)?;
                    watched.state = State::Running { child, since: now };
                }
                State::Waiting { .. } | State::Dead => {}
            }
        }
        Ok(())
    }

    /// Lets every node drain until the grace period is over or `at_once` completes, and then kills
    /// the remaining ones.
    pub(crate) async fn stop(self, at_once: impl Future<Output = ()>) {
        let mut at_once = pin!(timeout(grace(query_deadline()), at_once));
        // The reason to stop waiting, if there is one.
        let mut over = None;
        for watched in &self.children {
            if let State::Running { child, .. } = &watched.state {
                process::terminate(child);
            }
        }
        for watched in self.children {
            let State::Running { mut child, .. } = watched.state else { continue };
            if over.is_none() {
                tokio::select! {
                    _ = child.wait() => {}
                    told = &mut at_once => {
                        let late = "did not stop in time";
                        over = Some(if told.is_ok() { "is not waited for" } else { late });
                    }
                }
            }
            if let (Some(why), Ok(None)) = (over, child.try_wait()) {
                say(&format!("node {} {why}; killing it", watched.node.name));
                // An error means that it has ended in between.
                let _ = child.kill().await;
            }
            let _ = fs::remove_file(self.layout.pid_file(watched.node));
        }
    }
}

#[cfg(test)]
mod tests {
    use opaque_ops::drain;

    use super::*;

    #[test]
    fn backoff_grows_and_is_bounded() {
        let pauses: Vec<u128> = (1..10).map(|deaths| backoff(deaths).as_millis()).collect();
        assert_eq!(pauses[..4], [500, 1000, 2000, 4000]);
        assert!(pauses.iter().all(|pause| *pause <= 32_000));
    }

    #[test]
    fn no_node_is_killed_before_its_own_time_to_end_is_over() {
        assert_eq!(QUERY_DEADLINE_SECONDS, drain::QUERY_DEADLINE_SECONDS);
        for seconds in [1, QUERY_DEADLINE_SECONDS, 600, 1 << 40] {
            let node = drain::grace(Duration::ZERO, Duration::from_secs(seconds));
            assert!(grace(seconds) >= node, "{seconds}");
        }
    }
}
