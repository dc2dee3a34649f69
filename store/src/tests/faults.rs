use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::Disk;
use super::*;

#[tokio::test]
async fn every_damaged_segment_is_found_and_named() {
    let (directory, store) = local();
    let manifest = publish(&store).await;
    let folder = epoch_folder(&directory, 1).join("index-1");
    let (partition, plane) = (folder.join("partition-000001"), folder.join("plane-0"));
    let good = std::fs::read(&partition).unwrap();
    let error = async || store.partition(&manifest, 1, 1).await.unwrap_err();

    for position in [0, 7, 8, 9, 12, 16, 30, 56, 4096, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[position] ^= 0x10;
        std::fs::write(&partition, &damaged).unwrap();
        let error = error().await;
        assert!(
            matches!(&error, StoreError::Corrupt { object, .. }
                if object.ends_with("00000000000000000001/index-1/partition-000001")),
            "{position}: {error}"
        );
    }
    for length in [0, 10, 56, good.len() - 1] {
        std::fs::write(&partition, &good[..length]).unwrap();
        let error = error().await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{length}: {error}");
    }
    std::fs::write(&partition, [good.as_slice(), &[0]].concat()).unwrap();
    assert!(error().await.to_string().contains("bytes, at most"));
    // A whole segment in place of another.
    std::fs::copy(folder.join("partition-000000"), &partition).unwrap();
    assert!(error().await.to_string().contains("not the segment that the manifest names"));
    std::fs::remove_file(&partition).unwrap();
    assert!(matches!(error().await, StoreError::NotFound { .. }));
    std::fs::write(&partition, &good).unwrap();
    store.partition(&manifest, 1, 1).await.unwrap();

    let mut damaged = std::fs::read(&plane).unwrap();
    damaged[1 << 20] ^= 1;
    std::fs::write(&plane, damaged).unwrap();
    let error = store.plane(&manifest, 1, 0).await.unwrap_err();
    assert!(error.to_string().contains("plane-0 is damaged: the checksum does not match"));
}

#[tokio::test]
async fn every_damaged_byte_of_a_manifest_is_found() {
    let (directory, store) = local();
    let published = publish(&store).await;
    let path = epoch_folder(&directory, 1).join("manifest.json");
    let good = std::fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let version = text.find("\"version\":").unwrap() + "\"version\":".len();
    for position in 0..good.len() {
        for flip in [0x01, 0x20] {
            let mut damaged = good.clone();
            damaged[position] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            let error = store.manifest("t", 1).await.unwrap_err();
            // Another digit in the version's place is another version.
            let version = position == version && damaged[position].is_ascii_digit();
            let expected = match &error {
                StoreError::OtherParameters { .. } => version,
                error => matches!(error, StoreError::Corrupt { .. }) && !version,
            };
            assert!(expected, "{position}: {error}");
        }
    }
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(store.manifest("t", 1).await, Err(StoreError::Corrupt { .. })));
    std::fs::write(&path, text.replacen("\"version\":2", "\"version\":1", 1)).unwrap();
    let error = store.manifest("t", 1).await.unwrap_err();
    assert!(error.to_string().contains("a manifest of version 1, not 2"), "{error}");
    assert!(error.to_string().contains("must be loaded again"), "{error}");

    // The manifest of one epoch in place of another's, and of one table in place of another's.
    let second = directory.path().join("tables/t/epochs/00000000000000000002");
    let other = directory.path().join("tables/u/epochs/00000000000000000001");
    for folder in [&second, &other] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("manifest.json"), &good).unwrap();
    }
    for (table, epoch) in [("t", 2), ("u", 1)] {
        let error = store.manifest(table, epoch).await.unwrap_err();
        assert!(error.to_string().contains("it describes epoch 1 of table \"t\""), "{error}");
    }
    std::fs::write(&path, &good).unwrap();
    assert_eq!(store.manifest("t", 1).await.unwrap(), published);
}

#[tokio::test]
async fn a_damaged_public_part_is_found() {
    let (directory, store) = local();
    let manifest = publish(&store).await;
    let path = epoch_folder(&directory, 1).join("index-1/public-0");
    let good = std::fs::read(&path).unwrap();
    for (position, bytes) in [(0, good.len()), (good.len() - 1, good.len()), (7, good.len() - 1)] {
        let mut damaged = good.clone();
        damaged[position] ^= 1;
        std::fs::write(&path, &damaged[..bytes]).unwrap();
        let error = store.public_part(&manifest, 1, 0).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{position}: {error}");
    }
}

#[tokio::test]
async fn an_unreadable_store_is_an_error_with_the_object() {
    let (directory, store) = local();
    std::fs::create_dir_all(directory.path().join("tables/t")).unwrap();
    std::fs::write(directory.path().join("tables/t/epochs"), "a file, not a folder").unwrap();
    let error = store.claim("t", &writer("n", "1"), UnixMillis::now()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Io { object, .. } if object.starts_with("tables/t")));
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_is_freed() {
    let directory = TempDir::new().unwrap();
    let disk = Arc::new(Disk::new(directory.path()));
    let store = Store::new(disk.clone());
    let first = publish(&store).await;

    let epoch = claim(&store).await;
    epoch.put_partition(1, &geometry(), 0, bytes(1)).await.unwrap();
    disk.full.store(true, Ordering::SeqCst);
    let error = epoch.put_partition(1, &geometry(), 1, bytes(1)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Full { object, .. } if object.ends_with("partition-000001")),
        "{error}"
    );
    assert!(error.to_string().starts_with("store: no space left to write tables/t/"), "{error}");
    // Not even the tombstone fits until the segments are gone.
    epoch.abandon().await.unwrap();
    assert!(matches!(store.manifest("t", 2).await, Err(StoreError::Abandoned { .. })));
    assert!(!epoch_folder(&directory, 2).join("index-1/partition-000000").exists());
    // What was there before is still there.
    assert!(store.partition(&first, 1, 0).await.unwrap() == bytes(1));
    assert_eq!(store.epochs("t").await.unwrap(), [1]);
    assert_eq!(publish(&store).await.epoch, 3);
}

/// Manifests as earlier versions wrote them, byte by byte. Their hints have public parts of other
/// rings.
#[tokio::test]
async fn an_epoch_of_earlier_parameters_is_reported_as_one_to_load_again() {
    for (name, manifest) in [
        ("opaque-128-v1-inline-2", include_str!("manifest-128-v1.json")),
        ("opaque-128-v2-inline-2", include_str!("manifest-128-v2.json")),
    ] {
        let (directory, store) = local();
        let folder = epoch_folder(&directory, 1);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("manifest.json"), manifest).unwrap();
        let error = store.manifest("t", 1).await.unwrap_err();
        assert!(matches!(error, StoreError::OtherParameters { .. }), "{error}");
        let error = error.to_string();
        for part in [name, "must be loaded again", "`opaque load", "`spec.source.revision`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        // Damage is reported as damage.
        let damaged = manifest.replacen("\"rows\":3", "\"rows\":4", 1);
        std::fs::write(folder.join("manifest.json"), damaged).unwrap();
        let error = store.manifest("t", 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
}
