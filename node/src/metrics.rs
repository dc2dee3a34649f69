//! Counters of a node: `opaque_node_*` at `/metrics`.
//!
//! Labels are closed sets of codes. Nothing here depends on the value of a lookup, its table, or
//! its client. A query is counted by its outcome and its durations, which follow from public
//! geometry.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::{Code, Status};

use crate::error::reason;
use crate::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, NumberedRow, Replica, RowsCall,
    ShardCaller,
};

/// Upper bounds of the durations, in seconds.
const SECONDS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Why this node closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The handshake did not complete in time.
    Silent,
    /// Too many handshakes from this address.
    Handshakes,
    /// The client had too many connections.
    Client,
    /// The node had too many connections.
    All,
    /// The other side did not read an answer.
    Unread,
}

impl Closed {
    fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Handshakes => "handshakes",
            Self::Client => "client",
            Self::All => "all",
            Self::Unread => "unread",
        }
    }
}

/// All counters that change while requests run. Clones share the counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    queries: Family<Outcome, Counter>,
    seconds: Family<Stage, Histogram>,
    loads: Family<Outcome, Counter>,
    peer_failures: Family<Failure, Counter>,
    connections_closed: Family<Reason, Counter>,
    requests_refused: Family<Reason, Counter>,
    answers_unread: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            queries: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            loads: Family::default(),
            peer_failures: Family::default(),
            connections_closed: Family::default(),
            requests_refused: Family::default(),
            answers_unread: Counter::default(),
        }
    }
}

impl Metrics {
    /// A registry with these counts.
    pub fn registry(&self) -> Registry {
        // A metric that is not registered here does not compile.
        let Self {
            queries,
            seconds,
            loads,
            peer_failures,
            connections_closed,
            requests_refused,
            answers_unread,
        } = self;
        let mut registry = Registry::with_prefix("opaque_node");
        registry.register("queries", "Private lookups by outcome", queries.clone());
        registry.register_with_unit(
            "query_duration",
            "Duration of answered lookups by stage; scan and hint are those of the slowest shard",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("loads", "Loads by outcome", loads.clone());
        registry.register(
            "peer_failures",
            "Failed calls to replicas, by kind; each is retried at another replica",
            peer_failures.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that this node closed, by reason",
            connections_closed.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests of clients that were refused before their body was read, by reason",
            requests_refused.clone(),
        );
        registry.register(
            "answers_unread",
            "Answers that were dropped because the other side did not read them",
            answers_unread.clone(),
        );
        registry
    }

    /// Counts a connection that this node closed.
    pub fn closed(&self, reason: Closed) {
        self.connections_closed.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// Counts a request that was refused before it was read; `reason` is one of
    /// [`NodeError::class`](crate::error::NodeError::class).
    pub fn refused(&self, reason: &'static str) {
        self.requests_refused.get_or_create(&Reason { reason }).inc();
    }

    /// Counts an answer that was dropped because it was not read.
    pub fn unread(&self) {
        self.answers_unread.inc();
    }

    /// Counts a lookup. Its outcome is set by [`end`](Observed::end), or is "cancelled" without
    /// that.
    pub fn query(&self) -> Observed {
        Observed { counts: self.queries.clone(), outcome: "cancelled" }
    }

    /// Like [`query`](Self::query), for a load.
    pub fn load(&self) -> Observed {
        Observed { counts: self.loads.clone(), outcome: "cancelled" }
    }

    /// Records the durations of an answered lookup. `started` is when its first byte arrived.
    pub fn answered(&self, stages: Stages, started: Instant) {
        let Stages { scan, hint, total } = stages;
        let stages =
            [("scan", scan), ("hint", hint), ("answer", total), ("total", started.elapsed())];
        for (stage, duration) in stages {
            self.seconds.get_or_create(&Stage { stage }).observe(Duration::as_secs_f64(&duration));
        }
    }
}

/// Durations of an answered lookup.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// The scan of the slowest shard.
    pub scan: Duration,
    /// The hint product of the slowest shard.
    pub hint: Duration,
    /// From the last byte of the query to the answer.
    pub total: Duration,
}

/// One request, which is counted when this value is dropped.
#[derive(Debug)]
pub struct Observed {
    counts: Family<Outcome, Counter>,
    outcome: &'static str,
}

impl Observed {
    /// Sets the outcome.
    pub fn end<T>(mut self, result: &Result<T, Status>) {
        self.outcome = match result {
            Ok(_) => "ok",
            Err(status) => code(status),
        };
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.counts.get_or_create(&Outcome { outcome: self.outcome }).inc();
    }
}

/// Encodes metrics without labels: names, helps and values.
pub(crate) fn encode_all<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: fn(u64) -> M,
    all: impl IntoIterator<Item = (&'a str, &'a str, u64)>,
) -> fmt::Result {
    for (name, help, value) in all {
        let metric = metric(value);
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
    }
    Ok(())
}

/// The label for a status.
fn code(status: &Status) -> &'static str {
    match status.code() {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => match reason(status) {
            Some("unknown-keys") => "unknown_keys",
            Some("stale-epoch") => "stale_epoch",
            Some(_) | None => "failed_precondition",
        },
        Code::Aborted => "aborted",
        Code::Unavailable => "unavailable",
        Code::Unauthenticated => "unauthenticated",
        Code::Internal => "internal",
        Code::Unknown
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => "other",
    }
}

/// A [`ShardCaller`] that counts failures.
pub struct Counted {
    inner: Arc<dyn ShardCaller>,
    metrics: Metrics,
}

impl Counted {
    /// Counts the failures of `inner`.
    pub fn new(inner: Arc<dyn ShardCaller>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn count<T>(&self, result: &Result<T, CallError>) {
        let kind = match result {
            Ok(_) => return,
            Err(CallError::TryAnother(why)) if why == "unreachable" => "unreachable",
            Err(CallError::TryAnother(_)) => "refused",
            Err(CallError::UnknownKeys) => "unknown_keys",
            Err(CallError::Malformed) => "malformed",
        };
        self.metrics.peer_failures.get_or_create(&Failure { kind }).inc();
    }
}

#[async_trait]
impl ShardCaller for Counted {
    async fn evaluate(
        &self,
        replica: &Replica,
        call: &EvaluateCall,
    ) -> Result<EvaluateReply, CallError> {
        let result = self.inner.evaluate(replica, call).await;
        self.count(&result);
        result
    }

    async fn read_rows(
        &self,
        replica: &Replica,
        call: &RowsCall,
    ) -> Result<Vec<NumberedRow>, CallError> {
        let result = self.inner.read_rows(replica, call).await;
        self.count(&result);
        result
    }

    async fn describe(
        &self,
        replica: &Replica,
        table: &str,
        epoch: u64,
    ) -> Result<Description, CallError> {
        let result = self.inner.describe(replica, table, epoch).await;
        self.count(&result);
        result
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::error::NodeError;

    #[test]
    fn a_query_is_counted_only_by_its_outcome_and_a_dropped_one_as_cancelled() {
        let metrics = Metrics::default();
        metrics.query().end(&Ok(()));
        let stale = NodeError::StaleEpoch { table: "weather".into(), epoch: 4 };
        metrics.query().end::<()>(&Err(stale.into()));
        drop(metrics.query());
        let stages = Stages {
            scan: Duration::from_millis(7),
            hint: Duration::from_millis(3),
            total: Duration::from_millis(12),
        };
        metrics.answered(stages, Instant::now());

        let mut registry = Registry::with_prefix("opaque_node");
        registry.register("queries", "", metrics.queries.clone());
        registry.register_with_unit("query_duration", "", Unit::Seconds, metrics.seconds.clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "opaque_node_queries_total{outcome=\"ok\"} 1",
            "opaque_node_queries_total{outcome=\"stale_epoch\"} 1",
            "opaque_node_queries_total{outcome=\"cancelled\"} 1",
            "opaque_node_query_duration_seconds_bucket{le=\"0.01\",stage=\"scan\"} 1",
            "opaque_node_query_duration_seconds_bucket{le=\"0.005\",stage=\"scan\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("weather"));
    }
}
