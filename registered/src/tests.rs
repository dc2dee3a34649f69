use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use opaque_client::profile::files;
use opaque_seal::Bfv;

use super::*;
use crate::key_file::{CHECKSUM_BYTES, MARKER};

fn fixture() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("home/keys");
    (dir, keys)
}

/// The profile's keys, for one lookup.
fn reserve(dir: &Path) -> Result<Arc<Keys>, KeysError> {
    reserve::reserve(dir, 1, None)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn made_once_private_and_reused() {
    let (_dir, keys) = fixture();
    let first = reserve(&keys).unwrap();
    let file = keys.join("client.key");
    assert_eq!((mode(&file), mode(&keys)), (0o600, 0o700));
    let bytes = fs::read(&file).unwrap();
    let second = reserve(&keys).unwrap();
    assert!(first.digest() == second.digest());
    assert_eq!(first.secret.to_bytes().unwrap(), second.secret.to_bytes().unwrap());
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(first.evaluation().len(), EVALUATION_KEYS_BYTES);
    let mut names: Vec<_> =
        fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["client.key", "client.lock", "client.lookups"], "no temporary file stays");
    assert!(names.iter().all(|name| mode(&keys.join(name)) == 0o600));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let (_dir, keys) = fixture();
    reserve(&keys).unwrap();
    let file = keys.join("client.key");
    for bits in [0o640, 0o604, 0o620] {
        fs::set_permissions(&file, fs::Permissions::from_mode(bits)).unwrap();
        let error = reserve(&keys).err().unwrap();
        assert!(matches!(error, KeysError::OpenToOthers { .. }), "{error}");
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let (_dir, keys) = fixture();
    reserve(&keys).unwrap();
    for bits in [0o720, 0o702, 0o777] {
        fs::set_permissions(&keys, fs::Permissions::from_mode(bits)).unwrap();
        let error = reserve(&keys).err().unwrap();
        assert!(matches!(error, KeysError::DirectoryOpen { .. }), "{error}");
        assert!(error.hint().unwrap().contains("chmod 700"));
    }
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o755)).unwrap();
    reserve(&keys).unwrap();
}

/// A pipe in place of the key file is an error at once; the program does not wait for a writer.
#[test]
fn a_pipe_is_not_waited_for() {
    let (_dir, keys) = fixture();
    files::create_dir(&keys).unwrap();
    let pipe = keys.join("client.key");
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status();
    assert!(made.unwrap().success());
    let error = reserve(&keys).err().unwrap();
    assert!(matches!(error, KeysError::Damaged { .. }), "{error}");
}

#[test]
fn damage_is_an_error_and_is_never_overwritten() {
    let (_dir, keys) = fixture();
    reserve(&keys).unwrap();
    let file = keys.join("client.key");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let damages = [flipped, good[..good.len() - 1].to_vec(), good[..20].to_vec(), Vec::new()];
    for damage in damages {
        fs::write(&file, &damage).unwrap();
        let error = reserve(&keys).err().unwrap();
        assert!(matches!(error, KeysError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damage);
    }
}

#[test]
fn a_later_version_is_distinguished_from_damage() {
    let (_dir, keys) = fixture();
    reserve(&keys).unwrap();
    let file = keys.join("client.key");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    bytes[MARKER.len()] = 2;
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    fs::write(&file, &bytes).unwrap();
    let error = reserve(&keys).err().unwrap();
    assert!(matches!(error, KeysError::Version { version: 2, .. }), "{error}");
}

#[test]
fn a_link_is_not_followed() {
    let (dir, keys) = fixture();
    reserve(&keys).unwrap();
    let file = keys.join("client.key");
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert!(matches!(reserve(&keys), Err(KeysError::Read { .. })));
}

#[test]
fn debug_shows_nothing() {
    let keys = Keys::generate(Bfv::new().unwrap()).unwrap();
    assert_eq!(format!("{keys:?}"), "Keys { .. }");
}
