use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::shard::memory::Need;
use crate::shard::memory::tests::for_tables;
use crate::support::disk::Disk;
use crate::support::{self, publish::squares};

const TABLES: [&str; 2] = ["cubes", "squares"];

/// Publishes an epoch of two tables with a few partitions each.
pub(crate) async fn published(directory: &TempDir) -> Vec<Manifest> {
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    let mut manifests = Vec::new();
    for name in TABLES {
        manifests.push(squares(&store, name, 20_000, 1).await);
    }
    manifests
}

/// A loader of a store with the first epochs.
async fn stored() -> (TempDir, Loader, Arc<Disk>) {
    let directory = TempDir::new().unwrap();
    published(&directory).await;
    let (loader, disk) = loader(&directory);
    (directory, loader, disk)
}

fn map() -> Map {
    support::map(1, 1, &TABLES.map(|name| (name, 1)))
}

fn resharded() -> Map {
    Map { shards: Shards::equal(2).unwrap(), ..map() }
}

/// A loader of everything, and the disk below it.
fn loader(directory: &TempDir) -> (Loader, Arc<Disk>) {
    let disk = Arc::new(Disk::new(directory.path()));
    let store = Store::new(Arc::clone(&disk) as _);
    (Loader::new(0, store, CpuPool::new(2, 0).unwrap(), 2), disk)
}

fn manifest_of(directory: &TempDir, table: &str) -> std::path::PathBuf {
    let epoch = format!("tables/{table}/epochs/00000000000000000001");
    directory.path().join(epoch).join("manifest.json")
}

fn damage(directory: &TempDir, object: &str) {
    let path = directory.path().join("tables/cubes/epochs/00000000000000000001").join(object);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_come_side_by_side_in_their_order_and_progress_adds_up() {
    let directory = TempDir::new().unwrap();
    let manifests = published(&directory).await;
    let (loader, disk) = loader(&directory);
    // Loading one segment after the other would wait here forever.
    disk.together.store(3, Ordering::SeqCst);
    let told = Mutex::new(Vec::new());
    let listener = |progress| told.lock().unwrap().push(progress);
    let map = map();
    let loading =
        tokio::time::timeout(Duration::from_secs(60), loader.load(&map, None, &[], &listener));
    let serving = loading.await.unwrap().unwrap();

    let mut total = 0;
    for manifest in &manifests {
        let index = &manifest.indexes[0];
        let served = &serving.tables[manifest.schema.table()].indexes[&0];
        assert!(index.geometry.partitions() > 2);
        assert!(served.partition_numbers().eq(0..index.geometry.partitions()));
        for (number, partition) in &served.partitions {
            let stored = loader.store.partition(manifest, 0, *number).await.unwrap();
            assert!(partition.bytes() == stored, "partition {number}");
        }
        assert_eq!(served.planes.len(), index.geometry.planes());
        assert_eq!(served.public_parts.len(), index.geometry.planes());
        total += index.geometry.matrix_bytes();
        total += (index.geometry.bucket_bytes() * 1024 * 4) as u64;
    }
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted_by(|a, b| a.done < b.done), "{told:?}");
    assert!(told.iter().all(|progress| progress.total == total), "{told:?}");
    assert_eq!(told.last().unwrap().done, total);
    assert_eq!(Progress { done: 3 << 20, total: 5 << 20 }.to_string(), "3 of 5 MiB");
}

#[tokio::test]
async fn a_damaged_segment_is_named_and_the_other_tables_are_loaded() {
    let directory = TempDir::new().unwrap();
    published(&directory).await;
    for object in ["index-0/partition-000001", "index-0/plane-0"] {
        damage(&directory, object);
        let (loader, _) = loader(&directory);
        let error = loader.load(&map(), None, &[], &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains(object), "{error}");
        let serving = loader.load_what_can_be(&map(), &[], &|_| {}).await;
        assert!(serving.missing["cubes"].contains(object), "{:?}", serving.missing);
        assert_eq!(serving.tables.keys().collect::<Vec<_>>(), ["squares"]);
        // Held tables are not read again.
        let held = [Arc::new(serving)];
        let again = loader.load_what_can_be(&map(), &held, &|_| {}).await;
        assert!(Arc::ptr_eq(&again.tables["squares"], &held[0].tables["squares"]));
        damage(&directory, object);
    }
}

#[tokio::test]
async fn a_held_table_that_is_gone_from_the_store_is_no_new_generation() {
    let (directory, loader, _) = stored().await;
    let told = Mutex::new(Vec::new());
    let held = [Arc::new(loader.load(&map(), None, &[], &|_| {}).await.unwrap())];
    let listener = |progress| told.lock().unwrap().push(progress);
    loader.load(&map(), None, &held, &listener).await.unwrap();
    assert!(told.lock().unwrap().is_empty());
    std::fs::remove_dir_all(directory.path().join("tables/cubes")).unwrap();
    let error = loader.load(&map(), None, &held, &listener).await.unwrap_err();
    assert!(error.to_string().contains("cubes"), "{error}");
}

#[tokio::test]
async fn a_table_that_a_proposal_leaves_as_it_is_may_be_missing_and_a_changed_one_may_not() {
    let (directory, loader, disk) = stored().await;
    published(&directory).await;
    std::fs::remove_file(manifest_of(&directory, "cubes")).unwrap();
    let active = loader.load_what_can_be(&map(), &[], &|_| {}).await;
    assert_eq!(active.missing.keys().collect::<Vec<_>>(), ["cubes"]);

    let mut next = Map { generation: 2, ..map() };
    next.tables.insert("squares".to_owned(), 2);
    let reads = || disk.reads.lock().unwrap().iter().filter(|at| at.contains("cubes")).count();
    let before = reads();
    let serving = loader.load(&next, Some(&active), &[], &|_| {}).await.unwrap();
    assert_eq!(serving.tables["squares"].manifest.epoch, 2);
    assert_eq!(serving.missing, active.missing);
    assert_eq!(reads(), before, "what is missing is tried again elsewhere");

    // Tables that have been loaded since are shared.
    let mut serving = serving;
    let squares = loader.load_what_can_be(&map(), &[], &|_| {}).await.tables["squares"].clone();
    let mended = Serving { tables: [("cubes".to_owned(), squares)].into(), ..active.clone() };
    serving.share(&[Arc::new(Serving { map: resharded(), ..mended.clone() })]);
    assert!(!serving.is_whole());
    serving.share(&[Arc::new(mended)]);
    assert!(serving.is_whole() && serving.tables.contains_key("cubes"));

    // With other shards, or for another epoch, the table must be in the store.
    assert!(loader.load(&resharded(), Some(&active), &[], &|_| {}).await.is_err());
    std::fs::remove_file(manifest_of(&directory, "squares")).unwrap();
    let back = Map { generation: 3, ..map() };
    let error = loader.load(&back, Some(&serving), &[], &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("squares"), "{error}");
}

#[tokio::test]
async fn a_table_that_is_held_does_not_hinder_others_when_the_store_loses_it() {
    let (directory, loader, _) = stored().await;
    published(&directory).await;
    let active = Arc::new(loader.load(&map(), None, &[], &|_| {}).await.unwrap());
    std::fs::remove_file(manifest_of(&directory, "cubes")).unwrap();
    let mut next = Map { generation: 2, ..map() };
    next.tables.insert("squares".to_owned(), 2);
    let held = [Arc::clone(&active)];
    let serving = loader.load(&next, Some(&active), &held, &|_| {}).await.unwrap();
    assert!(Arc::ptr_eq(&serving.tables["cubes"], &active.tables["cubes"]));
}

#[tokio::test]
async fn a_description_has_everything_but_the_shards_part() {
    let (directory, loader, _) = stored().await;
    damage(&directory, "index-0/partition-000001");
    let shards = Shards::equal(1).unwrap();
    let table = loader.describe(&shards, "cubes", 1).await.unwrap();
    let index = &table.indexes[&0];
    let public_parts: usize = index.public_parts.iter().map(Bytes::len).sum();
    assert_eq!(table.resident_bytes(), public_parts as u64);
    assert_eq!(index.public_parts.len(), index.geometry.planes());
    assert_eq!(index.assignment.partitions(0).len(), index.geometry.partitions() as usize);
    damage(&directory, "index-0/public-0");
    assert!(loader.describe(&shards, "cubes", 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_tell_exactly_what_becomes_resident() {
    let directory = TempDir::new().unwrap();
    published(&directory).await;
    for shards in [1, 3] {
        let map = Map { shards: Shards::equal(shards).unwrap(), ..map() };
        for shard in 0..shards {
            let store = Store::open(directory.path().to_str().unwrap()).unwrap();
            let loader = Loader::new(shard, store, CpuPool::new(2, 0).unwrap(), 2);
            let plan = loader.plan(&map, None, &[]).await.unwrap();
            let (need, is_held) = (plan.need(), plan.is_held());
            let held = [Arc::new(loader.carry_out(plan, &|_| {}).await.unwrap())];
            assert_eq!(need.resident, resident_bytes(&held), "shard {shard} of {shards}");
            assert!(need.building > 0 && !is_held);
            // Held tables are shared, and cost nothing.
            let plan = loader.plan(&map, None, &held).await.unwrap();
            assert_eq!((plan.need(), plan.is_held()), (Need::default(), true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_anything_is_fetched() {
    let (_directory, loader, disk) = stored().await;
    let need = loader.plan(&map(), None, &[]).await.unwrap().need();
    let mib = (need.resident + need.building).div_ceil(1 << 20);
    let loader = loader.admitted_by(for_tables(mib - 1));
    let error = loader.load(&map(), None, &[], &|_| {}).await.unwrap_err().to_string();
    let numbers = format!("{mib} MiB of memory are required and {} MiB are available", mib - 1);
    assert!(error.contains(&numbers), "{error}");
    assert!(disk.reads.lock().unwrap().iter().all(|path| !path.contains("/index-")));

    // Of an active map, tables that fit are loaded, ordered by size and then by name.
    let serving = loader.load_what_can_be(&map(), &[], &|_| {}).await;
    assert_eq!(serving.tables.keys().collect::<Vec<_>>(), ["cubes"]);
    assert!(serving.missing["squares"].contains("MiB are available"), "{:?}", serving.missing);
    // With a little more memory, the other table fits too.
    let loader = loader.admitted_by(for_tables(mib + 64));
    let held = [Arc::new(serving)];
    let whole = loader.load_what_can_be(&map(), &held, &|_| {}).await;
    assert!(whole.is_whole());
    assert!(Arc::ptr_eq(&whole.tables["cubes"], &held[0].tables["cubes"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_epoch_stays_with_the_new_one_until_it_is_superseded() {
    let (directory, loader, _) = stored().await;
    published(&directory).await;
    let plan = loader.plan(&map(), None, &[]).await.unwrap();
    let need = plan.need();
    let held = [Arc::new(loader.carry_out(plan, &|_| {}).await.unwrap())];
    let tables = TABLES.map(|name| (name.to_owned(), 2)).into();
    let next = loader.plan(&Map { generation: 2, tables, ..map() }, None, &held).await.unwrap();
    assert_eq!(next.need(), need, "another epoch shares nothing");
    let fits_once = (need.resident + need.building).div_ceil(1 << 20);
    let loader = loader.admitted_by(for_tables(fits_once));
    assert!(matches!(loader.admit(&next, &held, 1), Err(Refusal::Never(_))));
    assert!(matches!(loader.admit(&next, &held, 2), Err(Refusal::Later(_))));
    assert!(loader.admit(&next, &[], 2).is_ok());
    let fits_twice = (2 * need.resident + need.building).div_ceil(1 << 20);
    let loader = loader.admitted_by(for_tables(fits_twice));
    assert!(loader.admit(&next, &held, 1).is_ok());
}
