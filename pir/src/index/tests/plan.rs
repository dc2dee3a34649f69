use super::*;
use crate::geometry::BUCKET_SIZES;
use crate::layout::{MAX_ROW_BYTES, encode_bucket};

/// Row bytes that identify the row: the number, then padding to the requested size.
fn row(number: usize, bytes: usize) -> Vec<u8> {
    let mut row = (number as u32).to_le_bytes().to_vec();
    row.resize(bytes.max(4), number as u8);
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_row_is_found(
        seed: u8,
        column in 0u32..4,
        values in prop::collection::vec((0u32..200, 0usize..300), 0..1500),
        // 1: all values differ. 200: all are equal, NULL's empty key among them.
        spread in prop::sample::select(vec![1u32, 3, 20, 200]),
    ) {
        let rows: Rows = values
            .iter()
            .enumerate()
            .map(|(number, (value, bytes))| {
                let key = match (spread, value / spread) {
                    (1, _) => number.to_le_bytes().to_vec(),
                    (_, 0) => vec![0],
                    (_, value) => [&[3], &value.to_le_bytes()[..]].concat(),
                };
                (key, row(number, *bytes))
            })
            .collect();
        let plan = IndexPlan::solve(salt(seed), column, &refs(&rows), Link::default()).unwrap();
        check_plan(&plan, salt(seed), column, &rows);
    }

    #[test]
    fn large_rows_fit_or_are_named(
        seed: u8,
        bytes in prop::collection::vec(3000usize..16_384, 1..12),
        same: bool,
    ) {
        let key = |number: usize| if same { vec![1] } else { vec![number as u8] };
        let rows: Rows =
            bytes.iter().enumerate().map(|(i, bytes)| (key(i), row(i, *bytes))).collect();
        match IndexPlan::solve(salt(seed), 0, &refs(&rows), Link::default()) {
            Ok(plan) => check_plan(&plan, salt(seed), 0, &rows),
            Err(PlanError::RowTooLarge { row, bytes: found, limit }) => {
                prop_assert_eq!(found, bytes[row as usize]);
                prop_assert!(found > limit && limit > 16_300);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// Whether every bucket holds its pages, determined by writing them.
fn fits(geometry: &Geometry, salt: Salt, groups: &HashMap<&[u8], Vec<(u64, Vec<u8>)>>) -> bool {
    let mut buckets: HashMap<u32, Vec<Page>> = HashMap::new();
    for (key, group) in groups {
        let total_rows = group.len() as u64;
        for (page, rows) in (0..).zip(group.chunks(geometry.page_rows() as usize)) {
            let bucket = page_bucket(&salt, 0, key, page, geometry.buckets());
            let page = Page { total_rows, page, rows: rows.to_vec() };
            buckets.entry(bucket).or_default().push(page);
        }
    }
    let mut buckets = buckets.iter();
    buckets.all(|(k, pages)| encode_bucket(&salt, 0, *k, geometry.bucket_bytes(), pages).is_ok())
}

/// Estimated time of a typical value's lookups.
fn micros(geometry: &Geometry, groups: &HashMap<&[u8], Vec<(u64, Vec<u8>)>>) -> f64 {
    let pages = |rows: usize| (rows.min(64) as u64).div_ceil(u64::from(geometry.page_rows()));
    let pages = groups.values().map(|group| pages(group.len())).sum::<u64>();
    geometry.cost(Link::default()).lookup_micros() as f64 * (pages as f64 / groups.len() as f64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Every geometry of at most 16 MiB is tried. None that fits is cheaper than the chosen one.
    #[test]
    fn no_geometry_that_fits_is_cheaper(
        seed: u8, bytes in prop::collection::vec(4usize..500, 5..60),
        spread in prop::sample::select(vec![1usize, 4, 20, 60]),
    ) {
        let rows: Rows = bytes
            .iter()
            .enumerate()
            .map(|(i, bytes)| (vec![3, (i / spread) as u8], row(i, *bytes)))
            .collect();
        let mut groups: HashMap<&[u8], Vec<(u64, Vec<u8>)>> = HashMap::new();
        for (number, (key, row)) in (0..).zip(&rows) {
            groups.entry(key).or_default().push((number, row.clone()));
        }
        let salt = salt(seed);
        let mut best = f64::INFINITY;
        for page_rows in [1, 2, 4, 8, 16, 32, 64] {
            for bucket_bytes in BUCKET_SIZES {
                for partitions in 4..=(16 << 20) / 1024 / bucket_bytes {
                    let geometry = Geometry::new(bucket_bytes, partitions * 1024, page_rows).unwrap();
                    if fits(&geometry, salt, &groups) {
                        best = best.min(micros(&geometry, &groups));
                        break;
                    }
                }
            }
        }
        let plan = IndexPlan::solve(salt, 0, &refs(&rows), Link::default()).unwrap();
        let chosen = micros(plan.geometry(), &groups);
        prop_assert!((chosen - best).abs() < 1e-6, "{:?}: {} for {}", plan, chosen, best);
    }
}

#[test]
fn the_limit_of_a_row_is_exact() {
    let plan = |bytes| {
        let rows: Rows = vec![(vec![1], row(0, bytes))];
        IndexPlan::solve(salt(3), 0, &refs(&rows), Link::default())
            .map(|plan| check_plan(&plan, salt(3), 0, &rows))
    };
    let Err(PlanError::RowTooLarge { row: 0, bytes: 70_000, limit }) = plan(70_000) else {
        panic!("a row of 70,000 bytes has no place");
    };
    assert_eq!(limit, MAX_ROW_BYTES);
    assert!(plan(limit).is_ok());
    assert_eq!(
        plan(limit + 1).unwrap_err(),
        PlanError::RowTooLarge { row: 0, bytes: limit + 1, limit }
    );
}

#[test]
fn no_rows_make_one_partition() {
    let plan = IndexPlan::solve(salt(0), 0, &[], Link::default()).unwrap();
    assert_eq!(*plan.geometry(), Geometry::new(256, 1024, 1).unwrap());
    check_plan(&plan, salt(0), 0, &Vec::new());
}

#[test]
fn a_small_table_gives_every_shard_something() {
    let rows: Rows = (0..9).map(|i| (vec![i as u8], row(i, 20))).collect();
    let plan = IndexPlan::solve(salt(0), 0, &refs(&rows), Link::default()).unwrap();
    assert_eq!(*plan.geometry(), Geometry::new(256, 4096, 1).unwrap());
    let cost = plan.geometry().cost(Link::default());
    assert!(cost.server_ram_bytes == 13 << 18 && cost.lookup_micros() < 10_000, "{cost}");
}

#[test]
fn frequent_values_get_pages_of_many_rows() {
    let rows: Rows = (0..20_000).map(|i| (vec![(i % 100) as u8], row(i, 40))).collect();
    let plan = IndexPlan::solve(salt(0), 0, &refs(&rows), Link::default()).unwrap();
    assert!(plan.geometry().page_rows() >= 16, "{plan:?}");
    let data = rows.iter().map(|(_, row)| row.len() as u64).sum::<u64>();
    assert!(plan.geometry().matrix_bytes() <= (16 << 20).max(5 * data), "{plan:?}");
    check_plan(&plan, salt(0), 0, &rows);
}

#[test]
fn bucket_filling_rows_spread_further_than_four_times() {
    // 60 rows that need a bucket each: 4 partitions of 16 MiB is more than 4 times 60 · 16,000.
    let rows: Rows = (0..60).map(|i| (vec![i as u8], row(i, 16_000))).collect();
    let plan = IndexPlan::solve(salt(0), 0, &refs(&rows), Link::default()).unwrap();
    assert_eq!(plan.geometry().bucket_bytes(), 16_384);
    check_plan(&plan, salt(0), 0, &rows);
}

#[test]
fn rows_that_cannot_be_spread_far_enough_are_an_error() {
    // 3000 bucket-filling rows in one value: free of collisions only in 4.5 million buckets.
    let rows: Rows = (0..3000).map(|i| (vec![1], row(i, 64_000))).collect();
    let error = IndexPlan::solve(salt(0), 0, &refs(&rows), Link::default()).unwrap_err();
    let (largest_value_rows, largest_row_bytes) = (3000, 64_000);
    assert_eq!(error, PlanError::DoesNotFit { rows: 3000, largest_value_rows, largest_row_bytes });
}

#[test]
fn a_tiny_plan_keeps_its_bytes() {
    let rows: Rows = vec![
        (vec![3, b'a'], vec![0, 1, b'a', 7]),
        (vec![3, b'b'], vec![0, 1, b'b', 8]),
        (vec![3, b'a'], vec![0, 1, b'a', 9]),
    ];
    let plan = IndexPlan::solve(salt(5), 2, &refs(&rows), Link::default()).unwrap();
    assert_eq!(*plan.geometry(), Geometry::new(256, 1024, 2).unwrap());
    let bytes = plan.partition(&refs(&rows), 0).unwrap();
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "650d80ee6e18b29234bd6e5d4bd255f0f0d4d8099c6ca2fb24e39baadaf96ce0"
    );
    // The rows' bytes without keys give the same partition.
    let alone: Vec<_> = rows.iter().map(|(_, row)| row.clone()).collect();
    assert!(plan.partition(&alone, 0).unwrap() == bytes);
}

/// Run with `cargo test --release -p opaque-pir -- --ignored --nocapture million`.
#[test]
#[ignore = "a measurement"]
fn a_million_rows_are_planned_in_seconds() {
    type Key = fn(usize) -> u64;
    let columns: [(&str, Key); 4] = [
        ("unique", |i| i as u64),
        ("10 each", |i| i as u64 / 10),
        ("5000 values", |i| (i * i) as u64 % 5000),
        ("skewed", |i| u64::from((i as u64).leading_zeros())),
    ];
    for (name, key) in columns {
        let rows: Rows =
            (0..1_000_000).map(|i| (key(i).to_le_bytes().to_vec(), row(i, 30 + i % 60))).collect();
        let rows = refs(&rows);
        let start = std::time::Instant::now();
        let plan = IndexPlan::solve(salt(9), 0, &rows, Link::default()).unwrap();
        let planned = start.elapsed();
        let start = std::time::Instant::now();
        let bytes = plan.partition(&rows, 0).unwrap().len();
        let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!(
            "{name}: {planned:?} {plan:?} {rate:.0} MB/s\n{}",
            plan.geometry().cost(Link::default())
        );
    }
}
