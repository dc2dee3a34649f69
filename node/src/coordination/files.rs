//! Records as files: each is a small JSON document with a marker, and is replaced atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::CoordinationError;

/// Version of the records. A node refuses others.
const VERSION: u32 = 1;

/// Content of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    format: String,
    version: u32,
    record: T,
}

/// Only the marker and the version, to distinguish an unknown version from a damaged file.
#[derive(Deserialize)]
struct Marker {
    format: String,
    version: u32,
}

/// Whether a record must survive a power failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The record is synced to the disk.
    Durable,
    /// The record is not synced, since its writer renews it continuously.
    Ephemeral,
}

/// Reads a record; `None` if the file does not exist.
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
    format: &str,
) -> Result<Option<T>, CoordinationError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, error)),
    };
    let corrupt =
        |reason| CoordinationError::Corrupt { object: path.display().to_string(), reason };
    let damaged = |error: serde_json::Error| {
        corrupt(format!("{error}; remove the file while nodes run, and they write it again"))
    };
    let marker: Marker = serde_json::from_slice(&bytes).map_err(damaged)?;
    if marker.format != format {
        return Err(corrupt(format!("it is a {:?}, not a {format:?}", marker.format)));
    }
    if marker.version != VERSION {
        return Err(corrupt(format!("version {}; this node knows {VERSION}", marker.version)));
    }
    let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(Some(envelope.record))
}

/// Replaces a record. Readers see either the old or the new one, whole, even after a crash.
pub(super) fn write<T: Serialize>(
    path: &Path,
    format: &str,
    record: T,
    durability: Durability,
) -> Result<(), CoordinationError> {
    let envelope = Envelope { format: format.to_owned(), version: VERSION, record };
    let bytes = serde_json::to_vec_pretty(&envelope)
        .map_err(|error| io_error(path, io::Error::other(error)))?;
    replace(path, &bytes, durability).map_err(|error| io_error(path, error))
}

fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let make = || tempfile::Builder::new().prefix(".write-").suffix(".tmp").tempfile_in(directory);
    let mut file = match make() {
        // The directory was removed while the cluster runs.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            make()?
        }
        made => made?,
    };
    file.write_all(bytes)?;
    if durability == Durability::Durable {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durability == Durability::Durable {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Removes a record if it exists.
pub(super) fn remove(path: &Path) -> Result<(), CoordinationError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path, error)),
    }
}

/// Paths of the records in a directory; none if the directory does not exist.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, CoordinationError> {
    let failed = |error| io_error(directory, error);
    let mut paths = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// An error of the file system, with the file's name.
pub(super) fn io_error(path: &Path, source: io::Error) -> CoordinationError {
    CoordinationError::Io { object: path.display().to_string(), source }
}
