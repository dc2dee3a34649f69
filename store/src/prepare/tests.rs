use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use opaque_pir::cost::Link;
use opaque_pir::geometry::Geometry;
use opaque_pir::index::read_buckets;
use opaque_pir::layout::{Page, decode_bucket, mask, page_bucket};
use opaque_pir::machine::ScanKernel;
use opaque_pir::probe::Probe;
use opaque_pir::scan::{Partition, scan};
use opaque_pir::table::{Column, ColumnType, Role, Value, encode_row};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::*;
use crate::tests::disk::Disk;
use crate::tests::{files, given_up, local};

fn schema() -> Schema {
    let columns = vec![
        Column::new("city", ColumnType::Text, Role::Key, false),
        Column::new("degrees", ColumnType::Int, Role::Payload, true),
        Column::new("sky", ColumnType::Text, Role::Index, true),
    ];
    Schema::new("weather".to_owned(), columns).unwrap()
}

/// Every fifth row has no sky; the others share seven of them.
fn values(rows: usize) -> Vec<Vec<Value>> {
    let row = |i: usize| {
        let sky = format!("sky {}", i % 7);
        let sky = if i.is_multiple_of(5) { Value::Null } else { Value::Text(sky) };
        vec![Value::Text(format!("city {i}")), Value::Int(-(i as i64)), sky]
    };
    (0..rows).map(row).collect()
}

fn load(values: &[Vec<Value>]) -> Load {
    let schema = schema();
    let rows = values.iter().map(|row| encode_row(&schema, row).unwrap()).collect();
    let writer = Writer { node: "n".to_owned(), incarnation: "1".to_owned() };
    Load { schema, rows, link: Link::default(), created: UnixMillis::now(), writer }
}

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(11)
}

/// The folder of the table's first epoch.
fn folder(directory: &TempDir) -> PathBuf {
    directory.path().join("tables/weather/epochs/00000000000000000001")
}

/// All pages of an index as they are stored, by bucket.
async fn stored_pages(store: &Store, manifest: &Manifest, column: u32) -> Vec<Vec<Page>> {
    let geometry = manifest.index(column).unwrap().geometry;
    let mut pages = Vec::new();
    for j in 0..geometry.partitions() {
        let partition = store.partition(manifest, column, j).await.unwrap();
        for (k, mut bucket) in (0..).zip(read_buckets(&geometry, &partition, 0, 1024).unwrap()) {
            let number = 1024 * j + k;
            mask(&manifest.salt, column, number, &mut bucket);
            pages.push(decode_bucket(&manifest.salt, column, number, &bucket).unwrap());
        }
    }
    pages
}

/// The self-test of docs/ENGINE.md §11 on the stored data.
async fn hint_holds(store: &Store, manifest: &Manifest, column: u32) -> bool {
    let index = manifest.index(column).unwrap();
    let (geometry, seed) = (index.geometry, manifest.seed(index));
    let probe = manifest.probe(index);
    let (mut partitions, mut queries) = (Vec::new(), vec![Vec::new(); 4]);
    for j in 0..geometry.partitions() {
        let bytes = store.partition(manifest, column, j).await.unwrap();
        partitions.push(Partition::try_from((&bytes[..], &geometry)).unwrap());
        for (query, block) in queries.iter_mut().zip(probe.query(&seed, j)) {
            query.extend_from_slice(&block[..]);
        }
    }
    let partitions: Vec<&Partition> = partitions.iter().collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let scanned = scan(ScanKernel::best(), &geometry, &partitions, &queries).unwrap();
    let mut products = vec![Vec::new(); 4];
    for plane in 0..geometry.planes() {
        let plane = store.plane(manifest, column, plane).await.unwrap();
        for (product, rows) in products.iter_mut().zip(probe.multiply(&plane)) {
            product.extend(rows);
        }
    }
    Probe::check(&geometry, &scanned, &products).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_stored_once_where_a_client_looks_for_it() {
    let (_directory, store) = local();
    let values = values(300);
    let progress = Mutex::new(Vec::new());
    let seen = |step| progress.lock().unwrap().push(step);
    let manifest = prepare(&store, load(&values), rng(), seen, &pool()).await.unwrap();
    assert_eq!(store.epochs("weather").await.unwrap(), [1]);
    assert_eq!(store.manifest("weather", 1).await.unwrap(), manifest);
    assert_eq!((manifest.rows, manifest.indexes.len()), (300, 2));
    assert_eq!(manifest.index(0).unwrap().non_null_rows, 300);
    assert_eq!(manifest.index(2).unwrap().non_null_rows, 240);

    let rows = load(&values).rows;
    for column in [0u32, 2] {
        let index = manifest.index(column).unwrap();
        let page_rows = u64::from(index.geometry.page_rows());
        let buckets = stored_pages(&store, &manifest, column).await;
        let key = |row: usize| values[row][column as usize].search_key();
        let mut found = 0;
        for (number, row) in rows.iter().enumerate() {
            let group: Vec<usize> =
                (0..rows.len()).filter(|&other| key(other) == key(number)).collect();
            let rank = group.iter().position(|&other| other == number).unwrap() as u64;
            let page = (rank / page_rows) as u32;
            let bucket =
                page_bucket(&manifest.salt, column, &key(number), page, index.geometry.buckets());
            let holds = |candidate: &&Page| {
                candidate.page == page
                    && candidate.total_rows == group.len() as u64
                    && candidate.rows.contains(&(number as u64, row.clone()))
            };
            assert!(buckets[bucket as usize].iter().find(holds).is_some(), "row {number}");
            found += 1;
        }
        let stored: usize = buckets.iter().flatten().map(|page| page.rows.len()).sum();
        assert_eq!(stored, found);
        assert!(hint_holds(&store, &manifest, column).await);
    }

    let progress = progress.into_inner().unwrap();
    assert_eq!(progress[0], Progress::Planning { rows: 300 });
    let done: Vec<u64> = progress[1..]
        .iter()
        .map(|step| match *step {
            Progress::Building { done, total } if total == manifest.matrix_bytes() => done,
            Progress::Building { .. } | Progress::Planning { .. } => panic!("{step:?}"),
        })
        .collect();
    assert!(done.is_sorted() && done[0] == 0 && done.last() == Some(&manifest.matrix_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_a_table() {
    let (_directory, store) = local();
    let manifest = prepare(&store, load(&[]), rng(), |_| (), &pool()).await.unwrap();
    assert_eq!((manifest.rows, manifest.index(0).unwrap().non_null_rows), (0, 0));
    let pages = stored_pages(&store, &manifest, 0).await;
    assert!(pages.iter().all(Vec::is_empty));
    assert!(hint_holds(&store, &manifest, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_and_randomness_give_each_epoch_a_different_hint() {
    let (_directory, store) = local();
    let values = values(50);
    let first = prepare(&store, load(&values), rng(), |_| (), &pool()).await.unwrap();
    let second = prepare(&store, load(&values), rng(), |_| (), &pool()).await.unwrap();
    assert_eq!((first.epoch, second.epoch), (1, 2));
    assert_eq!(first.salt, second.salt);
    for (first, second) in first.indexes.iter().zip(&second.indexes) {
        // Hints and public parts depend on the epoch's number.
        assert_eq!(first.partitions, second.partitions);
        assert_ne!(first.planes, second.planes);
        assert_ne!(first.public_parts, second.public_parts);
    }
    let other = StdRng::seed_from_u64(12);
    let third = prepare(&store, load(&values), other, |_| (), &pool()).await.unwrap();
    assert_ne!(first.salt, third.salt);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_loads_are_two_epochs() {
    let (_directory, store) = local();
    let (small, large) = (values(3), values(40));
    let (one, two) = (pool(), pool());
    let loads = tokio::join!(
        prepare(&store, load(&small), rng(), |_| (), &one),
        prepare(&store, load(&large), StdRng::seed_from_u64(5), |_| (), &two),
    );
    let (small, large) = (loads.0.unwrap(), loads.1.unwrap());
    assert_eq!(store.epochs("weather").await.unwrap(), [1, 2]);
    for (manifest, rows) in [(small, 3), (large, 40)] {
        let stored = store.manifest("weather", manifest.epoch).await.unwrap();
        assert_eq!((stored.rows, &stored), (rows, &manifest));
        assert!(hint_holds(&store, &stored, 2).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_make_no_table_write_nothing() {
    let (directory, store) = local();
    let mut twice = values(10);
    twice[7][0] = twice[2][0].clone();
    let error = prepare(&store, load(&twice), rng(), |_| (), &pool()).await.unwrap_err();
    let PrepareError::Plan(PlanError::DuplicateKey { first_row: 2, second_row: 7, .. }) = error
    else {
        panic!("{error}");
    };
    assert!(!directory.path().join("tables").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_load_leaves_nothing_to_see() {
    let (directory, store) = local();
    let written = tokio::sync::Notify::new();
    let progress = |step| {
        if matches!(step, Progress::Building { done, .. } if done > 0) {
            written.notify_one();
        }
    };
    let pool = pool();
    tokio::select! {
        biased;
        () = written.notified() => {}
        loaded = prepare(&store, load(&values(200)), rng(), progress, &pool) => {
            panic!("not cancelled: {loaded:?}");
        }
    }
    given_up(&folder(&directory)).await;
    assert_eq!(store.epochs("weather").await.unwrap(), Vec::<u64>::new());
    // The pool is free again.
    let next = prepare(&store, load(&values(5)), rng(), |_| (), &pool).await.unwrap();
    assert_eq!(next.epoch, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_cleans_up_after_a_crashed_one() {
    let (directory, store) = local();
    let crashed = Writer { node: "n".to_owned(), incarnation: "0".to_owned() };
    let geometry = Geometry::new(4096, 1024, 1).unwrap();
    let epoch = store.claim("weather", &crashed, UnixMillis::now()).await.unwrap();
    epoch.put_plane(0, &geometry, 0, &vec![7; geometry.plane_words(0)]).await.unwrap();
    std::mem::forget(epoch);
    let manifest = prepare(&store, load(&values(5)), rng(), |_| (), &pool()).await.unwrap();
    assert_eq!(manifest.epoch, 2);
    assert_eq!(files(&folder(&directory)), ["manifest.json"]);
    assert_eq!(store.epochs("weather").await.unwrap(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_fails_the_load_and_is_freed() {
    let directory = TempDir::new().unwrap();
    let disk = Arc::new(Disk::new(directory.path()));
    let store = Store::new(disk.clone());
    let fill = |step| {
        if matches!(step, Progress::Building { done, .. } if done > 0) {
            disk.full.store(true, Ordering::SeqCst);
        }
    };
    let error = prepare(&store, load(&values(200)), rng(), fill, &pool()).await.unwrap_err();
    assert!(matches!(error, PrepareError::Store(StoreError::Full { .. })), "{error}");
    let no_segments = async {
        while store
            .manifest("weather", 1)
            .await
            .is_err_and(|error| !matches!(error, StoreError::Abandoned { epoch: 1, .. }))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), no_segments).await.unwrap();
    assert_eq!(store.epochs("weather").await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn a_panic_on_the_pool_is_an_error() {
    let (pool, result) = (pool(), Mutex::new(0));
    let work = on_pool(&pool, || panic!("planted"));
    let worked: Result<(), PrepareError> = worked(work).await;
    assert!(matches!(worked, Err(PrepareError::Panicked)));
    // The pool still works afterwards.
    pool.install(|| *result.lock().unwrap() = 3);
    assert_eq!(*result.lock().unwrap(), 3);
}
