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
        (67_584, 1024, 1),
        (5120, 1024, 1),
        (4096, 0, 1),
        (4096, 1024, 0),
        (4095, 1024, 1),
        (128, 1024, 1),
        (768, 1024, 1),
        (3072, 1024, 1),
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
    for (rows, planes, last_rows) in [
        (256, 1, 256),
        (512, 1, 512),
        (1024, 1, 1024),
        (2048, 1, 2048),
        (4096, 1, 4096),
        (6144, 2, 2048),
        (8192, 2, 4096),
        (12_288, 3, 4096),
        (65_536, 16, 4096),
    ] {
        let geometry = Geometry::new(rows, 1024, 1).unwrap();
        let last = planes - 1;
        assert_eq!((geometry.planes(), geometry.plane_rows(last)), (planes, last_rows));
        let all: usize = (0..planes).map(|plane| geometry.plane_rows(plane)).sum();
        assert_eq!(all, geometry.bucket_bytes());
        assert_eq!(geometry.plane_words(last), last_rows * 1024);
        assert_eq!(geometry.plane_rows(planes), 0);
    }
}

#[test]
fn sizes_are_folds_of_a_ring_or_whole_rings() {
    assert_eq!(BUCKET_SIZES[..6], [256, 512, 1024, 2048, 4096, 6144]);
    assert!(BUCKET_SIZES.is_sorted() && BUCKET_SIZES[34] == 65_536);
    for size in BUCKET_SIZES {
        let geometry = Geometry::new(size, 1024, 1).unwrap();
        for plane in 0..geometry.planes() {
            assert!(crate::inline::rings_of(geometry.plane_rows(plane)).is_some(), "{size}");
        }
    }
}

#[test]
fn a_gibibyte_s_cost_is_that_of_its_parts() {
    // docs/ENGINE.md §13: R = 32,768, C = 32,768, 25 bits a bucket, 10 a row.
    let geometry = Geometry::new(32_768, 32_768, 1).unwrap();
    let cost = geometry.cost(Link::default());
    assert_eq!(cost.matrix_bytes, 1 << 30);
    assert_eq!(geometry.table_bytes(), 16 * (18 << 20));
    assert_eq!(geometry.public_bytes(), 73_728);
    assert_eq!(cost.server_ram_bytes, (1 << 30) + (288 << 20));
    assert_eq!(cost.scan_micros, 71_582);
    assert_eq!(cost.hint_micros, 23_229);
    assert_eq!((cost.upload_bytes, cost.download_bytes), (139_264, 40_960));
    assert_eq!(cost.transfer_micros(), 28_835);
    assert_eq!(geometry.cost(Link::new(100).unwrap()).transfer_micros(), 14_417);
    assert_eq!(
        cost.to_string(),
        "memory  1.00 GiB matrix, 1.28 GiB with the hint's tables (one replica of every shard)\n\
         lookup  136.0 KiB up, 40.0 KiB down\n\
         time    71.6 ms scan + 23.2 ms hint on one core, 29 ms transfer at 50 Mbit/s (estimated)"
    );
    // The design's other row.
    let cost = Geometry::new(24_576, 44_032, 1).unwrap().cost(Link::default());
    assert_eq!(cost.upload_bytes + cost.download_bytes, 205_184);
}

/// A tiny table: milliseconds, and a few MiB.
#[test]
fn a_tiny_matrix_costs_a_fraction_of_a_plane() {
    let cost = Geometry::new(256, 4096, 1).unwrap().cost(Link::new(100).unwrap());
    assert_eq!(cost.matrix_bytes, 1 << 20);
    // Tables of 2.25 MiB.
    assert_eq!(cost.server_ram_bytes, (1 << 20) + (9 << 18));
    assert_eq!((cost.scan_micros, cost.hint_micros), (69, 181));
    assert!(cost.upload_bytes + cost.download_bytes < 50 << 10);
    assert!(cost.lookup_micros() < 5_000);
}

#[test]
fn people_are_told_what_was_chosen_and_why() {
    let text =
        Geometry::new(1024, 16_384, 8).unwrap().explanation(Link::new(100).unwrap()).to_string();
    assert_eq!(
        text,
        "16384 buckets of 1024 bytes hold pages of up to 8 rows of one value.\n\
         A lookup of one page sends 84.0 KiB (24 bits a bucket, and its keys) and receives 1.4 KiB (11 bits a byte).\n\
         It takes about 8.8 ms: 7.0 on a link of 100 Mbit/s, 1.1 of one core to read 16.0 MiB, 0.7 for \
         the hint's tables of 9.0 MiB.\n\
         One replica of all its shards takes 25.0 MiB of memory.\n\
         With smaller buckets, of 512 bytes: 12.7 ms (51.2 KiB more to send and receive, 0.4 ms less to \
         compute).\n\
         With larger buckets, of 2048 bytes: 7.7 ms (22.9 KiB less to send and receive, 0.7 ms more to \
         compute), if the pages fitted in."
    );
    let largest =
        Geometry::new(65_536, 4096, 1).unwrap().explanation(Link::new(100).unwrap()).to_string();
    assert!(
        largest.starts_with("4096 buckets of 65536 bytes hold pages of one row of one value.\n")
    );
    assert!(!largest.contains("larger"));
    // Shards keep something to share: the alternative has 4 partitions too.
    let smallest = Geometry::new(256, 4096, 1).unwrap();
    assert!(!smallest.explanation(Link::new(100).unwrap()).to_string().contains("fitted"));
}

#[test]
fn each_number_changes_the_identity() {
    let shapes =
        [(4096, 1024, 1), (8192, 1024, 1), (4096, 2048, 1), (4096, 1024, 2), (256, 1024, 1)];
    let ids: HashSet<_> =
        shapes.iter().map(|(r, c, p)| Geometry::new(*r, *c, *p).unwrap().params_id()).collect();
    assert_eq!(ids.len(), shapes.len());
    let first = Geometry::new(4096, 1024, 1).unwrap().params_id();
    assert_eq!(first.to_string(), "aa2089e600cb5296");
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
