//! Figures, as a table shows them and as JSON holds them.

use serde::Serialize;

/// What lookups of one batch on one number of shards cost. Times and bytes are those of the whole
/// batch, medians over the rounds; a spread is the slowest round less the fastest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measurement {
    /// Bytes of the matrix.
    pub(crate) size_bytes: u64,
    /// R: rows of the matrix, bytes of a bucket.
    pub(crate) rows: usize,
    /// C: columns of the matrix.
    pub(crate) buckets: u32,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// Shards that share the matrix.
    pub(crate) shards: u32,
    /// Threads of each shard.
    pub(crate) threads: usize,
    /// Machine code of the scan.
    pub(crate) kernel: &'static str,
    /// Machine code of the hint product.
    pub(crate) hint_kernel: &'static str,
    /// How evaluation keys get to the servers.
    pub(crate) keys: &'static str,
    /// The parameter set.
    pub(crate) parameters: &'static str,
    /// Rounds measured.
    pub(crate) repeat: usize,
    /// The slowest shard's scan.
    pub(crate) scan_ms: f64,
    /// Its spread.
    pub(crate) scan_spread_ms: f64,
    /// The slowest shard's hint product.
    pub(crate) hint_ms: f64,
    /// Its spread.
    pub(crate) hint_spread_ms: f64,
    /// The slowest shard's whole work, and the coordinator's.
    pub(crate) server_ms: f64,
    /// Its spread.
    pub(crate) server_spread_ms: f64,
    /// Encryption and decryption.
    pub(crate) client_ms: f64,
    /// Its spread.
    pub(crate) client_spread_ms: f64,
    /// Processor time of all shards and the coordinator, for one lookup.
    pub(crate) cpu_ms_per_query: f64,
    /// Bytes of queries, headers aside.
    pub(crate) bytes_up: u64,
    /// Bytes of answers, headers aside.
    pub(crate) bytes_down: u64,
    /// Memory of the process, matrix and tables included, what empties caches left out.
    pub(crate) rss_bytes: u64,
    /// How fast as many threads read the matrix plainly; as ratios, by processor time on one
    /// thread.
    pub(crate) read_bandwidth_gb_s: f64,
    /// All shards' scans against a plain read of the matrix. Ratios are of processor time on one
    /// thread, of time by the clock on several.
    pub(crate) scan_to_read: f64,
    /// All shards' hint products against a plain read of their tables.
    pub(crate) hint_to_read: f64,
    /// The server's time against its scan alone.
    pub(crate) server_to_scan: f64,
    /// One lookup of the batch against a lookup alone, where that was measured too.
    pub(crate) query_to_single: Option<f64>,
    /// Processor time of a lookup against the run's fewest shards.
    pub(crate) cpu_to_fewest_shards: Option<f64>,
    /// Whether the system took the request for 2 MiB pages.
    pub(crate) large_pages: bool,
    /// The processor's name and number.
    pub(crate) machine: String,
    /// The load average at the end.
    pub(crate) load_average: Option<f64>,
}

impl Measurement {
    /// One lookup's share of the server's time.
    pub(crate) fn server_ms_per_query(&self) -> f64 {
        self.server_ms / self.batch as f64
    }
}

/// One lookup's time that a neighbour's turn does not lengthen, where there is such a time.
fn fair_ms_per_query(one: &Measurement) -> f64 {
    if one.threads == 1 { one.cpu_ms_per_query } else { one.server_ms_per_query() }
}

/// Fills in what compares measurements of one run with one another.
pub(crate) fn relate(measured: &mut [Measurement]) {
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
