//! Half-written files that a killed process leaves in a local store.
//!
//! `object_store` writes `name#1`, `name#2` … and links them to `name`. It does not list such files
//! and refuses to delete them.

use std::io;
use std::path::Path;

/// Removes half-written files in a folder and its subfolders, and folders that become empty.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else if entry.file_name().to_str().is_some_and(is_staged) {
            ignore_missing(std::fs::remove_file(entry.path()))?;
        }
    }
    // This fails if the folder is not empty. Its remaining content is then wanted.
    let _ = std::fs::remove_dir(folder);
    Ok(())
}

fn is_staged(name: &str) -> bool {
    let digits = |suffix: &str| !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit());
    name.split_once('#').is_some_and(|(_, suffix)| digits(suffix))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
