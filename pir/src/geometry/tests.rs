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
        // Row by row: the highest page that contains a requested row.
        let oracle = (offset..offset + limit).map(|row| row / u64::from(page_rows) + 1).max();
        // With LIMIT 0 after an OFFSET no row is requested, but the pages up to there are fetched.
        let skipped = offset.div_ceil(u64::from(page_rows));
        prop_assert_eq!(pages, oracle.unwrap_or(skipped).max(1));
    }
}

#[test]
fn pages_of_a_huge_limit_do_not_overflow() {
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    assert_eq!(geometry.pages_for(u64::MAX, u64::MAX), u64::MAX);
}
