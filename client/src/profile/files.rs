//! Files of the profile. Only their owner can read them, and a crash never leaves one half written.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;

/// Creates a directory and its missing parents with mode 0700. Existing directories are not
/// changed.
pub fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file atomically with one of mode 0600. A reader sees either the old bytes or the new
/// ones.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist(path).map_err(|error| error.error)?;
    sync_parent(path)
}

/// The mode bits of a file or directory that give access to users other than the owner.
pub fn open_to_others(metadata: &fs::Metadata) -> u32 {
    metadata.permissions().mode() & 0o077
}

fn written(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    create_dir(parent)?;
    let mut file = NamedTempFile::new_in(parent)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A rename is durable only after its directory has been synced.
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}
