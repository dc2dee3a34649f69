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
fn a_gibibyte_s_cost_is_that_of_its_parts() {
    // engine.md §8, §9: R = 8192, C = 131072, 26 bits a bucket, inline keys.
    let geometry = Geometry::new(8192, 131_072, 1).unwrap();
    let cost = geometry.cost();
    assert_eq!(cost.matrix_bytes, 1 << 30);
    assert_eq!(cost.server_ram_bytes, (1 << 30) + 2 * (80 << 20));
    assert_eq!(cost.scan_micros, 71_582);
    assert_eq!(cost.hint_micros, 11_000);
    assert_eq!(cost.upload_bytes, 131_072 * 26 / 8 + 106_496);
    assert_eq!(cost.download_bytes, 2 * 14_848);
    assert_eq!(cost.transfer_micros(), 44_974);
    assert_eq!(cost.lookup_micros(), 127_556);
    assert_eq!(
        cost.to_string(),
        "memory  1.00 GiB matrix, 1.16 GiB with the hint's planes (one replica of every shard)\n\
         lookup  520.0 KiB up, 29.0 KiB down\n\
         time    71.6 ms scan + 11.0 ms hint on one core, 45 ms transfer at 100 Mbit/s (estimated)"
    );
}

/// A tiny table: milliseconds, and a few MiB.
#[test]
fn a_tiny_matrix_costs_a_fraction_of_a_plane() {
    let cost = Geometry::new(256, 4096, 1).unwrap().cost();
    assert_eq!(cost.matrix_bytes, 1 << 20);
    assert_eq!(cost.server_ram_bytes, (1 << 20) + (5 << 20));
    assert_eq!((cost.scan_micros, cost.hint_micros), (69, 343));
    assert_eq!(cost.upload_bytes, 4096 * 3 + 106_496);
    assert_eq!(cost.download_bytes, 14_848);
    assert!(cost.lookup_micros() < 12_000);
}

#[test]
fn people_are_told_what_was_chosen_and_why() {
    let text = Geometry::new(1024, 16_384, 8).unwrap().explanation().to_string();
    assert_eq!(
        text,
        "16384 buckets of 1024 bytes hold pages of up to 8 rows of one value.\n\
         A lookup of one page sends 152.0 KiB (24 bits a bucket, and its keys) and receives 14.5 KiB.\n\
         It takes about 16.1 ms: 13.6 on a link of 100 Mbit/s, 1.1 of one core to read 16.0 MiB, 1.4 for \
         the hint (1/4 of a plane, as the buckets are short).\n\
         One replica of all its shards takes 36.0 MiB of memory.\n\
         With smaller buckets, of 512 bytes: 19.7 ms (52.0 KiB more to send and receive, 0.7 ms less to \
         compute).\n\
         With larger buckets, of 2048 bytes: 15.5 ms (24.0 KiB less to send and receive, 1.4 ms more to \
         compute), if the pages fitted in."
    );
    let largest = Geometry::new(16_384, 4096, 1).unwrap().explanation().to_string();
    assert!(
        largest.starts_with("4096 buckets of 16384 bytes hold pages of one row of one value.\n")
    );
    assert!(largest.contains("(4 planes)") && !largest.contains("larger"));
    // Shards keep something to share: the alternative has 4 partitions too.
    let smallest = Geometry::new(256, 4096, 1).unwrap();
    assert!(!smallest.explanation().to_string().contains("fitted"));
}

#[test]
fn each_number_changes_the_identity() {
    let shapes =
        [(4096, 1024, 1), (8192, 1024, 1), (4096, 2048, 1), (4096, 1024, 2), (256, 1024, 1)];
    let ids: HashSet<_> =
        shapes.iter().map(|(r, c, p)| Geometry::new(*r, *c, *p).unwrap().params_id()).collect();
    assert_eq!(ids.len(), shapes.len());
    let first = Geometry::new(4096, 1024, 1).unwrap().params_id();
    assert_eq!(first.to_string(), "10c889ef53690f5c");
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
