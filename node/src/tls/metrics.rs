//! When certificates end and what became of reloads, at `/metrics`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Tls;

/// The state of a node's TLS at the moment of a scrape.
#[derive(Debug)]
pub struct Lives(pub Arc<Tls>);

impl Collector for Lives {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let material = self.0.material();
        let help = "End of the certificate in use, in seconds since 1970";
        let name = "certificate_not_after_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let ends = [("peer", material.peer_not_after), ("client", material.client_not_after)];
        for (kind, end) in ends {
            ConstGauge::new(end).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let (reloaded, refused) = self.0.reloads();
        let help = "Sets of TLS material that were taken or refused";
        let mut family =
            encoder.encode_descriptor("tls_reloads", help, None, MetricType::Counter)?;
        for (outcome, count) in [("reloaded", reloaded), ("refused", refused)] {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
