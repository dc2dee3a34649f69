use opaque_pir::{
    cost::Link, inline::QUERY_BYTES, machine::Kernels, params::PARTITION_BUCKETS, scan::Partition,
};
use rand::SeedableRng;

use super::*;
use crate::{plot, size::Size};

const SMALL: Size = Size(8 << 20);

/// 8 MiB in two partitions with buckets of one plane.
fn plan(batches: &[usize], shards: &[u32]) -> Plan {
    Plan {
        sizes: vec![SMALL],
        bucket_bytes: Some(4096),
        link: Link::default(),
        batches: batches.to_vec(),
        shards: shards.to_vec(),
        threads: 2,
        kernels: Kernels::best(),
        repeat: 2,
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// Checks that a document's elements are closed in order, and returns them.
fn elements(document: &str) -> Vec<&str> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = document;
    while let Some((text, tail)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        let (tag, tail) = tail.split_once('>').unwrap();
        let name = |tag| str::split_whitespace(tag).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            all.push(tag);
            if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
                open.push(name(tag));
            }
        }
        rest = tail;
    }
    assert!(open.is_empty(), "{open:?}");
    all
}

#[test]
fn a_run_measures_everything_that_was_asked_for() {
    let seen = std::sync::Mutex::new(Vec::new());
    let plan = plan(&[1, 3], &[1, 2]);
    let measured = run(&plan, &mut rng(), &|progress| seen.lock().unwrap().push(progress)).unwrap();
    let asked: Vec<_> = measured.iter().map(|one| (one.shards, one.batch)).collect();
    assert_eq!(asked, [(1, 1), (1, 3), (2, 1), (2, 3)]);
    assert_eq!(seen.lock().unwrap().last(), Some(&Progress::Measuring { rounds: 8, total: 8 }));
    for one in &measured {
        assert_eq!((one.size_bytes, one.rows, one.buckets), (8 << 20, 4096, 2048));
        let batch = one.batch as u64;
        assert_eq!(one.bytes_up, batch * (2048 * 24 / 8 + QUERY_BYTES as u64));
        assert_eq!(one.bytes_down, batch * 4096 * 9 / 8);
        for figure in [
            one.scan_ms,
            one.hint_ms,
            one.client_ms,
            one.cpu_ms_per_query,
            one.read_bandwidth_gb_s,
            one.scan_to_read,
            one.hint_to_read,
        ] {
            assert!(figure.is_finite() && figure > 0.0, "{one:?}");
        }
        assert!(one.server_ms >= one.scan_ms && one.rss_bytes > one.size_bytes);
    }
    let related = |i: usize| (measured[i].query_to_single, measured[i].cpu_to_fewest_shards);
    assert_eq!(related(0), (Some(1.0), Some(1.0)));
    assert!(related(1).0.is_some() && related(1).1 == Some(1.0));
    assert!(related(2).0 == Some(1.0) && related(2).1.is_some());

    let json = serde_json::to_value(&measured).unwrap();
    let keys = json[3].as_object().unwrap();
    for key in [
        "size_bytes",
        "rows",
        "buckets",
        "batch",
        "shards",
        "threads",
        "kernel",
        "keys",
        "scan_ms",
        "hint_ms",
        "server_ms",
        "client_ms",
        "bytes_up",
        "bytes_down",
        "rss_bytes",
        "read_bandwidth_gb_s",
        "scan_spread_ms",
        "hint_spread_ms",
        "server_spread_ms",
        "client_spread_ms",
    ] {
        assert!(keys.contains_key(key), "{key}");
    }
    assert_eq!(keys["keys"], "inline");
}

/// Every fold of a ring, one ring, an odd number of rings and the maximum. A run ends at the first
/// wrong byte.
#[test]
fn lookups_open_right_in_buckets_of_every_kind() {
    for rows in [256, 512, 1024, 2048, 4096, 6144, 65_536] {
        let plan = Plan {
            sizes: vec![Size(u64::from(rows) * PARTITION_BUCKETS as u64)],
            bucket_bytes: Some(rows),
            repeat: 1,
            ..plan(&[2], &[1])
        };
        let measured = run(&plan, &mut rng(), &|_| {}).unwrap();
        assert_eq!((measured[0].rows, measured[0].buckets), (rows as usize, 1024), "{rows}");
    }
}

/// All data but one byte is consistent. Every lookup of its row gives a wrong byte, whatever bucket
/// it looks up.
#[test]
fn one_wrong_byte_of_the_matrix_ends_a_run() {
    let plan = plan(&[4], &[2]);
    let geometry = shapes::geometries(&plan).unwrap()[0];
    let mut subject = Subject::build(geometry, &mut rng(), &|_| {}).unwrap();
    assert!(run_on(&subject, &plan, &mut rng(), &|_| {}).is_ok());
    let mut bytes = subject.partitions[1].bytes().to_vec();
    bytes[77 * PARTITION_BUCKETS + 5] ^= 1;
    subject.partitions[1] = Partition::try_from((&bytes[..], &geometry)).unwrap();
    let error = run_on(&subject, &plan, &mut rng(), &|_| {}).unwrap_err();
    assert!(matches!(error, BenchError::Wrong { row: 77, .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn charts_have_a_series_for_each_batch() {
    let one = |size_bytes: u64, batch: usize, shards: u32| Measurement {
        size_bytes,
        batch,
        shards,
        threads: 1,
        server_ms: (size_bytes >> 20) as f64 / 16.0 + batch as f64,
        cpu_ms_per_query: 3.0 + f64::from(shards) / 100.0,
        machine: "m".to_owned(),
        ..Measurement::default()
    };
    let mut measured = Vec::new();
    for size in [64, 256, 1024, 4096] {
        for shards in [1, 2, 4] {
            for batch in [1, 8, 64] {
                measured.push(one(size << 20, batch, shards));
            }
        }
    }
    let document = plot::svg(&measured).unwrap();
    if let Some(path) = std::env::var_os("OPAQUE_TEST_CHART") {
        std::fs::write(path, &document).unwrap();
    }
    let elements = elements(&document);
    assert!(elements[0].starts_with("svg "));
    let label = |name: &str| document.lines().filter(|line| line.trim() == name).count();
    // Series by size and by shards.
    for batch in ["batch 1", "batch 8", "batch 64"] {
        assert_eq!(label(batch), 2, "{batch}");
    }
    assert_eq!(label("4GiB"), 2);
    // There is a single panel for one size, batch and number of shards, and an empty chart for no
    // measurements.
    let single = plot::svg(&measured[..1]).unwrap();
    assert!(single.contains("batch 1") && !single.contains("batch 8"));
    assert!(plot::svg(&[]).is_ok());
}
