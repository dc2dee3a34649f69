use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn shapes_are_checked() {
    for (bucket_bytes, buckets, page_rows) in
        [(256, 1024, 1), (2048, 1 << 20, 7), (16_384, 1 << 20, 1024), (8192, 131_072, u32::MAX)]
    {
        let geometry = Geometry::new(bucket_bytes, buckets, page_rows).unwrap();
        let json = serde_json::to_string(&geometry).unwrap();
        assert_eq!(serde_json::from_str::<Geometry>(&json).unwrap(), geometry);
    }
    for (bucket_bytes, buckets, page_rows) in [
        (0, 1024, 1),
        (4096, 0, 1),
        (4096, 1024, 0),
        (4095, 1024, 1),
        (20_480, 1024, 1),
        (128, 1024, 1),
        (768, 1024, 1),
        (3072, 1024, 1),
        (6144, 1024, 1),
        (4096, 1025, 1),
        (4096, (1 << 20) + 1024, 1),
    ] {
        let shape = GeometryError::Shape { bucket_bytes, buckets, page_rows };
        assert_eq!(Geometry::new(bucket_bytes, buckets, page_rows), Err(shape));
        let json = format!(
            r#"{{"bucket_bytes":{bucket_bytes},"buckets":{buckets},"page_rows":{page_rows}}}"#
        );
        assert!(serde_json::from_str::<Geometry>(&json).is_err());
    }
}

#[test]
fn rows_fill_planes_or_fold_into_one() {
    for (rows, planes, plane_rows, factor) in [
        (256, 1, 256, 16),
        (512, 1, 512, 8),
        (1024, 1, 1024, 4),
        (2048, 1, 2048, 2),
        (4096, 1, 4096, 1),
        (8192, 2, 4096, 1),
        (12_288, 3, 4096, 1),
        (16_384, 4, 4096, 1),
    ] {
        let geometry = Geometry::new(rows, 1024, 1).unwrap();
        let shape = (geometry.planes(), geometry.plane_rows(), geometry.fold().factor());
        assert_eq!(shape, (planes, plane_rows, factor));
        assert_eq!(planes * plane_rows, geometry.bucket_bytes());
        assert_eq!(geometry.plane_words(), geometry.fold().words());
    }
}

#[test]
fn one_gibibyte_costs_what_the_design_says() {
    // engine.md §8: R = 8192, C = 131072.
    let geometry = Geometry::new(8192, 131_072, 1).unwrap();
    let cost = geometry.cost();
    assert_eq!(cost.matrix_bytes, 1 << 30);
    assert_eq!(cost.server_ram_bytes, (1 << 30) + 2 * (80 << 20));
    assert_eq!(cost.scan_micros, 71_582);
    assert_eq!(cost.hint_micros, 250_000);
    assert_eq!(cost.upload_bytes, 524_288 + 35_904);
    assert_eq!(cost.download_bytes, 2 * (35_840 + 10_240));
    assert_eq!(cost.transfer_micros(), 52_188);
    assert_eq!(cost.lookup_micros(), 373_770);
    assert_eq!(
        cost.to_string(),
        "memory  1.00 GiB matrix, 1.16 GiB with the hint's planes (one replica of every shard)\n\
         lookup  547.1 KiB up, 90.0 KiB down\n\
         time    71.6 ms scan + 250 ms hint on one core, 52 ms transfer at 100 Mbit/s (estimated)"
    );
}

#[test]
fn each_number_changes_the_identity() {
    let shapes =
        [(4096, 1024, 1), (8192, 1024, 1), (4096, 2048, 1), (4096, 1024, 2), (256, 1024, 1)];
    let ids: HashSet<_> =
        shapes.iter().map(|(r, c, p)| Geometry::new(*r, *c, *p).unwrap().params_id()).collect();
    assert_eq!(ids.len(), shapes.len());
    let first = Geometry::new(4096, 1024, 1).unwrap().params_id();
    assert_eq!(first.to_string(), "21a171d547ea0850");
}

proptest! {
    #[test]
    fn pages_cover_what_was_asked_for(offset in 0u64..5000, limit in 0u64..5000, page_rows in 1u32..300) {
        let geometry = Geometry::new(4096, 1024, page_rows).unwrap();
        let pages = geometry.pages_for(offset, limit);
        // Row by row: the highest page that a wanted row lies in.
        let oracle = (offset..offset + limit).map(|row| row / u64::from(page_rows) + 1).max();
        // With LIMIT 0 after an OFFSET nothing is wanted, yet the pages up to there are fetched.
        let skipped = offset.div_ceil(u64::from(page_rows));
        prop_assert_eq!(pages, oracle.unwrap_or(skipped).max(1));
    }
}

#[test]
fn pages_of_a_huge_limit_do_not_overflow() {
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    assert_eq!(geometry.pages_for(u64::MAX, u64::MAX), u64::MAX);
}
