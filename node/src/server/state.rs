//! The node's state as metrics.

use std::fmt;
use std::sync::Arc;

use opaque_ops::admin::Readiness;
use opaque_store::UnixMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::encode_all;
use crate::shard::local::LocalShard;
use crate::shard::replica::ReplicaState;

/// The node's state at the time of a scrape.
pub(super) struct StateMetrics {
    pub(super) state: Arc<ReplicaState>,
    pub(super) local: Arc<LocalShard>,
    pub(super) readiness: Readiness,
}

impl fmt::Debug for StateMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateMetrics")
    }
}

impl Collector for StateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let bytes = self.local.resident_bytes();
        let record = self.state.record(UnixMillis::now(), bytes);
        let gauges = [
            ("generation", "Generation of the shard map that is served", record.active_generation),
            (
                "prepared_generation",
                "Newest generation that is ready to be served",
                record.prepared_generation,
            ),
            (
                "proposal_waited_seconds",
                "Seconds that the proposed shard map has waited for the nodes; 0 except on the leader",
                self.state.waited(),
            ),
            ("ready", "Whether the node is ready", u64::from(self.readiness.is_ready())),
            (
                "missing_tables",
                "Tables of the active generation that the node cannot serve",
                record.missing.len() as u64,
            ),
            ("resident_bytes", "Bytes of partitions and hint tables in memory", bytes),
            (
                "large_page_bytes",
                "Resident bytes for which the system accepted the request for 2 MiB pages",
                self.local.large_page_bytes(),
            ),
        ];
        encode_all(&mut encoder, ConstGauge::new, gauges)?;
        let (passes, lookups) = self.local.passes();
        let counters = [
            ("passes", "Passes over this shard's part of an index", passes),
            (
                "pass_lookups",
                "Lookups answered by passes; concurrent requests share a pass",
                lookups,
            ),
        ];
        encode_all(&mut encoder, ConstCounter::new, counters)
    }
}
