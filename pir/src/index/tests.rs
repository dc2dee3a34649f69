//! Compares plans with a naive oracle: a map from values to rows.
#![expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::layout::{Page, decode_bucket, mask, page_bucket};
use crate::params::{MAX_BUCKET_BYTES, PARTITION_BUCKETS};

mod plan;
mod sizes;
mod table;

fn salt(seed: u8) -> Salt {
    Salt([seed; 32])
}

/// Keys and rows as a test creates them.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn refs(rows: &Rows) -> Vec<RowRef<'_>> {
    rows.iter().map(|(key, row)| RowRef { key, row }).collect()
}

/// Every bucket's pages, read back from the partitions' bytes.
fn read_all(plan: &IndexPlan, salt: Salt, column: u32, rows: &[RowRef<'_>]) -> Vec<Vec<Page>> {
    let mut pages = Vec::new();
    for partition in 0..plan.geometry().partitions() {
        let bytes = plan.partition(rows, partition).unwrap();
        assert_eq!(bytes.len(), plan.geometry().partition_bytes());
        for mut bucket in read_buckets(plan.geometry(), &bytes, 0, PARTITION_BUCKETS).unwrap() {
            let number = pages.len() as u32;
            mask(&salt, column, number, &mut bucket);
            pages.push(decode_bucket(&salt, column, number, &bucket).unwrap());
        }
    }
    pages
}

/// Checks that a lookup of each value finds exactly its rows, in load order, with the right count
/// in every page, and that nothing else is stored.
fn check_plan(plan: &IndexPlan, salt: Salt, column: u32, rows: &Rows) {
    let geometry = plan.geometry();
    let mut buckets = read_all(plan, salt, column, &refs(rows));
    let mut groups: HashMap<&[u8], Vec<(u64, Vec<u8>)>> = HashMap::new();
    for (number, (key, row)) in (0..).zip(rows) {
        groups.entry(key).or_default().push((number, row.clone()));
    }
    for (key, group) in groups {
        let total_rows = group.len() as u64;
        for (page, expected) in (0..).zip(group.chunks(geometry.page_rows() as usize)) {
            let bucket = page_bucket(&salt, column, key, page, geometry.buckets());
            let expected = Page { total_rows, page, rows: expected.to_vec() };
            let bucket = &mut buckets[bucket as usize];
            let at = bucket.iter().position(|page| page.rows == expected.rows);
            assert!(bucket.remove(at.expect("the page is in its bucket")) == expected);
        }
    }
    assert!(buckets.iter().all(Vec::is_empty), "pages that no lookup finds");
}

#[test]
fn reading_buckets_checks_its_bounds() {
    let rows: Rows = vec![(vec![1], vec![2, 3])];
    let plan = IndexPlan::solve(salt(1), 0, &refs(&rows), Link::default()).unwrap();
    let bytes = plan.partition(&refs(&rows), 0).unwrap();
    let all = read_buckets(plan.geometry(), &bytes, 0, 1024).unwrap();
    assert_eq!(read_buckets(plan.geometry(), &bytes, 7, 3).unwrap(), all[7..10]);
    assert_eq!(read_buckets(plan.geometry(), &bytes, 1024, 0).unwrap().len(), 0);
    for (first, count) in [(0, 1025), (1024, 1), (usize::MAX, 2)] {
        assert!(read_buckets(plan.geometry(), &bytes, first, count).is_err());
    }
    assert!(read_buckets(plan.geometry(), &bytes[1..], 0, 1).is_err());
}

#[test]
fn a_partition_of_other_rows_is_an_error() {
    let rows: Rows = (0..3).map(|i| (vec![i], vec![i])).collect();
    let plan = IndexPlan::solve(salt(1), 0, &refs(&rows), Link::default()).unwrap();
    let fewer = PartitionError::Rows { planned: 3, found: 2 };
    assert_eq!(plan.partition(&refs(&rows)[..2], 0), Err(fewer));
    let partitions = plan.geometry().partitions();
    let beyond = PartitionError::Partition { partition: partitions, partitions };
    assert_eq!(plan.partition(&refs(&rows), partitions), Err(beyond));
    let larger = vec![vec![0u8; MAX_BUCKET_BYTES as usize]; 3];
    let results: Vec<_> = (0..partitions).map(|i| plan.partition(&larger, i)).collect();
    assert!(results.iter().any(|result| matches!(result, Err(PartitionError::Bucket(_)))));
}
