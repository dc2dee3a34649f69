//! How the stored map compares with the served one, as a state and as a metric.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::Snapshot;
use crate::metrics::encode_all;

/// How the stored map compares with the served one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// No map is active and none is served: the cluster is new, or all of its nodes are.
    #[default]
    First,
    /// The stored map is the served one, or follows it.
    Agreed,
    /// The stored map is not the served one. The leader writes the served map again.
    Lost(Loss),
}

impl Standing {
    /// Whether the stored map is not the served one.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// Why the stored map is not the served one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// There is no map at all.
    Missing,
    /// No map is marked as active.
    NotActive,
    /// The map was activated in another object, of which this one is a copy.
    Foreign,
    /// The active map is older than the served one.
    Older {
        /// The stored generation.
        written: u64,
        /// The served generation.
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

/// Metric: whether the stored map differs from the served one.
pub struct Losses(pub watch::Receiver<Arc<Snapshot>>);

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Losses")
    }
}

impl Collector for Losses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lost = self.0.borrow().standing.is_lost();
        let help = "1 if the stored shard map differs from the one that nodes serve";
        encode_all(&mut encoder, ConstGauge::new, [("shard_map_lost", help, u64::from(lost))])
    }
}
