//! Figures of a measurement, as shown in tables and written as JSON.

use serde::Serialize;

/// Costs of lookups with one batch size on one number of shards. Times and bytes are of the whole
/// batch and are medians over the rounds. A spread is the slowest round minus the fastest.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Measurement {
    /// Bytes of the matrix.
    pub(crate) size_bytes: u64,
    /// R: number of rows of the matrix, which is the size of a bucket in bytes.
    pub(crate) rows: usize,
    /// C: number of columns of the matrix.
    pub(crate) buckets: u32,
    /// Lookups in one request.
    pub(crate) batch: usize,
    /// Shards that share the matrix.
    pub(crate) shards: u32,
    /// Threads of each shard.
    pub(crate) threads: usize,
    /// Kernel of the scan.
    pub(crate) kernel: &'static str,
    /// Kernel of the hint product.
    pub(crate) hint_kernel: &'static str,
    /// How the servers get the evaluation keys.
    pub(crate) keys: &'static str,
    /// The parameter set.
    pub(crate) parameters: &'static str,
    /// Rounds measured.
    pub(crate) repeat: usize,
    /// The slowest shard's scan.
    pub(crate) scan_ms: f64,
    /// Spread of the scan.
    pub(crate) scan_spread_ms: f64,
    /// The slowest shard's hint product.
    pub(crate) hint_ms: f64,
    /// Spread of the hint product.
    pub(crate) hint_spread_ms: f64,
    /// Total time of the slowest shard, plus the coordinator's.
    pub(crate) server_ms: f64,
    /// Spread of the server's time.
    pub(crate) server_spread_ms: f64,
    /// Encryption and decryption.
    pub(crate) client_ms: f64,
    /// Spread of the client's time.
    pub(crate) client_spread_ms: f64,
    /// Processor time of all shards and the coordinator per lookup.
    pub(crate) cpu_ms_per_query: f64,
    /// Bytes of queries without headers.
    pub(crate) bytes_up: u64,
    /// Bytes of answers without headers.
    pub(crate) bytes_down: u64,
    /// Resident memory of the process, including matrix and tables, excluding the memory that
    /// empties caches.
    pub(crate) rss_bytes: u64,
    /// Bandwidth of a plain read of the matrix with the same number of threads. Like ratios, it
    /// uses processor time with one thread.
    pub(crate) read_bandwidth_gb_s: f64,
    /// Time of all shards' scans divided by that of a plain read of the matrix. Ratios use
    /// processor time with one thread and elapsed time with several.
    pub(crate) scan_to_read: f64,
    /// Time of all shards' hint products divided by that of a plain read of their tables.
    pub(crate) hint_to_read: f64,
    /// The server's time divided by that of its scan.
    pub(crate) server_to_scan: f64,
    /// Time of one lookup in the batch divided by that of a single lookup, if that was measured
    /// too.
    pub(crate) query_to_single: Option<f64>,
    /// Processor time of a lookup divided by that with the fewest shards of the run.
    pub(crate) cpu_to_fewest_shards: Option<f64>,
    /// Whether the system accepted the request for 2 MiB pages.
    pub(crate) large_pages: bool,
    /// The processor's name and the number of processors.
    pub(crate) machine: String,
    /// The load average at the end.
    pub(crate) load_average: Option<f64>,
}

impl Measurement {
    /// The server's time divided by the number of lookups.
    pub(crate) fn server_ms_per_query(&self) -> f64 {
        self.server_ms / self.batch as f64
    }
}

/// Time of one lookup that other processes do not lengthen, if there is such a time.
fn fair_ms_per_query(one: &Measurement) -> f64 {
    if one.threads == 1 { one.cpu_ms_per_query } else { one.server_ms_per_query() }
}

/// Fills in the figures that compare measurements of one run.
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
