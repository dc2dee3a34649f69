//! Writes figures to standard output.

use std::io::{self, Write};

use opaque_cli::text::{columns, count, size};

use crate::{cluster::Served, report::Measurement, size::Size};

/// Writes one array of objects.
pub(crate) fn json(out: &mut impl Write, measured: &[impl serde::Serialize]) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, measured)?;
    writeln!(out)
}

/// Writes the measurements, then their ratios to a baseline of the same run.
pub(crate) fn tables(out: &mut impl Write, measured: &[Measurement]) -> io::Result<()> {
    let header = [
        "SIZE",
        "BATCH",
        "SHARDS",
        "SCAN",
        "HINT",
        "SERVER",
        "CLIENT",
        "PER LOOKUP",
        "CPU/LOOKUP",
        "UP",
        "DOWN",
        "MEMORY",
    ];
    let right: Vec<usize> = (0..header.len()).collect();
    columns(out, &header, &right, measured.iter().map(figures))?;
    writeln!(
        out,
        "\nThe same against a baseline of this run (processor time on one thread, the clock on several):"
    )?;
    let header = [
        "SIZE",
        "BATCH",
        "SHARDS",
        "READ",
        "SCAN/READ",
        "HINT/READ",
        "SERVER/SCAN",
        "LOOKUP/SINGLE",
        "CPU/FEWEST SHARDS",
    ];
    let right: Vec<usize> = (0..header.len()).collect();
    columns(out, &header, &right, measured.iter().map(ratios))?;
    let Some(last) = measured.last() else { return Ok(()) };
    let load = last.load_average.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"));
    writeln!(
        out,
        "\n{} rounds each, threads: {}; kernels: {} (scan), {} (hint); large pages: {}\n{}; load {load}",
        last.repeat,
        last.threads,
        last.kernel,
        last.hint_kernel,
        if last.large_pages { "yes" } else { "no" },
        last.machine,
    )
}

/// Writes what the clients of clusters measured.
pub(crate) fn cluster(out: &mut impl Write, served: &[Served]) -> io::Result<()> {
    let header = [
        "SIZE",
        "ROWS",
        "BATCH",
        "SHARDS",
        "CLIENTS",
        "P50",
        "P99",
        "LOOKUPS/S",
        "PER CORE",
        "FEWEST",
        "MOST",
        "SERVER",
        "CLIENT",
        "UP",
        "DOWN",
        "LOAD",
        "COLD START",
    ];
    let right: Vec<usize> = (0..header.len()).collect();
    let row = |one: &Served| {
        let observed = &one.observed;
        let time = |millis: f64| format!("{millis:.1} ms");
        vec![
            size(one.size_bytes),
            count(one.table_rows),
            observed.batch.to_string(),
            one.shards.to_string(),
            observed.clients.to_string(),
            time(observed.p50_ms),
            time(observed.p99_ms),
            format!("{:.1}", observed.lookups_per_s),
            format!("{:.1}", observed.lookups_per_s_per_core),
            observed.fewest_requests.to_string(),
            observed.most_requests.to_string(),
            time(observed.server_ms),
            time(observed.client_ms),
            count(observed.bytes_up),
            count(observed.bytes_down),
            format!("{:.1} s", one.load_s),
            format!("{:.1} s ({:.0} MB/s a core)", one.cold_start_s, one.cold_start_mb_s_per_core),
        ]
    };
    columns(out, &header, &right, served.iter().map(row))?;
    let Some(last) = served.last() else { return Ok(()) };
    writeln!(
        out,
        "\nFEWEST and MOST: requests of one client in {:.0} s; threads of each node: {}; keys: {}\n{}",
        last.observed.seconds, last.threads, last.keys, last.machine
    )
}

fn names(one: &Measurement) -> [String; 3] {
    [Size(one.size_bytes).to_string(), one.batch.to_string(), one.shards.to_string()]
}

fn figures(one: &Measurement) -> Vec<String> {
    let time = |median: f64, spread: f64| format!("{median:.1} ms (±{:.1})", spread / 2.0);
    let bytes = |bytes: u64| count(bytes);
    let mut row = names(one).to_vec();
    row.extend([
        time(one.scan_ms, one.scan_spread_ms),
        time(one.hint_ms, one.hint_spread_ms),
        time(one.server_ms, one.server_spread_ms),
        time(one.client_ms, one.client_spread_ms),
        format!("{:.1} ms", one.server_ms_per_query()),
        format!("{:.1} ms", one.cpu_ms_per_query),
        bytes(one.bytes_up),
        bytes(one.bytes_down),
        size(one.rss_bytes),
    ]);
    row
}

fn ratios(one: &Measurement) -> Vec<String> {
    let ratio = |ratio: f64| format!("{ratio:.2}");
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), ratio);
    let mut row = names(one).to_vec();
    row.extend([
        format!("{:.1} GB/s", one.read_bandwidth_gb_s),
        ratio(one.scan_to_read),
        ratio(one.hint_to_read),
        ratio(one.server_to_scan),
        maybe(one.query_to_single),
        maybe(one.cpu_to_fewest_shards),
    ]);
    row
}
