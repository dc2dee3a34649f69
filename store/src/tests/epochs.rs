use std::collections::BTreeSet;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// The folders of all epochs, whatever they contain.
fn folders(directory: &TempDir) -> Vec<String> {
    let entries = directory.path().join("tables/t/epochs").read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_epoch_is_read_as_it_was_written() {
    let (_directory, store) = local();
    assert_eq!(store.tables().await.unwrap(), Vec::<String>::new());
    assert_eq!(store.epochs("t").await.unwrap(), Vec::<u64>::new());
    let published = publish(&store).await;
    assert_eq!(store.tables().await.unwrap(), ["t"]);
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
    let manifest = store.manifest("t", 1).await.unwrap();
    assert_eq!(manifest, published);
    assert_eq!(manifest.digest().unwrap(), published.digest().unwrap());
    assert_eq!(manifest.matrix_bytes(), 2 * 4096 * 1024);
    assert_eq!(manifest.stored_bytes(), 2 * (4096 * 1024 + 56) + 4 * 4096 * 1024 + 56 + 2 * 4608);
    for j in 0..2 {
        assert!(store.partition(&manifest, 1, j).await.unwrap() == bytes(1 + j as u8));
    }
    assert!(store.plane(&manifest, 1, 0).await.unwrap() == numbers(1));
    assert_eq!(store.public_part(&manifest, 1, 0).await.unwrap(), public_part(1).to_bytes());
    for (column, plane) in [(1, 1), (0, 0)] {
        let error = store.public_part(&manifest, column, plane).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
    for (column, j) in [(1, 2), (0, 0), (9, 0)] {
        let error = store.partition(&manifest, column, j).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
    assert!(matches!(store.plane(&manifest, 1, 1).await, Err(StoreError::NotFound { .. })));
    assert_eq!(publish(&store).await.epoch, 2);
    assert_eq!(store.epochs("t").await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn an_epoch_without_a_manifest_is_invisible() {
    let (directory, store) = local();
    publish(&store).await;
    let epoch = claim(&store).await;
    write(&epoch).await;
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
    let error = store.manifest("t", 2).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { object } if object.ends_with("manifest.json")));
    // Folders that merely look like epochs are ignored too.
    for name in ["what", "7", "+0000000000000000009"] {
        let folder = directory.path().join("tables/t/epochs").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("manifest.json"), "{}").unwrap();
    }
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
    epoch.abandon().await.unwrap();
    assert_eq!(files(&epoch_folder(&directory, 2)), ["manifest.json"]);
    let error = store.manifest("t", 2).await.unwrap_err();
    assert!(matches!(error, StoreError::Abandoned { epoch: 2, .. }), "{error}");
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
    assert_eq!(publish(&store).await.epoch, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_loads_get_different_epochs() {
    let (_directory, store) = local();
    let mut loads = tokio::task::JoinSet::new();
    for node in 0..16 {
        let store = store.clone();
        loads.spawn(async move {
            let writer = writer(&format!("n{node}"), "1");
            let epoch = store.claim("t", &writer, UnixMillis::now()).await.unwrap();
            let number = epoch.epoch();
            std::mem::forget(epoch);
            number
        });
    }
    let numbers: BTreeSet<u64> = loads.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=16).collect());
}

#[tokio::test]
async fn a_dropped_writer_cleans_up() {
    let (directory, store) = local();
    let epoch = claim(&store).await;
    write(&epoch).await;
    drop(epoch);
    given_up(&epoch_folder(&directory, 1)).await;
    assert_eq!(store.epochs("t").await.unwrap(), Vec::<u64>::new());
}

/// On a disk, the folder exists before the claim is in it.
#[tokio::test]
async fn an_epoch_that_is_just_being_claimed_is_not_given_up() {
    let (directory, store) = local();
    std::fs::create_dir_all(epoch_folder(&directory, 1)).unwrap();
    let (caller, now) = (writer("m", "2"), UnixMillis::now());
    assert_eq!(store.sweep("t", &caller, now, HOUR).await.unwrap(), Vec::<u64>::new());
    assert!(files(&epoch_folder(&directory, 1)).is_empty(), "it was given up");
}

#[tokio::test]
async fn a_later_load_cleans_up_after_a_crash() {
    let (directory, store) = local();
    let (now, crashed) = (UnixMillis::now(), writer("n", "1"));
    let epoch = store.claim("t", &crashed, now).await.unwrap();
    let manifest = write(&epoch).await;
    let folder = epoch_folder(&directory, 1);
    std::fs::write(folder.join("index-1/partition-000009#1"), "half").unwrap();

    // The load may be in progress: in this process, or recently in that of another node.
    for caller in [writer("n", "1"), writer("m", "2")] {
        assert!(store.sweep("t", &caller, now, HOUR).await.unwrap().is_empty());
    }
    assert_eq!(files(&folder).len(), 7);
    // The same node, started again.
    assert_eq!(store.sweep("t", &writer("n", "2"), now, HOUR).await.unwrap(), [1]);
    assert_eq!(files(&folder), ["manifest.json"]);
    // Had the writer been alive, it could no longer publish. It does not affect other epochs.
    let error = epoch.publish(&manifest).await.unwrap_err();
    assert_eq!(error.to_string(), "epoch 1 of table \"t\" was given up before it was complete");
    assert_eq!(publish(&store).await.epoch, 2);
    assert!(store.sweep("t", &writer("n", "3"), now, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(store.epochs("t").await.unwrap(), [2]);
}

#[tokio::test]
async fn an_idle_writer_is_given_up_by_any_node() {
    let (directory, store) = local();
    let epoch = claim(&store).await;
    write(&epoch).await;
    std::mem::forget(epoch);
    let later = UnixMillis(UnixMillis::now().0 + 3_600_500);
    assert_eq!(store.sweep("t", &writer("m", "1"), later, HOUR).await.unwrap(), [1]);
    assert_eq!(files(&epoch_folder(&directory, 1)), ["manifest.json"]);
}

#[tokio::test]
async fn a_sweep_that_crashed_is_finished_by_the_next() {
    let (directory, store) = local();
    let epoch = claim(&store).await;
    write(&epoch).await;
    std::mem::forget(epoch);
    let folder = epoch_folder(&directory, 1);
    std::fs::write(folder.join("manifest.json"), manifest::TOMBSTONE).unwrap();
    let caller = writer("m", "1");
    assert!(store.sweep("t", &caller, UnixMillis::now(), HOUR).await.unwrap().is_empty());
    assert_eq!(files(&folder), ["manifest.json"]);
}

#[tokio::test]
async fn old_epochs_go_unless_they_are_in_use() {
    let (directory, store) = local();
    for _ in 0..4 {
        publish(&store).await;
    }
    let in_use = BTreeSet::from([1]);
    assert_eq!(store.retain("t", 2, &in_use).await.unwrap(), [2]);
    assert_eq!(store.epochs("t").await.unwrap(), [1, 3, 4]);
    let kept: Vec<String> = [1, 3, 4].map(|epoch: u64| format!("{epoch:020}")).into();
    assert_eq!(folders(&directory), kept);
    // The newest epoch stays, whatever was requested.
    assert_eq!(store.retain("t", 0, &BTreeSet::new()).await.unwrap(), [1, 3]);
    assert_eq!(store.epochs("t").await.unwrap(), [4]);
    let manifest = store.manifest("t", 4).await.unwrap();
    assert!(store.partition(&manifest, 1, 0).await.unwrap() == bytes(4));
}

#[tokio::test]
async fn the_number_of_a_deleted_epoch_is_not_given_again() {
    let (_directory, store) = local();
    publish(&store).await;
    store.delete_epoch("t", 1).await.unwrap();
    assert_eq!(store.epochs("t").await.unwrap(), Vec::<u64>::new());
    assert_eq!(publish(&store).await.epoch, 2);
}

#[tokio::test]
async fn a_tombstone_goes_once_it_is_old_and_a_newer_epoch_is_there() {
    let (directory, store) = local();
    for number in 1..=2 {
        publish(&store).await;
        store.delete_epoch("t", number).await.unwrap();
    }
    let (caller, now) = (writer("n", "1"), UnixMillis::now());
    let (soon, later) = (UnixMillis(now.0 + 23 * 3_600_000), UnixMillis(now.0 + 25 * 3_600_000));
    // No epoch is newer than these, so their numbers could be used again.
    store.sweep("t", &caller, later, HOUR).await.unwrap();
    assert_eq!(folders(&directory).len(), 2);
    assert_eq!(publish(&store).await.epoch, 3);
    store.delete_epoch("t", 3).await.unwrap();
    assert_eq!(publish(&store).await.epoch, 4);
    // A writer that was presumed dead may still be alive.
    store.sweep("t", &caller, soon, HOUR).await.unwrap();
    assert_eq!(folders(&directory).len(), 4);
    store.sweep("t", &caller, later, HOUR).await.unwrap();
    assert_eq!(folders(&directory), [format!("{:020}", 4)]);
    assert_eq!(store.epochs("t").await.unwrap(), [4]);
}

/// Manifests of earlier versions do not contain the lengths of rows.
#[tokio::test]
async fn lengths_of_rows_are_kept_and_may_be_missing() {
    let (_directory, store) = local();
    let without = publish(&store).await;
    assert!(!String::from_utf8(without.encode().unwrap()).unwrap().contains("sizes"));
    assert_eq!(store.manifest("t", 1).await.unwrap().figures(), None);
    let sizes = opaque_pir::index::RowSizes {
        total_bytes: 30,
        longest_row: 2,
        longest_bytes: 20,
        shorter: Vec::new(),
    };
    let with = Manifest { sizes: Some(sizes.clone()), ..without };
    let read = Manifest::decode(&with.encode().unwrap()).unwrap();
    let figures = read.figures().unwrap();
    assert_eq!((figures.sizes, figures.cost.matrix_bytes), (sizes, read.matrix_bytes()));
}

#[tokio::test]
async fn what_does_not_fit_together_is_not_published() {
    let (_directory, store) = local();
    let good = publish(&store).await;
    let change = |change: fn(&mut Manifest)| {
        let mut manifest = good.clone();
        manifest.epoch = 2;
        change(&mut manifest);
        manifest
    };
    let wrong = [
        (change(|m| m.epoch = 1), "it describes epoch 1 of table \"t\""),
        (change(|m| m.indexes.clear()), "not the searchable columns"),
        (change(|m| m.indexes[0].column = 0), "not the searchable columns"),
        (change(|m| m.rows = 2), "more rows than the table"),
        (change(|m| m.indexes[0].partitions.truncate(1)), "1 segments where 2 belong"),
        (change(|m| m.indexes[0].planes.clear()), "0 segments where 1 belong"),
        (change(|m| m.indexes[0].partitions.swap(0, 1)), "\"index-1/partition-000001\" stands"),
        (change(|m| m.indexes[0].planes[0].bytes = 7), "\"index-1/plane-0\" stands"),
    ];
    for (epoch, (mut manifest, reason)) in (2..).zip(wrong) {
        let writer = claim(&store).await;
        assert_eq!(writer.epoch(), epoch);
        if manifest.epoch == 2 {
            manifest.epoch = epoch;
        }
        let error = writer.publish(&manifest).await.unwrap_err();
        assert!(matches!(error, StoreError::Inconsistent { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let writer = claim(&store).await;
    let error = writer.put_partition(1, &geometry(), 0, vec![0; 7]).await.unwrap_err();
    assert!(error.to_string().contains("has 7 bytes, not 4194304"), "{error}");
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
}
