//! Calls every shard at a replica that answers. The result is complete, or an error.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::error::NodeError;
use crate::map::call::{CallError, Replica};

/// Rounds over a shard's replicas before the shard counts as unavailable.
const ROUNDS: usize = 3;
/// Pause before the second round. It doubles for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a shard may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Deadline of the whole query.
    pub deadline: Instant,
    /// How long one replica may take before another is called as well.
    pub hedge_after: Duration,
}

/// The next attempt at a shard with `replicas` replicas, after `attempts` earlier ones: the
/// position in their order from which to pick an idle one, and the pause before the attempt. `None`
/// if the shard is unavailable.
///
/// Depends only on counts, never on the content of a request.
fn next_attempt(replicas: usize, attempts: usize) -> Option<(usize, Duration)> {
    let round = attempts.checked_div(replicas)?;
    let pause = match (round, attempts % replicas) {
        (0, _) | (_, 1..) => Duration::ZERO,
        (round, 0) => PAUSE * (1 << (round - 1)),
    };
    (round < ROUNDS).then_some((attempts % replicas, pause))
}

/// The first replica from `place` on, cyclically, that has no call in progress.
fn idle<'a>(replicas: &'a [Replica], place: usize, asked: &[String]) -> Option<&'a Replica> {
    let circle = replicas.iter().cycle().skip(place).take(replicas.len());
    circle.into_iter().find(|replica| !asked.contains(&replica.node))
}

/// Calls one replica of each shard, all shards at once. If a replica fails or is slow, another one
/// is called.
///
/// **Guarantees.** Returns every shard's reply, or an error. The first unavailable shard fails the
/// whole call with its name, and the other calls are dropped. **Assumes** that calls are
/// idempotent, since a hedged call may run twice.
///
/// # Errors
/// [`NodeError::ShardUnavailable`] with the shard if its replicas fail or the deadline passes;
/// [`NodeError::UnknownKeys`] and [`NodeError::Malformed`] as soon as one replica reports it.
pub(crate) async fn gather<T, F, Fut>(
    shards: &BTreeMap<u32, Vec<Replica>>,
    patience: Patience,
    ask: F,
) -> Result<Vec<(u32, T)>, NodeError>
where
    F: Fn(Replica) -> Fut,
    Fut: Future<Output = Result<T, CallError>>,
{
    try_join_all(shards.iter().map(|(shard, replicas)| {
        let ask = &ask;
        async move { Ok((*shard, ask_shard(*shard, replicas, patience, ask).await?)) }
    }))
    .await
}

async fn ask_shard<T, F, Fut>(
    shard: u32,
    replicas: &[Replica],
    patience: Patience,
    ask: &F,
) -> Result<T, NodeError>
where
    F: Fn(Replica) -> Fut,
    Fut: Future<Output = Result<T, CallError>>,
{
    let mut started = 0;
    let mut failures: Vec<(String, String)> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    let mut running = FuturesUnordered::new();
    let mut start_at = Some(Instant::now());
    let lost = |failures: &[(String, String)], why: &str| NodeError::ShardUnavailable {
        shard,
        reason: if failures.is_empty() { why.to_owned() } else { said(failures) },
    };
    loop {
        tokio::select! {
            biased;
            () = sleep_until(patience.deadline) => {
                return Err(lost(&failures, "no replica answered before the deadline"));
            }
            Some((node, outcome)) = running.next() => match outcome {
                Ok(reply) => return Ok(reply),
                Err(CallError::UnknownKeys) => return Err(NodeError::UnknownKeys),
                Err(CallError::Malformed) => {
                    return Err(NodeError::Malformed("malformed query".into()));
                }
                Err(CallError::TryAnother(why)) => {
                    tracing::debug!(shard, %node, %why, "replica failed");
                    asked.retain(|running| *running != node);
                    failures.retain(|(failed, _)| *failed != node);
                    failures.push((node, why));
                    start_at = next_attempt(replicas.len(), started)
                        .map(|(_, pause)| Instant::now() + pause);
                }
            },
            () = maybe_sleep(start_at) => {
                let replica = next_attempt(replicas.len(), started)
                    .and_then(|(place, _)| idle(replicas, place, &asked));
                start_at = None;
                if let Some(replica) = replica {
                    started += 1;
                    asked.push(replica.node.clone());
                    let (node, call) = (replica.node.clone(), ask(replica.clone()));
                    running.push(async move { (node, call.await) });
                    if started < replicas.len() {
                        start_at = Some(Instant::now() + patience.hedge_after);
                    }
                }
            }
        }
        if running.is_empty() && start_at.is_none() {
            return Err(lost(&failures, "no live replica"));
        }
    }
}

/// The last error of each replica.
fn said(failures: &[(String, String)]) -> String {
    let words: Vec<String> = failures.iter().map(|(node, why)| format!("{node}: {why}")).collect();
    words.join("; ")
}

async fn maybe_sleep(until: Option<Instant>) {
    match until {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
