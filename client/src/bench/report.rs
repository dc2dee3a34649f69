//! Figures, as a table shows them and as JSON holds them.

use std::time::Duration;

use serde::Serialize;

/// What lookups of one batch on one number of shards cost. Times and bytes are those of the whole
/// batch, medians over the rounds; a spread is the slowest round less the fastest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Bytes of the matrix.
    pub size_bytes: u64,
    /// R: rows of the matrix, bytes of a bucket.
    pub rows: usize,
    /// C: columns of the matrix.
    pub buckets: u32,
    /// Lookups in one request.
    pub batch: usize,
    /// Shards that share the matrix.
    pub shards: u32,
    /// Threads of each shard.
    pub threads: usize,
    /// Machine code of the scan.
    pub kernel: &'static str,
    /// Machine code of the hint product.
    pub hint_kernel: &'static str,
    /// How evaluation keys get to the servers.
    pub keys: &'static str,
    /// The parameter set.
    pub parameters: &'static str,
    /// Rounds measured.
    pub repeat: usize,
    /// The slowest shard's scan.
    pub scan_ms: f64,
    /// Its spread.
    pub scan_spread_ms: f64,
    /// The slowest shard's hint product.
    pub hint_ms: f64,
    /// Its spread.
    pub hint_spread_ms: f64,
    /// The slowest shard's whole work, and the coordinator's.
    pub server_ms: f64,
    /// Its spread.
    pub server_spread_ms: f64,
    /// Encryption and decryption.
    pub client_ms: f64,
    /// Its spread.
    pub client_spread_ms: f64,
    /// Processor time of all shards and the coordinator, for one lookup.
    pub cpu_ms_per_query: f64,
    /// Bytes of queries, headers aside.
    pub bytes_up: u64,
    /// Bytes of answers, headers aside.
    pub bytes_down: u64,
    /// Memory of the process, matrix and tables included, what empties caches left out.
    pub rss_bytes: u64,
    /// How fast as many threads read the matrix plainly; as ratios, by processor time on one thread.
    pub read_bandwidth_gb_s: f64,
    /// All shards' scans against a plain read of the matrix. Ratios are of processor time on one
    /// thread, of time by the clock on several.
    pub scan_to_read: f64,
    /// All shards' hint products against a plain read of their tables.
    pub hint_to_read: f64,
    /// The server's time against its scan alone.
    pub server_to_scan: f64,
    /// One lookup of the batch against a lookup alone, where that was measured too.
    pub query_to_single: Option<f64>,
    /// Processor time of a lookup against the run's fewest shards.
    pub cpu_to_fewest_shards: Option<f64>,
    /// Whether the system took the request for 2 MiB pages.
    pub large_pages: bool,
    /// The processor's name and number.
    pub machine: String,
    /// The load average at the end.
    pub load_average: Option<f64>,
}

impl Measurement {
    /// One lookup's share of the server's time.
    pub fn server_ms_per_query(&self) -> f64 {
        self.server_ms / self.batch as f64
    }
}

/// One lookup's time that a neighbour's turn does not lengthen, where there is such a time.
fn fair_ms_per_query(one: &Measurement) -> f64 {
    if one.threads == 1 { one.cpu_ms_per_query } else { one.server_ms_per_query() }
}

/// Fills in what compares measurements of one run with one another.
pub(super) fn relate(measured: &mut [Measurement]) {
    let all = measured.to_vec();
    for one in measured {
        let single = all.iter().find(|other| {
            (other.size_bytes, other.shards, other.batch) == (one.size_bytes, one.shards, 1)
        });
        one.query_to_single =
            single.map(|single| fair_ms_per_query(one) / fair_ms_per_query(single));
        let alike = all
            .iter()
            .filter(|other| (other.size_bytes, other.batch) == (one.size_bytes, one.batch));
        one.cpu_to_fewest_shards = alike
            .min_by_key(|other| other.shards)
            .map(|fewest| one.cpu_ms_per_query / fewest.cpu_ms_per_query);
    }
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One figure of every round.
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self(samples)
    }

    /// The middle one, or the mean of the middle two; 0 of none.
    pub(super) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        let at = |i: usize| self.0.get(i).copied().unwrap_or(0.0);
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        }
    }

    /// The smallest one that `share` of all are not above; 0 of none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// The largest less the smallest.
    pub(super) fn spread(&self) -> f64 {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_quantiles_and_spreads() {
        let samples = Samples::new(vec![5.0, 1.0, 4.0]);
        assert_eq!((samples.median(), samples.spread()), (4.0, 4.0));
        let samples = Samples::new(vec![2.0, 8.0, 4.0, 6.0]);
        assert_eq!((samples.median(), samples.spread()), (5.0, 6.0));
        let samples = Samples::new((1..=100).map(f64::from).collect());
        assert_eq!((samples.quantile(0.5), samples.quantile(0.99)), (50.0, 99.0));
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 100.0));
        let none = Samples::new(Vec::new());
        assert_eq!((none.median(), none.quantile(0.5), none.spread()), (0.0, 0.0, 0.0));
    }
}
