//! Tests of the whole store.

pub(crate) mod disk;
mod epochs;
mod faults;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use opaque_pir::cost::Link;
use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{PublicPart, Variant, public_bytes};
use opaque_pir::seed::Salt;
use opaque_pir::table::{Column, ColumnType, Role, Schema};
use tempfile::TempDir;

use super::*;

/// Largest keys of a client in these tests.
const KEYS: u64 = 9;

fn schema() -> Schema {
    let column = |name, role| Column::new(name, ColumnType::Text, role, false);
    Schema::new("t".to_owned(), vec![column("a", Role::Payload), column("b", Role::Key)]).unwrap()
}

fn geometry() -> Geometry {
    Geometry::new(4096, 2048, 1).unwrap()
}

fn writer(node: &str, incarnation: &str) -> Writer {
    Writer { node: node.to_owned(), incarnation: incarnation.to_owned() }
}

fn bytes(seed: u8) -> Vec<u8> {
    (0..geometry().partition_bytes()).map(|i| (i as u8).wrapping_mul(seed)).collect()
}

fn numbers(seed: u8) -> Vec<u32> {
    (0..4096 * 1024u32).map(|i| i.wrapping_mul(u32::from(seed) + 77_777)).collect()
}

fn public_part(seed: u8) -> PublicPart {
    PublicPart::from_bytes(&vec![seed; public_bytes(4096)], 4096).unwrap()
}

fn manifest(epoch: u64, partitions: Vec<SegmentRef>, planes: Vec<SegmentRef>) -> Manifest {
    let public_part = Digest(PublicPart::digest(&public_part(epoch as u8).to_bytes()));
    let index = IndexManifest {
        column: 1,
        geometry: geometry(),
        non_null_rows: 3,
        partitions,
        planes,
        variant: Variant::Ring2048,
        public_parts: vec![public_part],
    };
    let (salt, created) = (Salt([7; 32]), UnixMillis(1234));
    Manifest {
        epoch,
        schema: schema(),
        rows: 3,
        salt,
        created,
        link: Link::default(),
        indexes: vec![index],
        sizes: None,
    }
}

/// Writes every segment of an epoch whose content follows from its number.
async fn write(epoch: &EpochWriter) -> Manifest {
    let seed = epoch.epoch() as u8;
    let mut partitions = Vec::new();
    for j in 0..2 {
        let content = bytes(seed + j as u8);
        partitions.push(epoch.put_partition(1, &geometry(), j, content).await.unwrap());
    }
    let plane = epoch.put_plane(1, &geometry(), 0, &numbers(seed)).await.unwrap();
    epoch.put_public_part(1, 0, &public_part(seed)).await.unwrap();
    manifest(epoch.epoch(), partitions, vec![plane])
}

async fn claim(store: &Store) -> EpochWriter {
    store.claim("t", &writer("n", "1"), UnixMillis::now()).await.unwrap()
}

async fn publish(store: &Store) -> Manifest {
    let epoch = claim(store).await;
    let manifest = write(&epoch).await;
    epoch.publish(&manifest).await.unwrap();
    manifest
}

pub(crate) fn local() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path().to_str().unwrap()).unwrap();
    (directory, store)
}

/// The names of everything in a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        }
        files.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    files.sort();
    files
}

/// Waits until nothing but its tombstone is left of an epoch.
pub(crate) async fn given_up(folder: &Path) {
    let waiting = async {
        while files(folder) != ["manifest.json"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

fn epoch_folder(directory: &TempDir, epoch: u64) -> PathBuf {
    directory.path().join(format!("tables/t/epochs/{epoch:020}"))
}

#[tokio::test]
async fn evaluation_keys_are_kept_under_their_digest() {
    let (directory, store) = local();
    let keys = Bytes::from_static(b"some keys");
    let digest = store.put_keys(keys.clone()).await.unwrap();
    assert_eq!(store.put_keys(keys.clone()).await.unwrap(), digest);
    assert_eq!(store.keys(&digest, KEYS).await.unwrap(), keys);

    let other = opaque_pir::codec::KeyDigest::of(b"other keys");
    let missing = store.keys(&other, KEYS).await.unwrap_err();
    assert_eq!(missing.to_string(), format!("store: keys/{other} does not exist"));

    let file = directory.path().join(format!("keys/{digest}"));
    std::fs::write(&file, b"some kezs").unwrap();
    let error = store.keys(&digest, KEYS).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { object, .. } if object.starts_with("keys/")));
    std::fs::write(&file, vec![0; KEYS as usize + 1]).unwrap();
    assert!(matches!(store.keys(&digest, KEYS).await, Err(StoreError::Corrupt { .. })));
    // Registering the keys again repairs the copy.
    store.put_keys(keys.clone()).await.unwrap();
    assert_eq!(store.keys(&digest, KEYS).await.unwrap(), keys);

    let (now, hour) = (UnixMillis::now(), Duration::from_secs(3600));
    assert_eq!(store.expire_keys(now, hour).await.unwrap(), 0);
    let later = UnixMillis(now.0 + 3_700_000);
    assert_eq!(store.expire_keys(later, hour).await.unwrap(), 1);
    assert!(matches!(store.keys(&digest, KEYS).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_store_is_opened_by_path_or_url() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("made/on/demand");
    let path = path.to_str().unwrap();
    let digest = Store::open(path).unwrap().put_keys(Bytes::from_static(b"k")).await.unwrap();
    Store::open(&format!("file://{path}")).unwrap().keys(&digest, KEYS).await.unwrap();

    for (url, reason) in [
        ("ftp://bucket/prefix", "ftp:// is not supported"),
        ("s3://key:hunter2@bucket/prefix", "\"<redacted>\": credentials belong"),
        ("file://host/path", "write file:///path"),
        ("", "is empty"),
        ("/tmp/a#1", "contains %, # or ?"),
    ] {
        let error = Store::open(url).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Store::open(file.to_str().unwrap()), Err(StoreError::Url { .. })));
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = Digest([0xab; 32]);
    let text = digest.to_string();
    assert_eq!(text.parse(), Ok(digest));
    assert_eq!(text.to_uppercase().parse::<Digest>(), Err(DigestError));
    assert_eq!(text[1..].parse::<Digest>(), Err(DigestError));
    assert_eq!(format!("{text}00").parse::<Digest>(), Err(DigestError));
}
