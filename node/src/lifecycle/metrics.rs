//! Metrics of a node's relation to the others, and of the leader's probes.

use std::fmt;
use std::sync::Arc;

use opaque_store::UnixMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::TurnedAway;
use crate::coordination::Coordination;
use crate::metrics::encode_all;
use crate::shard::replica::ReplicaState;

/// Outcome of a probe as a label. It never names the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Results of the leader's probes. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct ProbeMetrics {
    probes: Family<Outcome, Counter>,
    last_success: Gauge,
    failing: Gauge,
}

impl ProbeMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        // A metric that is not registered here does not compile.
        let Self { probes, last_success, failing } = self;
        registry.register(
            "probes",
            "Self-tests of served tables that the leader ran, by outcome",
            probes.clone(),
        );
        registry.register(
            "probe_last_success_seconds",
            "Time of the last successful self-test, in seconds since 1970; 0 before the first",
            last_success.clone(),
        );
        registry.register(
            "failing_probes",
            "Tables whose last self-test failed; 0 except on the leader",
            failing.clone(),
        );
    }

    pub(super) fn succeeded(&self, now: UnixMillis) {
        self.count("ok");
        self.last_success.set(i64::try_from(now.seconds()).unwrap_or(i64::MAX));
    }

    pub(super) fn failed(&self, wrong: bool) {
        self.count(if wrong { "wrong" } else { "failed" });
    }

    pub(super) fn failing(&self, tables: usize) {
        self.failing.set(i64::try_from(tables).unwrap_or(i64::MAX));
    }

    fn count(&self, outcome: &'static str) {
        self.probes.get_or_create(&Outcome { outcome }).inc();
    }
}

/// A node's relation to the others at the time of a scrape.
pub struct Outlook {
    /// State that the node reports about itself.
    pub state: Arc<ReplicaState>,
    /// Why the node turns clients away.
    pub turned_away: TurnedAway,
    /// The coordination backend.
    pub coordination: Arc<dyn Coordination>,
}

impl fmt::Debug for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlook")
    }
}

impl Collector for Outlook {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { state, turned_away, coordination } = self;
        let record = state.record(UnixMillis::now(), 0);
        let unreachable = record.unreachable.len() as u64;
        let gauges = [
            ("unreachable_shards", "Shards of which the node reaches no replica", unreachable),
            (
                "store_unreadable",
                "1 if the last attempt to read the object store failed; the node tries once a minute",
                u64::from(record.store.is_some()),
            ),
            (
                "turned_away",
                "1 if the node turns clients away because it does not reach every shard; it still answers peers",
                u64::from(turned_away.is_cut_off()),
            ),
            (
                "watch_silent_seconds",
                "Seconds since the node last read the cluster's state",
                coordination.silence().as_secs(),
            ),
        ];
        encode_all(&mut encoder, ConstGauge::new, gauges)
    }
}
