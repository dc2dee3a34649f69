//! Metrics of the agreement.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::Snapshot;
use crate::metrics::encode_all;

/// The shard map at the time of a scrape.
#[derive(Debug)]
pub struct MapMetrics(pub watch::Receiver<Arc<Snapshot>>);

impl Collector for MapMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&self.0.borrow());
        let newest = snapshot.proposed.as_ref().or(snapshot.active.as_ref());
        // Before the first map there is nothing to report.
        let Some(map) = newest else { return Ok(()) };
        let help = "Shards of the newest shard map, proposed or active";
        let gauge = ("map_shards", help, map.shards.count() as u64);
        encode_all(&mut encoder, ConstGauge::new, [gauge])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::Map;
    use crate::support;

    #[test]
    fn the_newest_map_is_reported() {
        let map = |generation, shards| support::map(generation, shards, &[]);
        let text = |active: Option<Map>, proposed: Option<Map>| {
            let snapshot = Snapshot { active, proposed, ..Snapshot::default() };
            support::scrape(MapMetrics(watch::channel(Arc::new(snapshot)).1))
        };
        assert!(!text(None, None).contains("map_shards"));
        assert!(text(Some(map(1, 3)), None).contains("map_shards 3\n"));
        assert!(text(Some(map(1, 3)), Some(map(2, 7))).contains("map_shards 7\n"));
    }
}
