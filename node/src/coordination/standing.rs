//! How the map that is written down compares with the one that is served.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::Snapshot;

/// How the map that is written down compares with the one that is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// No map is active, and none is served: the cluster is new, or all of its nodes are.
    #[default]
    First,
    /// The written map is the one that is served, or follows it.
    Agreed,
    /// The written map is not the one that is served. The leader writes that one again.
    Lost(Loss),
}

impl Standing {
    /// Whether the written map is not the one that is served.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// Why the written map is not the one that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// There is no map at all.
    Missing,
    /// No map is marked as active.
    NotActive,
    /// The active map was marked so in another object, from which this one was copied.
    Foreign,
    /// The active map is older than the one that is served.
    Older {
        /// The written generation.
        written: u64,
        /// The generation that is served.
        served: u64,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the shard map is missing"),
            Self::NotActive => f.write_str("the shard map has no active generation"),
            Self::Foreign => f.write_str("the shard map is a copy of another object"),
            Self::Older { written, served } => {
                write!(f, "the shard map has generation {written}, and nodes serve {served}")
            }
        }
    }
}

/// Tells Prometheus whether the written map is the one that is served.
pub struct Losses(pub watch::Receiver<Arc<Snapshot>>);

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Losses")
    }
}

impl Collector for Losses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lost = self.0.borrow().standing.is_lost();
        let gauge = ConstGauge::new(u64::from(lost));
        let help = "Whether the shard map as it is written down is not the one that nodes serve";
        let metric =
            encoder.encode_descriptor("shard_map_lost", help, None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
