//! Why registered keys cannot be used, and what to do.

use std::{io, path::PathBuf};

use opaque_client::registered::RegisteredKeysError;
use opaque_seal::SealError;
use thiserror::Error;

/// Why registered keys cannot be used. No text contains key bytes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Users other than the owner may read or write the file.
    #[error("{} is open to other users (mode bits {mode:03o})", path.display())]
    OpenToOthers {
        /// The key file.
        path: PathBuf,
        /// The mode bits for group and others.
        mode: u32,
    },
    /// Users other than the owner may write to the keys' directory.
    #[error("{} can be written to by other users (mode bits {mode:03o})", path.display())]
    DirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// The write bits for group and others.
        mode: u32,
    },
    /// The file's contents do not match what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// A later version of Opaque wrote the file.
    #[error("{} has version {version}, this is version {supported}", path.display())]
    Version {
        /// The key file.
        path: PathBuf,
        /// Its version.
        version: u8,
        /// The version that this program reads and writes.
        supported: u8,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The key file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The keys exceed the limits of their format.
    #[error("the keys are too large to store")]
    TooLarge,
    /// SEAL returned an error.
    #[error("cannot make keys: {0}")]
    Seal(#[from] SealError),
}

impl KeysError {
    /// What to do about the error, if anything can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OpenToOthers { path, .. } => Some(format!(
                "run `chmod 600 {}`; if another user may have read it, move it away instead, and \
                 new keys are generated",
                path.display()
            )),
            Self::DirectoryOpen { path, .. } => Some(format!(
                "run `chmod 700 {}`; if another user may have changed files in it, move it away \
                 instead, and new keys are generated",
                path.display()
            )),
            Self::Damaged { path } => Some(format!(
                "restore it from a backup, or move {} away: the next query generates new keys (nothing \
                 stored is lost with the old ones)",
                path.display()
            )),
            Self::Version { .. } => Some("use the newer `opaque` that wrote it".to_owned()),
            Self::Read { .. } | Self::Write { .. } | Self::TooLarge | Self::Seal(_) => None,
        }
    }
}

impl From<KeysError> for RegisteredKeysError {
    fn from(error: KeysError) -> Self {
        let hint = error.hint();
        Self::new(error, hint)
    }
}
